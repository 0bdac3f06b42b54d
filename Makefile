# What a developer does. `make help` lists it.
SHELL    := bash
.SHELLFLAGS := -euo pipefail -c
SERVICES := .services/bin/services
TOOL     := go tool -modfile=tools/go.mod
MODULES  := . integration
N        ?= 100
FUZZTIME ?= 30s
RUN      ?= Test
REPORT   := .services/conformance.txt

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## bin/cdc, a static binary
	CGO_ENABLED=0 go build -trimpath -o bin/cdc ./cmd/cdc

.PHONY: test
test: $(SERVICES) ## all tests with the race detector, against real services (KEEP=1 leaves them running)
	@rm -f $(REPORT)
	$(SERVICES) run -- env CDC_CONFORMANCE=$(CURDIR)/$(REPORT) bash -c 'set -e; trap "cat $(REPORT)" EXIT; \
	  for m in $(MODULES); do go -C $$m test -race -shuffle=on -timeout 12m ./...; done'

.PHONY: conformance
conformance: $(SERVICES) ## what every source must do, on all versions of all servers: a table (RUN=TestPostgres: of one family)
	@rm -f $(REPORT)
	@$(SERVICES) run -- env CDC_CONFORMANCE=$(CURDIR)/$(REPORT) go test -count=1 -run '^$(RUN)' ./replication/replicationtest || { cat $(REPORT); exit 1; }
	@cat $(REPORT)

.PHONY: services
services: $(SERVICES) ## starts PostgreSQL, Kafka and a registry: eval "$(make -s services)"
	@$(SERVICES) start

.PHONY: services-stop
services-stop: $(SERVICES) ## stops what services started, and keeps the data
	@$(SERVICES) stop

.PHONY: $(SERVICES)
$(SERVICES):
	@go -C integration build -o ../$(SERVICES) ./cmd/services

.PHONY: lint
lint: ## golangci-lint over all modules
	@for m in $(MODULES); do (cd $$m && go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: fmt
fmt: ## gofumpt and import order, in place
	@for m in $(MODULES); do (cd $$m && go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint fmt --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: bench
bench: $(SERVICES) ## the whole program against pg_recvlogical, COPY and raw readers: a table and bench/results.json (BENCH="-only capture")
	$(SERVICES) run -- go run ./bench $(BENCH)

.PHONY: kills
kills: $(SERVICES) ## N random kills of capture and N of sink under load, of each family of sources; N/5 restarts of MySQL and MariaDB (N=100)
	$(SERVICES) run -- env CDC_KILLS=$(N) go -C integration test -count=1 -v -timeout 60m -run 'TestKills' .

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s)
	@for m in $(MODULES); do (cd $$m; grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | while read -r file target; do \
	  [[ $$m == . && $$file == ./integration/* ]] && continue; \
	  echo "== $$m $$(dirname $$file) $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)"; done); done

.PHONY: tidy
tidy: ## go mod tidy in all modules
	@for m in $(MODULES) tools; do go -C $$m mod tidy; done
