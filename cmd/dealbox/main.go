// Command dealbox receives Strapi webhooks about deals and billings, mirrors
// them in Postgres and keeps the revenue forecast.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"dealbox/internal/app"
	"dealbox/internal/paging"
	"dealbox/internal/pgerr"

	"github.com/alecthomas/kong"
)

// version is set by the build of a release (-ldflags "-X main.version=v1.2.3").
var version = ""

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], app.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// program is what a command gets from the process.
type program struct {
	getenv  func(string) string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	version string
}

type cli struct {
	Dev       DevCmd       `cmd:"" help:"Run everything on this machine with nothing configured: a private Postgres, a simulated Strapi, the service."`
	Serve     ServeCmd     `cmd:"" help:"Run the service: HTTP and workers."`
	Migrate   MigrateCmd   `cmd:"" help:"Bring the database's schema up to this program."`
	Events    EventsCmd    `cmd:"" help:"Show what was received, and replay it."`
	Alerts    AlertsCmd    `cmd:"" help:"Show alerts; acknowledge, resolve and silence them."`
	Documents DocumentsCmd `cmd:"" help:"Show the documents that are dead letters, or that wait."`
	Breaker   BreakerCmd   `cmd:"" help:"Show the breaker in front of Strapi, and hold it open or closed."`
	Sign      SignCmd      `cmd:"" help:"Sign a webhook body, or sign and send it. Needs STRAPI_WEBHOOK_SECRET."`
	Doctor    DoctorCmd    `cmd:"" help:"Check settings, database, Strapi and alert channels; print what to do about each failure."`
	Sync      SyncCmd      `cmd:"" help:"Compare the mirror with Strapi now. Needs DATABASE_URL and a running service."`

	Version kong.VersionFlag `help:"Print the version."`
}

// run is the whole program. It returns the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr, version: programVersion()}
	printed := false // --help or --version was
	parser, err := kong.New(&cli{}, append(mappers(),
		kong.Name("dealbox"),
		kong.Description("Receives Strapi webhooks about deals and billings, mirrors them in Postgres, keeps the revenue forecast and notifies people when something is wrong. "+
			"All settings are environment variables."),
		kong.Vars{"version": "dealbox " + p.version},
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { printed = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)...)
	if err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("define the commands: %w", err))
	}
	command, err := parser.Parse(args)
	switch {
	case printed:
		return exitDone
	case err == nil:
		err = refuseEmpty(command)
	}
	if err != nil {
		return fail(stderr, exitUsage, fmt.Errorf("%w\nRun '%s --help'", err, meantCommand(err)))
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(p); err != nil {
		var field *paging.FieldError
		if errors.As(err, &field) { // a name that only the database knows not to exist
			return fail(stderr, exitUsage, asWritten(command, field))
		}
		return fail(stderr, exitFailed, withHint(err))
	}
	return exitDone
}

// meantCommand returns the command that a person began to write, as far as it was understood.
func meantCommand(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context.Selected() != nil {
		return wrong.Context.Selected().FullPath()
	}
	return "dealbox"
}

// withHint adds what to do where the database lacks what the command uses. Only
// serve compares the schema first: at night a command that finds its own tables
// should work, also when a step is missing.
func withHint(err error) error {
	if pgerr.IsMissing(err) {
		return fmt.Errorf("%w: the database's schema is behind this program, see 'dealbox migrate status'", err)
	}
	return err
}

func fail(stderr io.Writer, code int, err error) int {
	fmt.Fprintln(stderr, "dealbox:", err)
	return code
}

// programVersion returns the release, else what the Go toolchain recorded: the module's
// version or the commit.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "commit " + s.Value[:min(12, len(s.Value))]
		}
	}
	return "development"
}
