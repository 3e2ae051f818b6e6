package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/localpg"
	"dealbox/internal/realstrapi"
)

const (
	// strapiPort is the one that Strapi's documentation names everywhere.
	strapiPort = 1337
	readyTries = 300 // 100 ms apart
	stopWait   = 30 * time.Second
)

// environment is everything that `up` starts, in that order.
type environment struct {
	options  options
	postgres *localpg.Server
	strapi   *realstrapi.Strapi
	dealbox  *exec.Cmd
	admin    string // ADMIN_TOKEN
}

type options struct {
	dealbox string
	port    int
	strapi  int
	deals   int
	drafts  bool
	stock   bool
	locales string
}

// up runs a real Strapi beside Dealbox until ctx ends, and leaves nothing behind.
func up(ctx context.Context, args []string) (err error) {
	var h environment
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.StringVar(&h.options.dealbox, "dealbox", "bin/dealbox", "the program to run")
	flags.IntVar(&h.options.port, "port", 8000, "Dealbox's port on 127.0.0.1")
	flags.IntVar(&h.options.strapi, "strapi-port", strapiPort, "Strapi's port on 127.0.0.1")
	flags.IntVar(&h.options.deals, "deals", 20, "how many deals Strapi starts with")
	flags.BoolVar(&h.options.drafts, "drafts", false, "draft and publish on for every type")
	flags.BoolVar(&h.options.stock, "stock", false, "a Strapi without the plugin: a static token in place of signatures")
	flags.StringVar(&h.options.locales, "locales", "", "locales beside en, such as fr,de: makes deals and billings localized")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	defer func() { err = errors.Join(err, h.down(context.WithoutCancel(ctx))) }()
	if err = h.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while it started
		}
		return err
	}
	h.printInstructions()
	select {
	case <-ctx.Done():
		return nil
	case <-h.strapi.Exited():
		return errors.New("strapi ended by itself: " + h.strapi.Log())
	}
}

func (h *environment) start(ctx context.Context) error {
	cache, err := realstrapi.Cache()
	if err != nil {
		return err
	}
	fmt.Println("Installing Strapi, once (690 MB) …")
	modules, err := realstrapi.Install(ctx, source, cache)
	if err != nil {
		return err
	}
	fmt.Println("Starting Postgres, Strapi and Dealbox …")
	if h.postgres, err = localpg.Start(ctx, localpg.Config{}); err != nil {
		return err
	}
	database, err := h.strapiDatabase(ctx)
	if err != nil {
		return err
	}
	config := realstrapi.Config{
		Source: source, Modules: modules, DatabaseURL: database, Drafts: h.options.drafts, Stock: h.options.stock,
		Port: h.options.strapi, DealboxURL: h.address(),
	}
	if h.options.locales != "" {
		config.Locales = strings.Split(h.options.locales, ",")
	}
	if h.options.stock {
		config.WebhookToken = random()
	}
	if h.strapi, err = realstrapi.New(ctx, config); err != nil {
		return err
	}
	if err := h.strapi.Start(ctx); err != nil {
		return err
	}
	if err := h.strapi.Connect(ctx); err != nil {
		return err
	}
	if err := h.startDealbox(ctx, config.WebhookToken); err != nil {
		return err
	}
	return h.strapi.Seed(ctx, h.options.deals)
}

// strapiDatabase makes one beside Dealbox's.
func (h *environment) strapiDatabase(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, h.postgres.URL())
	if err != nil {
		return "", fmt.Errorf("make Strapi's database: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE DATABASE strapi"); err != nil {
		return "", fmt.Errorf("make Strapi's database: %w", err)
	}
	c := conn.Config()
	return fmt.Sprintf("postgres://%s:%s@%s:%d/strapi", c.User, c.Password, c.Host, c.Port), nil
}

func (h *environment) startDealbox(ctx context.Context, webhookToken string) error {
	token, err := h.strapi.Setting("STRAPI_API_TOKEN")
	if err != nil {
		return err
	}
	secret, err := h.strapi.Setting("STRAPI_WEBHOOK_SECRET")
	if err != nil {
		return err
	}
	h.admin = random()
	env := append(os.Environ(),
		"DATABASE_URL="+h.postgres.URL(), "DATABASE_MIGRATE_URL=", "PORT="+strconv.Itoa(h.options.port), "LISTEN_ADDR=127.0.0.1",
		"STRAPI_URL="+h.strapi.URL, "STRAPI_API_TOKEN="+token, "STRAPI_WEBHOOK_SECRET="+secret, "STRAPI_WEBHOOK_TOKEN=",
		"STRAPI_BILLING_TYPES=api::billing.billing=billings,api::construction-billing.construction-billing=construction-billings",
		"STRAPI_DEAL_TYPES=", "STRAPI_DEAL_FIELDS=status=deal_status",
		"STRAPI_BILLING_FIELDS=status=billing_status,api::construction-billing.construction-billing.amount=total",
		"ADMIN_TOKEN="+h.admin, "API_TOKEN=", "LOG_LEVEL=warn", "LOG_FORMAT=text")
	if webhookToken != "" {
		env = append(env, "STRAPI_WEBHOOK_SECRET=", "STRAPI_WEBHOOK_TOKEN="+webhookToken)
	}
	migrate := exec.CommandContext(ctx, h.options.dealbox, "migrate", "up")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("%s migrate up: %w: %s", h.options.dealbox, err, out)
	}
	serve := exec.Command(h.options.dealbox, "serve") //nolint:noctx // it outlives the start; down ends it
	serve.Env, serve.Stderr = env, os.Stderr
	serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours
	if err := serve.Start(); err != nil {
		return fmt.Errorf("start Dealbox: %w", err)
	}
	h.dealbox = serve
	return h.waitReady(ctx)
}

func (h *environment) waitReady(ctx context.Context) error {
	for range readyTries {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.address()+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("dealbox does not become ready")
}

func (h *environment) address() string { return "http://127.0.0.1:" + strconv.Itoa(h.options.port) }

func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// down ends what start started, in the reverse order: Strapi first, so that what it
// still sends is taken.
func (h *environment) down(ctx context.Context) (err error) {
	if h.strapi != nil {
		fmt.Println("\nStopping …")
		err = h.strapi.Close()
	}
	if h.dealbox != nil {
		_ = h.dealbox.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- h.dealbox.Wait() }()
		select {
		case e := <-ended:
			err = errors.Join(err, e)
		case <-time.After(stopWait):
			_ = h.dealbox.Process.Kill()
			err = errors.Join(err, errors.New("dealbox did not end"))
		}
	}
	if h.postgres != nil {
		err = errors.Join(err, h.postgres.Stop(ctx))
	}
	return err
}

const instructions = `
Strapi     %[1]s  (no admin panel: build one with ADMIN_PANEL=true in strapi/example)
Dealbox    %[2]s  dashboard; ADMIN_TOKEN %[3]s

Change something, and watch the dashboard. With TOKEN=%[4]s
  list     curl -g -H "Authorization: Bearer $TOKEN" '%[1]s/api/pipeline-deals?sort=name&populate=*'
  make     curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' %[1]s/api/pipeline-deals \
             -d '{"data":{"name":"Mine","deal_value":90000,"deal_status":"active","stage":"negotiation"}}'
  change   curl -X PUT … %[1]s/api/pipeline-deals/DOCUMENT_ID -d '{"data":{"stage":"closed-won"}}'
  events   psql '%[5]s' -c 'select event, scheme, document_id, status from inbox_event_status order by received_at desc limit 5'

Ctrl-C ends all of it and leaves nothing behind.
`

func (h *environment) printInstructions() {
	token, _ := h.strapi.Setting("STRAPI_SEED_TOKEN") // the seed used it just now
	_, _ = io.WriteString(os.Stdout, fmt.Sprintf(instructions, h.strapi.URL, h.address(), h.admin, token, h.postgres.URL()))
}
