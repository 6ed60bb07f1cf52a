# `make reproduce` and `make test` install everything they need; only Python and make must be there.
PYTHON ?= python3
SCALE ?= $(shell sed -n 's/^scale: *\([^ ]*\).*/\1/p' config.yaml)
SHELL := /bin/sh
# They would lead Python to the modules and packages of another installation.
unexport PYTHONPATH PYTHONHOME
# "" unless .venv was made in this folder and its Python runs: otherwise it is repaired or made again.
FITS := $(shell [ "$$(cat .venv/installed 2>/dev/null)" = "$$(pwd -P)" ] && .venv/bin/python -c "" && echo yes)
# Passed through the environment, because a path may contain quotes.
export IMAGES PARTS SEEDS
CONFIG = scale=$(SCALE) $${IMAGES:+"images=$$IMAGES"} $${PARTS:+"parts=$$PARTS"} $${SEEDS:+"seeds=[$$SEEDS]"}

.PHONY: help install reproduce store test lint bench again

help:
	@echo "make install     install exact versions into .venv"
	@echo "make reproduce   install, then make every figure, verdict and report (SCALE=$(SCALE), IMAGES=folder,"
	@echo "                 PARTS=all, SEEDS=0,1,2)"
	@echo "make store       the same, then store verdicts and figures in docs/results/$(SCALE)/"
	@echo "make test        install, then run the tests"
	@echo "make bench       install, then measure speed and write bench/results.md (10 minutes)"
	@echo "make lint        install, then check style: ruff, snakefmt, snakemake --lint"

install: .venv/installed

reproduce: .venv/installed
	@.venv/bin/snakemake --cores all --config $(CONFIG)
	@echo "Results: results/$(SCALE)/report.html in a browser, results/$(SCALE)/report/ for the report."

store: reproduce
	@.venv/bin/python tools/store.py $(SCALE)

test: .venv/installed
	@.venv/bin/pytest -n 2 --dist loadgroup

bench: .venv/installed
	@.venv/bin/python bench/bench.py

# snakefmt looks for shfmt on PATH.
lint: export PATH := $(CURDIR)/.venv/bin:$(PATH)
lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check .
	.venv/bin/snakemake --lint

.venv/installed: requirements.txt $(if $(FITS),,again)
	@$(PYTHON) tools/install.py
