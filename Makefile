# Needs make and Python 3.11, 3.12 or 3.13. Uses uv if it is installed, otherwise venv and pip.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-stamp
DEV_STAMP := $(VENV)/.dev-stamp
SBOM_VENV := $(VENV)/sbom
SBOM_STAMP := $(SBOM_VENV)/.stamp

# `make test MARK=` runs the long tests too; PYTEST passes options to pytest.
MARK ?= not long
PYTEST ?=

# Of `make soak` and `make living`; `make soak` is repeated exactly by the same seed.
RUNS ?= 200
SEED ?= 1

##@ Use

.PHONY: demo
demo: setup ## play the demo of the first domain on its samples
	$(BIN)/etl demo

.PHONY: run
run: setup ## run a domain: make run DOMAIN=advisories
	$(BIN)/etl run $(DOMAIN)

.PHONY: dev
dev: setup ## Dagster's web pages and its daemon, on 127.0.0.1
	$(BIN)/etl ui

##@ Build and check

.PHONY: test
test: setup-dev ## the tests (fast ones; MARK= for all)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "$(MARK)" $(PYTEST)

.PHONY: test-ci
test-ci: setup-dev ## what CI runs beside check and test: the demo and the long tests marked ci
	$(BIN)/etl demo
	$(BIN)/python -m pytest -n auto --dist loadfile -m "ci" $(PYTEST)

.PHONY: test-all
test-all: ## every test, including long ones and drills
	@$(MAKE) test MARK=

.PHONY: test-cov
test-cov: ## the fast and long tests, with the coverage floor
	@$(MAKE) test MARK="not drill" PYTEST="--cov --cov-report=term $(PYTEST)"

.PHONY: test-cluster
test-cluster: setup-dev ## workers that are killed, stopped and cut off (needs PostgreSQL and Redis)
	$(BIN)/python -m pytest -n 0 -m "" tests/defs/workers $(PYTEST)

.PHONY: drill
drill: ## every further write point and fault (half an hour)
	@$(MAKE) test MARK=drill

.PHONY: soak
soak: setup-dev ## 200 runs with random faults, each verified: make soak RUNS=200 SEED=1
	PYTHONPATH=tests $(BIN)/python -W ignore -m support.soak $(RUNS) $(SEED)

.PHONY: living
living: setup-dev ## 300 changing runs, and what they leave: make living RUNS=300
	PYTHONPATH=tests $(BIN)/python -W ignore -m bench.living $(RUNS)

.PHONY: check
check: setup-dev ## format, lint, types, import rules, SQL, YAML, layout
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint --strict .
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project
	$(BIN)/python -m pytest -q tests/test_layout.py

SBOM ?= sbom.cdx.json

.PHONY: sbom
sbom: $(SBOM_STAMP) ## the bill of materials (CycloneDX) of what requirements.lock installs, validated
	$(SBOM_VENV)/bin/python -W ignore -m cyclonedx_py requirements requirements.lock \
	  --pyproject pyproject.toml --output-reproducible --validate --output-file $(SBOM)

.PHONY: format
format: setup-dev ## format Python and SQL in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/sqlfluff fix --disable-progress-bar dbt_project

.PHONY: bench
bench: setup-dev ## measure and compare within one run
	$(BIN)/python -m bench

.PHONY: consumers
consumers: setup-dev ## try scanners on the documents of real feeds: make consumers MIRROR=<folder>
	PYTHONPATH=tests $(BIN)/python -W ignore -m bench.consumers $(MIRROR)

##@ Change

.PHONY: add-source
add-source: setup ## write the files of a source: make add-source NAME=<domain>.<source>
	$(BIN)/python -m etl_assets.declarations.codegen source etl_assets/domains dbt_project "$(NAME)"

.PHONY: schemas
schemas: setup ## write what follows from others: JSON Schemas, dbt's sources and exposures, docs/reliability.md
	$(BIN)/python -m etl_assets.declarations.codegen schemas docs/schemas
	$(BIN)/python -m etl_assets.declarations.codegen dbt etl_assets/domains dbt_project
	PYTHONPATH=tests $(BIN)/python -m support.reliability_page docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -m support.rules_page docs/domains/advisories-rules.md

PICTURES := docs/images

.PHONY: pictures
pictures: setup-dev ## take the pictures of README and docs (needs Chromium)
	PYTHONPATH=tests $(BIN)/python -W ignore -m support.pictures $(PICTURES)

.PHONY: update-golden
update-golden: setup-dev ## rewrite the golden files; review the diff: make update-golden PYTEST="tests/defs -k asset_keys"
	$(BIN)/python -m pytest --snapshot-update $(PYTEST)

.PHONY: lock
lock: ## resolve the locks again (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --quiet -o requirements.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --quiet -c requirements.lock -o requirements-extras.lock
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --quiet -c requirements-extras.lock \
	  -o requirements-dev.lock
	uv pip compile --group sbom --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --quiet -o requirements-sbom.lock

##@ Set up

.PHONY: setup
setup: $(RUN_STAMP) ## .venv from requirements.lock; does nothing if it is current

.PHONY: setup-dev
setup-dev: $(DEV_STAMP) ## the same, with the tools for tests and checks

$(RUN_STAMP): requirements.lock pyproject.toml
	@.ci/setup $(VENV) requirements.lock
	@touch $@

$(DEV_STAMP): requirements-dev.lock pyproject.toml
	@.ci/setup $(VENV) requirements-dev.lock
	@touch $(RUN_STAMP) $@  # the one lock contains the other

$(SBOM_STAMP): requirements-sbom.lock pyproject.toml | $(DEV_STAMP)
	@.ci/setup $(SBOM_VENV) requirements-sbom.lock
	@touch $@

.PHONY: clean
clean: ## remove .venv and caches, but no data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage *.egg-info

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
