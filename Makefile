# `make reproduce` and `make test` set up everything they need, from nothing but Python and make.
PYTHON ?= python3
SCALE ?= $(shell sed -n 's/^scale: *\([^ ]*\).*/\1/p' config.yaml)
SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help reproduce keep test lint

help:
	@echo "make reproduce   install, then make every figure, verdict and report (SCALE=$(SCALE), IMAGES=folder)"
	@echo "make keep        the same, then keep verdicts and figures in docs/results/$(SCALE)/"
	@echo "make test        install, then run the tests"
	@echo "make lint        install, then check style: ruff, snakefmt, snakemake --lint"

reproduce: .venv/installed
	@snakemake --cores all --config scale=$(SCALE) $(if $(IMAGES),'images=$(IMAGES)')
	@echo "Results: results/$(SCALE)/report.html in a browser, results/$(SCALE)/report/ for the report."

keep: reproduce
	@python tools/keep.py $(SCALE)

test: .venv/installed
	@pytest -n 2 --dist loadgroup

lint: .venv/installed
	ruff check .
	ruff format --check .
	snakefmt --check .
	snakemake --lint

.venv/installed: requirements.txt
	@$(PYTHON) tools/install.py
