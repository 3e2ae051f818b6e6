package realstrapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// minNode is the oldest major version of Node that Strapi 5.54 runs on.
const minNode = 20

// installTimeout bounds npm install: 690 MB, 40 to 70 s on a machine with nothing else to do.
const installTimeout = 10 * time.Minute

// keepInstalled is how long an installation that is not used is kept beside newer ones.
const keepInstalled = 24 * time.Hour

// ErrUnavailable is the error of a machine that cannot have a real Strapi: no
// Node, one too old, or a package registry that does not answer.
var ErrUnavailable = errors.New("a real Strapi cannot be had here")

// manifests are the files that decide what npm installs.
var manifests = []string{"example/package.json", "example/package-lock.json", "example/.npmrc", "plugin/package.json"}

// Install installs what the example app needs, where it is not there yet, and
// returns its node_modules. source is the folder strapi of the repository. cache keeps
// one installation for each content of the manifests. The plugin itself is not
// in it: New links to the one of the repository, so its code may change freely.
// The error wraps ErrUnavailable where the machine is at fault.
func Install(ctx context.Context, source, cache string) (modules string, err error) {
	if err := checkNode(ctx); err != nil {
		return "", err
	}
	key, err := installKey(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "strapi-"+key)
	modules = filepath.Join(dir, "example", "node_modules")
	if _, err := os.Stat(modules); err == nil {
		now := time.Now()
		_ = os.Chtimes(dir, now, now) // prune reads it; where it cannot be written, nothing is pruned
		return modules, nil
	}
	prune(cache)
	// Made beside its place and then renamed: an installation that was cut off is never used.
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return "", fmt.Errorf("install Strapi: %w", err)
	}
	defer func() { _ = os.RemoveAll(part) }()
	if err := install(ctx, source, part); err != nil {
		return "", err
	}
	if err := os.Rename(part, dir); err != nil {
		if _, missing := os.Stat(modules); missing != nil {
			return "", fmt.Errorf("install Strapi: %w", err)
		}
		// Another process has installed the same meanwhile.
	}
	return modules, nil
}

// install copies the manifests into dir and lets npm do the rest.
func install(ctx context.Context, source, dir string) error {
	for _, name := range manifests {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			return fmt.Errorf("install Strapi: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	// Not `npm ci`, which demands that the lock has the optional packages of every platform.
	npm := exec.CommandContext(ctx, "npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error")
	npm.Dir = filepath.Join(dir, "example")
	out, err := npm.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: npm install did not end within %s: %s", ErrUnavailable, installTimeout, tail(out))
	case noRegistry.Match(out):
		return fmt.Errorf("%w: npm cannot fetch what Strapi needs: %s", ErrUnavailable, tail(out))
	}
	return fmt.Errorf("npm install: %w: %s", err, tail(out))
}

// noRegistry are npm's codes for a registry that cannot be reached, or that does
// not have or give what the lock file names, and for a disk without room for it.
var noRegistry = regexp.MustCompile(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|E40[134]|E429|E50[234]|ETARGET|EPIPE|EPROTO|ERR_STREAM_PREMATURE_CLOSE|ENOSPC)\b`)

func checkNode(ctx context.Context) error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: %s is not installed (Node %d or later)", ErrUnavailable, name, minNode)
		}
	}
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("read Node's version: %w", err)
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNode {
		return fmt.Errorf("%w: Node is %s, Strapi needs %d or later", ErrUnavailable, version, minNode)
	}
	return nil
}

// installKey names what is installed: other manifests, another key.
func installKey(source string) (string, error) {
	hash := sha256.New()
	for _, name := range manifests {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", fmt.Errorf("read what Strapi needs: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}

// prune removes installations that nobody used for a day: each has 690 MB.
func prune(cache string) {
	old, _ := filepath.Glob(filepath.Join(cache, "strapi-*"))
	parts, _ := filepath.Glob(filepath.Join(cache, "part-*"))
	for _, dir := range append(old, parts...) {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > keepInstalled {
			_ = os.RemoveAll(dir)
		}
	}
}

// tail returns the end of a program's output, for errors.
func tail(out []byte) string {
	const most = 2000
	out = bytes.TrimSpace(out)
	return string(out[max(0, len(out)-most):])
}
