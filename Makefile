SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: bootstrap ## A hub on a local Kubernetes (or on KUBECONFIG's): prints its address and a log-in
	@$(PYTHON) -m demo check
	@$(PYTHON) -m setup demo
	@$(BIN)/python -m demo up

demo-down: ## Take the demo away: processes, mounts, network, folders
	@$(PYTHON) -m demo down

test: bootstrap ## Everything: unit, gateway, web, images, cluster, browser; newest and oldest JupyterHub
	@$(PYTHON) -m setup test
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m tests.run

check: ## Format, lint, types, import rules, unit tests: seconds, no network
	@test -x $(BIN)/python || { echo "no .venv yet: run 'make setup' once"; exit 1; }
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit

setup: bootstrap ## The Python environment, for 'make check' and an editor
	@$(PYTHON) -m setup check

images: bootstrap ## Build the images: jupyter-kale, vscode-kale, gateway
	@$(PYTHON) -m setup demo
	@$(PYTHON) -m images

pins: ## Renew the pinned requirements after a change of pyproject.toml
	$(BIN)/python -m setup.pins

bootstrap:
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  test "$$(id -u)" = 0 || { echo "Python 3.11 with venv is needed: install python3-venv, or run this as root"; exit 1; }; \
	  command -v apt-get >/dev/null || { echo "Python 3.11 or newer with venv is needed: install it first"; exit 1; }; \
	  echo "  installing python3"; \
	  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3 python3-venv ca-certificates >/dev/null; }

.PHONY: help demo demo-down test check setup images pins bootstrap
