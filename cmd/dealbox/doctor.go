package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"dealbox/internal/doctor"
)

// DoctorCmd is `dealbox doctor`.
type DoctorCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown by `dealbox doctor --help`.
func (DoctorCmd) Help() string {
	return "Needs no setting: it lists which are missing or wrong, and checks what it can with the others. " +
		"It changes nothing and sends no alert. It fails if any check fails; warnings do not count."
}

// doctorReport is what `doctor --json` prints.
type doctorReport struct {
	OK     bool             `json:"ok"`
	Checks []doctor.Finding `json:"checks"`
}

// Run prints the findings.
func (c *DoctorCmd) Run(ctx context.Context, p *program) error {
	findings := doctor.Examine(ctx, p.getenv, p.version)
	fails := doctor.Count(findings, doctor.Fail)
	err := p.print(c.JSON, doctorReport{OK: fails == 0, Checks: findings}, func(w io.Writer) { printFindings(w, findings) })
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

// printFindings prints a line a finding, and below it what to do.
func printFindings(w io.Writer, findings []doctor.Finding) {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		fmt.Fprintf(w, "%-4s  %-*s  %s\n", f.Status, width, f.Check, oneLine(f.Detail))
		if f.Fix != "" {
			fmt.Fprintf(w, "%*s  -> %s\n", width+6, "", oneLine(f.Fix))
		}
	}
	fmt.Fprintf(w, "\n%d ok, %d warn, %d fail, %d not checked\n",
		doctor.Count(findings, doctor.OK), doctor.Count(findings, doctor.Warn), doctor.Count(findings, doctor.Fail), doctor.Count(findings, doctor.Skip))
}
