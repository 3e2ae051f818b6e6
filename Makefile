# Dealbox needs Go 1.26 and make. Everything else is fetched by Go, pinned to a version.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN := bin/dealbox

# What to test, and more flags for go test: make test PKG=./internal/mirror TESTFLAGS='-run Reconcile -v'
# The two that take longest start first, so that nothing waits for one of them at the end.
PKG ?= $(wildcard ./internal/simulation ./cmd/dealbox) ./...
TESTFLAGS ?=
TEST_TIMEOUT ?= 60m
# How many packages are tested at once, and how many tests of each.
TEST_PACKAGES ?= 3
TEST_PARALLEL ?= 4
# How long make fuzz stays with each target.
FUZZTIME ?= 20s
# How many histories make simulate tries; SEED=123 prints one of them instead.
SEEDS ?= 10000
SEED ?=
# Arguments of make run and make bench: make run ARGS='--strapi-url http://localhost:1337'
ARGS ?=

GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
SQLC ?= $(GO) run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1
GOVULNCHECK ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

REPOCHECK := $(GO) run ./internal/repocheck
WITHPG := $(GO) run ./internal/pgtest/withpg
# Most tests wait more than they compute: more of them run at once than a small machine
# has cores. Linting vets the code.
GOTEST := $(GO) test -json -vet=off -p=$(TEST_PACKAGES) -parallel=$(TEST_PARALLEL) -count=1 -timeout=$(TEST_TIMEOUT)
# Shows what failed, and in the end the skipped tests with their reasons.
RESULTS := $(REPOCHECK) results $(if $(filter -v,$(TESTFLAGS)),-v)

##@ Use it

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: postgres build ## Build Dealbox and start it with a private Postgres and a simulated Strapi (ARGS=…)
	@exec $(BIN) dev $(ARGS)

.PHONY: strapi
strapi: postgres build ## Start a real Strapi with the plugin beside Dealbox; needs Node 20 (ARGS='-drafts', '-locales fr' or '-stock')
	@$(GO) build -o bin/realstrapi ./internal/realstrapi/run
	@exec bin/realstrapi up -dealbox $(BIN) $(ARGS)

.PHONY: build
build: ## Build bin/dealbox, a static binary
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/dealbox

# Installs it only for root on Debian or Ubuntu; `dealbox dev` says what others have to do.
.PHONY: postgres
postgres:
	@if ! command -v postgres >/dev/null && ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
		&& [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "No Postgres on this machine: installing Debian's package postgresql (apt-get install postgresql)."; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql; \
	fi

##@ Check it

.PHONY: test
test: ## Run all tests on TEST_DATABASE_URL, else a container, else local Postgres binaries (PKG=… TESTFLAGS=…)
	$(WITHPG) -- $(GOTEST) $(TESTFLAGS) $(PKG) | $(RESULTS)

.PHONY: test-container
test-container: ## The same in a container (testcontainers; TEST_POSTGRES_IMAGE names another image)
	$(WITHPG) -using container -- $(GOTEST) $(TESTFLAGS) $(PKG) | $(RESULTS)

.PHONY: test-local
test-local: ## The same on local Postgres binaries
	$(WITHPG) -using local -- $(GOTEST) $(TESTFLAGS) $(PKG) | $(RESULTS)

.PHONY: test-strapi
test-strapi: ## Run the tests with a real Strapi; needs Node 20 and installs 690 MB, once
	TEST_STRAPI=1 $(WITHPG) -- $(GO) test -json -count=1 -timeout=90m -run 'TestStrapi|TestInstall' $(TESTFLAGS) ./internal/realstrapi | $(REPOCHECK) results -v

.PHONY: test-race
test-race: ## Run all tests with the race detector (needs a C compiler; several times slower)
	CGO_ENABLED=1 $(WITHPG) -- $(GOTEST) -race $(TESTFLAGS) $(PKG) | $(RESULTS)

.PHONY: test-plugin
test-plugin: ## Run the tests of the plugin for Strapi (needs Node 20 or later, installs nothing)
	npm --prefix strapi/plugin --silent test

.PHONY: test-migrations
test-migrations: ## Race three replicas to migrate an empty database, 100 times
	$(WITHPG) -- $(GOTEST) -run TestUp_Race ./db/migrations -races=100 | $(REPOCHECK) results -v

.PHONY: cover
cover: ## Run all tests and show how much of the code they reach (coverage.html has the lines)
	@mkdir -p bin
	$(WITHPG) -- $(GOTEST) -coverpkg=./cmd/...,./internal/...,./db/... -coverprofile=bin/cover.out $(TESTFLAGS) $(PKG) | $(RESULTS)
	$(GO) tool cover -html=bin/cover.out -o coverage.html
	@$(GO) tool cover -func=bin/cover.out | tail -n 1

.PHONY: lint
lint: ## Check style, words, the import rules, and that generated code and docs/packages.svg are fresh
	$(GO) vet ./...
	$(REPOCHECK) words
	$(REPOCHECK) picture -check
	$(GOLANGCI_LINT) run ./...
	$(SQLC) diff

.PHONY: words
words: ## List where words stand that this project avoids, and what to say instead (nothing: there are none)
	@$(REPOCHECK) words

.PHONY: house
house: ## Measure the code: lengths, comments, upward calls (REV=… another commit, BASE=… commit subjects since, MD=1 Markdown)
	@$(REPOCHECK) figures $(if $(MD),-md) $(if $(REV),-rev $(REV)) $(if $(BASE),-base $(BASE))

.PHONY: simulate
simulate: ## Simulate histories of sync, forecast and reconciliation (SEEDS=… how many; SEED=… replays one)
	SEEDS=$(SEEDS) SEED=$(SEED) $(WITHPG) -- $(GO) test -count=1 -timeout=0 -v -run '^TestSimulation' ./internal/simulation

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (20s)
	@for pkg in $$($(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: vuln
vuln: ## Look for known vulnerabilities that the code reaches
	$(GOVULNCHECK) ./...

.PHONY: bench
bench: ## Measure ingest and the drain of a backlog on this machine (ARGS=…)
	$(GO) run ./internal/bench $(ARGS)

.PHONY: bench-sick
bench-sick: ## Measure a Strapi that partly fails: 30 ill documents, then 5 % of all requests, ten minutes each
	$(GO) run ./internal/bench -sick 10m

.PHONY: bench-alerts
bench-alerts: ## Measure the reads of alerts with a million episodes and 10 million rows of history
	$(GO) run ./internal/bench -alerts 1000000

##@ Change it

.PHONY: generate
generate: ## Write internal/dbsqlc from db/queries and db/migrations
	$(SQLC) generate

.PHONY: picture
picture: ## Draw docs/packages.svg: which package imports which
	$(REPOCHECK) picture

.PHONY: clean
clean: ## Remove what the targets above made
	rm -rf bin coverage.html
