# Every recipe is at most three lines: what takes more is a script in tools/.

PYTHON ?= python3
PORT ?= 3000

# Further options for `make lock`, for example --upgrade.
LOCK_OPTIONS ?=
LOCK = .lock-environment/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --custom-compile-command "make lock" $(LOCK_OPTIONS)
# It wants a newer Python, and what it stands on is locked for development.
LOCK_WITNESS = $(subst 3.11,3.12,$(LOCK)) --no-deps
# What is shipped consists of the very versions that were tested.
SHIPPED_EXTRAS = --extra zstd --extra postgresql --extra nats
LOCK_SHIPPED = $(LOCK) --constraints requirements/development.lock

# Strict: a package that the service cannot be asked about is a failure, not a package without one.
AUDIT_OPTIONS = --strict --progress-spinner off --disable-pip --require-hashes

# Further options for `make release`: --uncommitted, --publishable, --signing-key FILE.
RELEASE_OPTIONS ?=

# Further options for `make bench`, for example --long, or --peer nats.
BENCH_OPTIONS ?=

# A program of npm's, for the Node of the environment.
NODE_TOOL = PATH=".venv/bin:$$PATH" tools/ui/node_modules/.bin/

# Everlog is compiled once, and not by each process that a test starts.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: bench profile vendor screenshots openapi docs release
.PHONY: help setup run test test-all check format lock lock-development audit sbom clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

setup: ## Create .venv from the lock files (PYTHON=... names another Python).
	@$(PYTHON) tools/setup.py

run: ## Start a development server on 127.0.0.1 (PORT=..., default 3000).
	@$(PYTHON) tools/setup.py running
	@.run-environment/bin/python tools/run_development_server.py --port $(PORT)

test: check ## Run everything that must hold.
	.venv/bin/python tools/system_packages.py
	.venv/bin/pytest -n logical --dist loadfile

test-all: export BAD_INPUT_REQUESTS = 100000
test-all: export EVENTQL_QUERIES = 100000
test-all: export EVERLOG_KILL_SEEDS = 24
test-all: export EVERLOG_FOLLOWING_ROUNDS = 40
test-all: export EVERLOG_START_MOMENTS = 16
test-all: export EVERLOG_RESTORE_KILLS = 40
test-all: export EVERLOG_EVERY_FAILURE = 1
test-all: export EVERLOG_HISTORY_WRITES = 3000
test-all: export EVERLOG_POWER_STATES = 5000
test-all: export EVERLOG_ROT_FLIPS = 3000
test-all: export EVERLOG_PROJECTION_KILLS = 100
test-all: export EVERLOG_COPIES = 400
test-all: export EVERLOG_JOURNAL_KILLS = 40
test-all: export EVERLOG_PATRONI_KILLS = 8
test-all: export EVERLOG_CLUSTER_SECONDS = 120
test-all: export EVERLOG_CLUSTER_PATRONI_SECONDS = 120
test-all: export EVERLOG_SOAK_SECONDS = 120
test-all: export EVERLOG_UI_SUBJECTS = 1000000
test-all: export EVERLOG_UI_LIVE_SECONDS = 60
test-all: export EVERLOG_EMPTY_CLUSTERS = 1
test-all: check ## Run the tests with more generated cases, and measure their coverage.
	.venv/bin/python tools/system_packages.py
	HYPOTHESIS_PROFILE=thorough .venv/bin/coverage run -m pytest -n logical --dist loadfile
	.venv/bin/coverage combine --quiet && .venv/bin/coverage report

check: setup ## Judge the sources: lint, layout, types, imports.
	.venv/bin/ruff check --quiet && .venv/bin/ruff format --check --quiet
	.venv/bin/mypy && .venv/bin/lint-imports --no-logo
	$(NODE_TOOL)biome check --error-on-warnings && $(NODE_TOOL)tsc --project tools/ui

format: setup ## Lay out the sources, and repair what can be repaired.
	.venv/bin/ruff check --fix-only --quiet && .venv/bin/ruff format
	$(NODE_TOOL)biome check --fix

vendor: setup ## Make the libraries of the management UI anew, from tools/ui/package-lock.json.
	.venv/bin/node tools/ui/vendor.js

screenshots: setup ## Make the pictures of the management UI in docs/ui anew; look at each of them.
	.venv/bin/python -m tools.screenshots

openapi: setup ## Write the OpenAPI documents that the server shows, from its routes.
	.venv/bin/python -m tools.openapi.document

bench: setup ## Measure Everlog beside its peers and beside the machine, into docs/benchmarks.
	.venv/bin/python -m benchmarks --report docs/benchmarks $(BENCH_OPTIONS)

profile: setup ## Say where the time of the hot paths goes, into docs/benchmarks.
	.venv/bin/python -m benchmarks.profile --report docs/benchmarks

lock: lock-development ## Write the lock files anew (LOCK_OPTIONS=--upgrade takes newer releases).
	$(LOCK) requirements/sdk-v1.in --output-file requirements/sdk-v1.lock
	$(LOCK_SHIPPED) $(SHIPPED_EXTRAS) pyproject.toml --output-file requirements/runtime.lock
	$(LOCK_SHIPPED) --group build --output-file requirements/build.lock

lock-development:
	$(PYTHON) -m venv .lock-environment && .lock-environment/bin/pip install --quiet uv
	$(LOCK) --all-extras --group dev pyproject.toml --output-file requirements/development.lock
	$(LOCK_WITNESS) requirements/witness.in --output-file requirements/witness.lock

audit: setup ## Ask whether a locked package has a known vulnerability (needs the network).
	.venv/bin/pip-audit $(AUDIT_OPTIONS) --requirement requirements/development.lock
	.venv/bin/pip-audit $(AUDIT_OPTIONS) --requirement requirements/sdk-v1.lock
	.venv/bin/pip-audit $(AUDIT_OPTIONS) --requirement requirements/witness.lock

sbom: setup ## Write requirements/everlog.cdx.json, which lists what Everlog is shipped with.
	@.venv/bin/python tools/sbom.py

docs: setup ## Build the documentation as a site, in site.
	.venv/bin/mkdocs build --strict

release: setup ## Make a release in dist, twice, compared and tried; nothing is uploaded.
	@.venv/bin/python tools/release.py --output dist $(RELEASE_OPTIONS)

clean: ## Remove what was built, but not the development server's data.
	rm -rf .venv .*-environment .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist site
	find . -name __pycache__ -prune -exec rm -rf {} +
