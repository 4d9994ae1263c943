# Every recipe is at most three lines: what takes more is a script in tools/.

PYTHON ?= python3
PORT ?= 3000

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all check format bench lock clean

help: ## Show what can be made.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile

setup: ## Create .venv from the lock files; PYTHON=... names another Python.
	@$(PYTHON) tools/setup.py

format: setup ## Lay out the sources and repair what can be repaired.
	.venv/bin/ruff check --fix-only --quiet
	.venv/bin/ruff format

check: setup ## Judge the sources: lint, layout, types, imports.
	.venv/bin/ruff check && .venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
