# `make run` and `make test` are all that is needed; both install what they need into .venv first.
#
#   make run PORT=20000              another block of ports for the demo
#   make test ARGS="tests/unit -q"   some of the tests
#   make PYTHON=python3.12 …         another Python than python3

PYTHON ?= python3
PORT ?= 10000
ARGS ?=

# Tests wait for processes of theirs a third of the time: one more than there are cores, and 4 at most.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null | awk '{print $$1 < 4 ? $$1 + 1 : 4}')

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run valid-port test lint format proto schema envoy bench fuzz fuzz-lean soak h2spec reloads sbom audit-deps clean

help:
	@echo "make run      the demo: a real Envoy, sample services and this server"
	@echo "make test     all tests"
	@echo "make lint     style, types and layers"
	@echo "make format   format the code"
	@echo "make proto    generate authz_server/pb from proto/"
	@echo "make schema   generate schema/ and the tables of docs/ from the code"
	@echo "make envoy    generate deploy/envoy.yaml"
	@echo "make bench    the benchmarks"
	@echo "make fuzz     random input for ten minutes: make fuzz ARGS='--seconds 60'"
	@echo "make fuzz-lean  random frames of HTTP/2, likewise"
	@echo "make soak     a server behind Envoy while all sorts of things happen to it: make soak ARGS='--seconds 3600'"
	@echo "make h2spec   the conformance tests of HTTP/2 against the lean transport; needs Go"
	@echo "make reloads  a thousand changes of policies under load"
	@echo "make sbom     the locked run-time dependencies as CycloneDX: sbom.cdx.json"
	@echo "make audit-deps  whether they have known vulnerabilities; asks the package index"
	@echo "make clean    remove what was installed, generated caches and the demo's files"

install: $(INSTALLED)

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is missing or older than 3.11; name another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	    { echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

run: valid-port $(INSTALLED)
	@$(BIN)/authz dev demo --port $(PORT)

valid-port:
	@case '$(PORT)' in ''|*[!0-9]*) \
	    echo "PORT=$(PORT) is no port; write a number from 1024 to 65000: make run PORT=20000" >&2; exit 1;; esac

test: $(INSTALLED)
	$(BIN)/pytest --numprocesses $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: $(INSTALLED)
	$(BIN)/python tools/generate_proto.py

schema: $(INSTALLED)
	$(BIN)/python tools/generate_schema.py
	$(BIN)/python tools/generate_config_docs.py
	$(BIN)/python tools/generate_bounds_docs.py

envoy: $(INSTALLED)
	$(BIN)/authz envoy config --output deploy/envoy.yaml

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-lean: $(INSTALLED)
	$(BIN)/python -m tests.fuzz_lean $(ARGS)

soak: $(INSTALLED)
	$(BIN)/python -m tests.soak $(ARGS)

h2spec: $(INSTALLED)
	$(BIN)/python -m tests.h2spec

reloads: $(INSTALLED)
	$(BIN)/python -m tests.steady.reloads $(ARGS)

sbom: $(INSTALLED)
	$(BIN)/python tools/write_sbom.py

audit-deps: $(INSTALLED)
	$(BIN)/python tools/audit_deps.py

clean:
	rm -rf $(VENV) run tests/oidc/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find authz_server tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
