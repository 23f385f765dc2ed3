# Parlance. `make` prints the targets below with the line that follows their `##`.
#
# Everything that is built for tests and not for a release lies in PARLANCE_CACHE, one folder for the whole machine.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PARLANCE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/parlance
export PATH := $(PATH):$(HOME)/.cargo/bin:$(PARLANCE_CACHE)/bin:$(PARLANCE_CACHE)/cargo/bin
CLUSTER := e2e/cluster

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- try it ---

.PHONY: demo
demo: prerequisites ## A real cluster, the operator, a TranscriptionService, and the words of a recording
	@$(CLUSTER)/demo.sh

# --- work on it ---

.PHONY: prerequisites
prerequisites: ## Check what this machine has, and install what is missing from Debian's packages
	@$(CLUSTER)/prerequisites.sh

.PHONY: build
build: ## Build the programs for release: operator, server and kubectl plugin
	cargo build --release --locked -p operator -p inference-server -p kubectl-parlance

PLUGIN_DIR ?= $(HOME)/.local/bin
.PHONY: install-plugin
install-plugin: build ## Install `kubectl parlance` into PLUGIN_DIR (~/.local/bin), which must be in PATH
	install -D -t "$(PLUGIN_DIR)" "$(or $(CARGO_TARGET_DIR),target)/release/kubectl-parlance" kubectl-parlance/kubectl_complete-parlance

.PHONY: generate
generate: ## Write what is generated: the CRD YAML, the API reference, the manifests for kustomize
	cargo run --release --locked -p crds --bin crdgen
	@command -v helm >/dev/null || $(CLUSTER)/build.sh helm
	deploy/kustomize/generate.sh

.PHONY: fmt
fmt: ## Format the Rust code
	cargo fmt --all

.PHONY: lint
lint: ## Check formatting, clippy, documentation, licences, shell scripts and charts
	@$(CLUSTER)/lint.sh

.PHONY: cuda-check
cuda-check: ## Check and test the server with the feature cuda; needs neither a GPU nor CUDA
	cargo clippy --locked -p inference-server --features cuda --all-targets -- -D warnings
	cargo test --release --locked -p inference-server --features cuda --lib --test device --test engines

.PHONY: aarch64-check
aarch64-check: ## Compile the server's library for aarch64 and run its kernels' tests under QEMU (ARGS='name' picks others)
	@inference-server/tests/aarch64.sh $(ARGS)

.PHONY: test
test: prerequisites ## Run every test: Rust, clients, charts, and end to end on a real cluster
	@$(CLUSTER)/test.sh unit clients chart rules e2e

.PHONY: unit-test
unit-test: ## Run the tests that need no cluster
	@$(CLUSTER)/test.sh unit

.PHONY: client-test
client-test: ## Run OpenAI's client and a browser against the server (ARGS='-k name' picks some)
	@CLIENT_ARGS="$(ARGS)" $(CLUSTER)/test.sh clients

.PHONY: chart-test
chart-test: ## Run the charts' tests
	@$(CLUSTER)/test.sh chart

.PHONY: rules-test
rules-test: ## Run the alerts' scenes through Prometheus's own promtool
	@$(CLUSTER)/test.sh rules

.PHONY: e2e
e2e: prerequisites ## Run the end-to-end tests (ARGS='name' picks some; the cluster stays if it was up)
	@$(CLUSTER)/test.sh e2e

.PHONY: upgrade-test
upgrade-test: prerequisites ## Upgrade the operator of an earlier commit under services that serve (ARGS=COMMIT)
	@$(CLUSTER)/upgrade-test.sh $(ARGS)

.PHONY: bench-operator
bench-operator: prerequisites ## Measure the operator with 1,000 services on 200 fake nodes (ARGS='--services 100')
	@$(CLUSTER)/bench-operator.sh $(ARGS)

.PHONY: bench
bench: build ## Run the benchmarks
	bench/run.sh $(ARGS)

.PHONY: bench-memory
bench-memory: build ## Measure what the server holds of models of Whisper's sizes (ARGS='medium large-v3 large-v3-turbo')
	bench/memory.sh $(ARGS)

.PHONY: crowd
crowd: ## Let 64 clients ask one server at once for five minutes (ARGS='--seconds 60')
	bench/crowd.sh $(ARGS)

.PHONY: fidelity
fidelity: build ## Compare transcripts with the reference implementation's
	inference-server/tests/fidelity/run.sh $(ARGS)

.PHONY: fuzz
fuzz: ## Damage audio files and decode them for MINUTES=10, longer than 'make test' does
	FUZZ_MINUTES=$(or $(MINUTES),10) cargo test --workspace --release --locked --test audio_fuzz -- --nocapture

.PHONY: train
train: ## Train the bundled model again
	models/train/run.sh $(ARGS)

.PHONY: dashboards
dashboards: ## Draw the dashboards for docs/images, from PROMETHEUS=http://... or from what was recorded
	charts/dashboards-pictures/draw.sh $(PROMETHEUS)

.PHONY: dashboards-record
dashboards-record: prerequisites build ## Record services, callers and their metrics on our own cluster, for 'make dashboards' (MINUTES=15)
	@$(CLUSTER)/cluster-up.sh
	@$(CLUSTER)/parlance-images.sh
	@$(CLUSTER)/load-images.sh
	@$(CLUSTER)/install.sh
	MINUTES=$(or $(MINUTES),15) charts/dashboards-pictures/record/record.sh

# --- cluster and images ---

.PHONY: images
images: build ## Build both images as OCI archives, without Docker
	@$(CLUSTER)/parlance-images.sh

.PHONY: cluster-up
cluster-up: prerequisites ## Boot a single-node cluster here (or use KUBECONFIG's, or kind's)
	@$(CLUSTER)/cluster-up.sh

.PHONY: cluster-down
cluster-down: ## Take that cluster down and leave nothing behind
	@$(CLUSTER)/cluster-down.sh

.PHONY: cluster-status
cluster-status: ## Say which cluster the targets use, and how it is
	@$(CLUSTER)/which.sh
	@$(CLUSTER)/with.sh kubectl get nodes,pods --all-namespaces

.PHONY: load
load: images ## Build both images and bring them into the cluster in use
	@$(CLUSTER)/load-images.sh

# --- clean ---

.PHONY: clean
clean: ## Remove what cargo built
	cargo clean

.PHONY: clean-cache
clean-cache: ## Take the cluster down and empty PARLANCE_CACHE (the next cluster is built from nothing)
	@$(CLUSTER)/clean-cache.sh
