// Command withpg runs a command with a Postgres server for tests, which the many
// processes of one `go test ./...` then share:
//
//	go run ./internal/pgtest/withpg [-using auto|url|container|local] -- go test ./...
//
// It says which server that is, sets TEST_DATABASE_URL for the command, passes
// signals on, stops the server when the command has ended, and exits as the command did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"dealbox/internal/pgtest"
)

const (
	startTimeout = 10 * time.Minute // fetching the image included
	stopTimeout  = 2 * time.Minute
)

// Exit codes of withpg itself.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("withpg", flag.ContinueOnError)
	flags.SetOutput(stderr)
	using := flags.String("using", string(pgtest.UsingAuto), "auto, url (TEST_DATABASE_URL), container or local")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() == 0 {
		_, _ = fmt.Fprintln(stderr, "usage: withpg [-using auto|url|container|local] -- command [argument…]")
		return exitUsage
	}
	// From here on a signal no longer ends us: the server has to be stopped.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	code, err := withServer(pgtest.Using(*using), flags.Args(), signals, stderr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "withpg:", err)
		return max(code, exitFailed)
	}
	return code
}

// withServer starts the server, runs the command, and stops the server.
func withServer(using pgtest.Using, command []string, signals <-chan os.Signal, stderr io.Writer) (code int, err error) {
	server, err := start(using, signals)
	if err != nil {
		return exitFailed, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if stopErr := server.Stop(ctx); stopErr != nil {
			err = errors.Join(err, fmt.Errorf("stop the server: %w", stopErr))
		}
	}()
	_, _ = fmt.Fprintln(stderr, "withpg: using", server.Kind)
	return runCommand(command, server.URL, signals)
}

// start starts the server; a signal cuts it short.
func start(using pgtest.Using, signals <-chan os.Signal) (*pgtest.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	started := make(chan struct{})
	defer close(started)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-started:
		}
	}()
	return pgtest.StartServer(ctx, using)
}

// runCommand runs the command to its end and returns its exit code: 128 and the
// signal's number where a signal ended it, as shells do.
func runCommand(command []string, url string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // what the user asked for; signals end it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The command takes the server as it is given, whatever the environment forces.
	cmd.Env = append(os.Environ(), pgtest.URLEnv+"="+url, pgtest.UsingEnv+"="+string(pgtest.UsingURL))
	if err := cmd.Start(); err != nil {
		return exitFailed, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it fails when it has ended
			case <-ended:
				return
			}
		}
	}()
	return exitCode(cmd.Wait())
}

func exitCode(err error) (int, error) {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
