package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dealbox/internal/app"
)

// DoctorCmd is `dealbox doctor`.
type DoctorCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown by `dealbox doctor --help`.
func (DoctorCmd) Help() string {
	return "Needs no setting: it says which are missing or wrong, and checks what it can with the rest. " +
		"It changes nothing and sends no alert. It fails if any check fails; warnings do not count."
}

// verdict of a finding.
type verdict string

const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn" // works, but somebody should look at it
	verdictFail verdict = "fail"
	verdictSkip verdict = "skip" // could not be checked, for the reason given
)

// finding is one line of the doctor's report. It never holds a secret.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"status"`
	Detail  string  `json:"detail"`
	Fix     string  `json:"fix,omitempty"` // what to do; empty when ok
}

func ok(check, detail string) finding {
	return finding{Check: check, Verdict: verdictOK, Detail: detail}
}

func warn(check, detail, fix string) finding {
	return finding{Check: check, Verdict: verdictWarn, Detail: detail, Fix: fix}
}

func failed(check, detail, fix string) finding {
	return finding{Check: check, Verdict: verdictFail, Detail: detail, Fix: fix}
}

func skipped(check, why string) finding {
	return finding{Check: check, Verdict: verdictSkip, Detail: "not checked: " + why}
}

// examineTimeout bounds one examination, whatever it waits for.
const examineTimeout = 12 * time.Second

// doctor examines what the settings point to.
type doctor struct {
	config  app.Config
	broken  []app.Problem
	version string
}

// report is what `doctor --json` prints.
type report struct {
	OK     bool      `json:"ok"`
	Checks []finding `json:"checks"`
}

// Run examines everything at the same time and prints the findings in a fixed order.
func (c *DoctorCmd) Run(ctx context.Context, a *program) error {
	config, err := app.LoadConfig(a.getenv, append(slices.Clone(app.Everything), app.NeedMigrateIfSet)...)
	d := doctor{config: config, broken: app.ProblemsOf(err), version: a.version}
	findings := d.examine(ctx)
	fails := count(findings, verdictFail)
	if c.JSON {
		err = printJSON(a.stdout, report{OK: fails == 0, Checks: findings})
	} else {
		err = printFindings(a.stdout, findings)
	}
	switch {
	case err != nil:
		return err
	case fails == 1:
		return errors.New("1 check fails")
	case fails > 0:
		return fmt.Errorf("%d checks fail", fails)
	}
	return nil
}

// examine runs each examination on its own: none waits for another, and none
// fails because another did.
func (d doctor) examine(ctx context.Context) []finding {
	examinations := []func(context.Context) []finding{
		d.settings, d.access, d.webhookSecrets, d.database, d.strapi, d.strapiClock, d.alertWebhook, d.alertEmail,
	}
	results := make([]chan []finding, len(examinations))
	for i, examination := range examinations {
		results[i] = make(chan []finding, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, examineTimeout)
			defer cancel()
			results[i] <- examination(ctx)
		}()
	}
	var all []finding
	for _, result := range results {
		all = append(all, <-result...)
	}
	return all
}

// wrong tells whether one of these settings is wrong, and names it.
func (d doctor) wrong(names ...string) (name string, isWrong bool) {
	for _, p := range d.broken {
		if slices.Contains(names, p.Setting) {
			return p.Setting, true
		}
	}
	return "", false
}

func count(findings []finding, v verdict) int {
	n := 0
	for _, f := range findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// printFindings prints a line a finding, and below it what to do.
func printFindings(w io.Writer, findings []finding) error {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	var out strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&out, "%-4s  %-*s  %s\n", f.Verdict, width, f.Check, oneLine(f.Detail))
		if f.Fix != "" {
			fmt.Fprintf(&out, "%*s  -> %s\n", width+6, "", oneLine(f.Fix))
		}
	}
	fmt.Fprintf(&out, "\n%d ok, %d warn, %d fail, %d not checked\n",
		count(findings, verdictOK), count(findings, verdictWarn), count(findings, verdictFail), count(findings, verdictSkip))
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

// oneLine keeps the table a table: some errors, pgx's among them, have several lines.
func oneLine(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }
