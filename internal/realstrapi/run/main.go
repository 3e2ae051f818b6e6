// Command run installs and runs the example Strapi of this repository:
//
//	go run ./internal/realstrapi/run install
//	go run ./internal/realstrapi/run up [-drafts] [-locales fr,de] [-stock] [-deals 20]
//
// It is what `make strapi` and CI call.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"dealbox/internal/realstrapi"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3 // this machine cannot have a Strapi: no Node, no registry
)

var errUsage = errors.New("usage: run install | run up [-h]")

// source is the folder of the Strapi side, from the root of the repository.
const source = "strapi"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == "install":
		err = install(ctx)
	case len(args) > 0 && args[0] == "up":
		err = up(ctx, args[1:])
	default:
		err = errUsage
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	case errors.Is(err, realstrapi.ErrUnavailable):
		fmt.Fprintln(os.Stderr, err)
		return exitUnavailable
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitDone
}

func install(ctx context.Context) error {
	cache, err := realstrapi.Cache()
	if err != nil {
		return err
	}
	start := time.Now()
	modules, err := realstrapi.Install(ctx, source, cache)
	if err != nil {
		return err
	}
	fmt.Printf("Strapi is installed in %s (%s)\n", filepath.Dir(modules), time.Since(start).Round(time.Second))
	return nil
}
