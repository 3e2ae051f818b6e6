package realstrapi_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
	"dealbox/internal/realstrapi"
)

// webhookToken is the static header of a stock Strapi.
const webhookToken = "a-static-token-for-tests-only"

// dealbox is the real program, `dealbox serve`, as a process.
type dealbox struct {
	t       *testing.T
	address string
	program string
	env     map[string]string
	pool    *pgxpool.Pool
	process *exec.Cmd
	locales []string // of the localized types beside en; none: no type is localized
}

// newDealbox prepares one with a database of its own; start starts it.
func newDealbox(t *testing.T, settings map[string]string) *dealbox {
	t.Helper()
	d := &dealbox{t: t, program: filepath.Join(t.TempDir(), "dealbox")}
	out, err := exec.Command("go", "build", "-o", d.program, "../../cmd/dealbox").CombinedOutput()
	require.NoError(t, err, string(out))
	port, err := realstrapi.FreePort(t.Context())
	require.NoError(t, err)
	d.address = "http://127.0.0.1:" + port
	d.env = map[string]string{
		"DATABASE_URL": pgtest.URL(t), "PORT": port, "LOG_LEVEL": "error", "SHUTDOWN_DELAY": "0",
		"STRAPI_BILLING_TYPES":  "api::billing.billing=billings," + construction + "=construction-billings",
		"STRAPI_DEAL_FIELDS":    "status=deal_status",
		"STRAPI_BILLING_FIELDS": "status=billing_status," + construction + ".amount=total",
		// Only tests start a reconciliation: what is right before one came by webhooks.
		"RECONCILE_INTERVAL": "24h", "RECONCILE_FULL_INTERVAL": "168h",
		"RETRY_INITIAL_DELAY": "10ms", "RETRY_MAX_DELAY": "20ms", "CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "1s",
	}
	for name, value := range settings {
		d.env[name] = value
	}
	d.pool, err = pgxpool.New(context.Background(), d.env["DATABASE_URL"])
	require.NoError(t, err)
	t.Cleanup(d.pool.Close)
	return d
}

func (d *dealbox) command(args ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.Command(d.program, args...)
	for name, value := range d.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// start starts it and waits until it takes webhooks.
func (d *dealbox) start() {
	d.t.Helper()
	d.process = d.command("serve")
	d.process.Stderr = os.Stderr
	require.NoError(d.t, d.process.Start())
	d.t.Cleanup(d.kill)
	require.Eventually(d.t, func() bool {
		response, err := http.Get(d.address + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 5*time.Minute, 20*time.Millisecond, "Dealbox does not become ready")
}

func (d *dealbox) end(signal os.Signal) {
	if d.process != nil {
		_ = d.process.Process.Signal(signal)
		_ = d.process.Wait()
		d.process = nil
	}
}

func (d *dealbox) kill() { d.end(syscall.SIGKILL) }
func (d *dealbox) stop() { d.end(syscall.SIGTERM) }

// sync runs `dealbox sync --full --wait` and returns what it prints.
func (d *dealbox) sync() string {
	d.t.Helper()
	out, err := d.command("sync", "--full", "--wait").CombinedOutput()
	require.NoError(d.t, err, string(out))
	return strings.TrimSpace(string(out))
}

// waitIdle waits until every received webhook is in the mirror and the forecast.
func (d *dealbox) waitIdle() {
	d.t.Helper()
	d.waitFor("NULL")
}

// waitLocales also waits for the refreshes of a changed document's other locales, which
// come some seconds later.
func (d *dealbox) waitLocales() {
	d.t.Helper()
	d.waitFor("(SELECT kind FROM river.river_job WHERE kind = 'mirror_locales' AND finalized_at IS NULL LIMIT 1)")
}

// waitFor waits until nothing is pending, nor anything that also selects.
func (d *dealbox) waitFor(also string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		return d.text(`SELECT concat_ws(' ',
			(SELECT string_agg(document_id || ' ' || state || ' ' || coalesce(last_error, ''), ', ') FROM entity_sync WHERE done_seq < want_seq),
			(SELECT 'forecast' FROM forecast_scope WHERE done < want),
			(SELECT 'reconciliation' FROM reconciliation_run WHERE finished_at IS NULL AND started_at IS NOT NULL LIMIT 1), `+also+`)`) == ""
	}, 4*time.Minute, 20*time.Millisecond, "Dealbox does not become idle")
}

func (d *dealbox) text(sql string, args ...any) string {
	d.t.Helper()
	var s *string
	require.NoError(d.t, d.pool.QueryRow(d.t.Context(), sql, args...).Scan(&s))
	if s == nil {
		return ""
	}
	return *s
}
