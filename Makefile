# What a developer runs. `make test` and `make lint` need nothing
# installed by hand but Go, a C compiler (for the race detector), make and bash.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test

GO_TEST_TIMEOUT ?= 12m

.PHONY: test
test: deps ## vet, then every test under the race detector
	go vet ./...
	go test -race -count=1 -timeout $(GO_TEST_TIMEOUT) ./...

.PHONY: deps
deps:
	scripts/install-deps

.PHONY: lint
lint: ## the linters of .golangci.yml
	"$$(scripts/install-golangci-lint)" run ./...

.PHONY: fmt
fmt: ## format every Go file
	"$$(scripts/install-golangci-lint)" fmt ./...

.PHONY: bench
bench: deps ## throughput, latency, CPU per message and memory per socket, with baselines; AGAINST=revision compares with that only
	go run ./test/bench $(if $(AGAINST),-against $(AGAINST))

.PHONY: compose
compose: deps ## docker-compose.yml on this machine's Docker engine
	BOREAS_COMPOSE_TEST=1 go test -v -count=1 -timeout 26m ./test/compose

SOAK_TIME ?= 10m

.PHONY: soak
soak: deps ## damage, every fault, mixes of faults, many more histories, every fuzz target
	SOAK_TIME=$(SOAK_TIME) scripts/soak
