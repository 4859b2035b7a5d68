# Every target stands alone: each one makes .venv first if it is missing or older than what it is made from.

PYTHON ?= python3
WORKERS ?= logical
BIN := .venv/bin
STAMP := .venv/.installed

PYTEST := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
CODE := src cli tests bench docs

.DEFAULT_GOAL := help
.PHONY: help setup others demo test test-all check fmt lint type wheel-check docs reference results nano bench trl-fields

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv and install rlllm into it, with the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "rlllm needs Python 3.11 or newer: make setup PYTHON=python3.12"; exit 2; }
	@echo "installing into .venv (some minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

others: $(STAMP) ## install what the tests of other libraries' environments need: verifiers, and openenv in .venv/openenv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[openenv,verifiers]'
	@$(PYTHON) -m venv .venv/openenv
	@.venv/openenv/bin/python -m pip install -qq --disable-pip-version-check --no-deps \
		-r tests/fixtures/openenv/requirements.txt

demo: $(STAMP) ## run the whole lifecycle on the embedded model; ends in runs/demo/report.html
	$(BIN)/rlllm demo --overwrite --output-dir runs/demo

test: $(STAMP) ## run the tests, without the slow ones
	$(PYTEST) -m "not slow"

test-all: $(STAMP) ## run all tests, slow ones included
	$(PYTEST)

check: test lint type wheel-check ## everything that must pass before a commit

fmt: $(STAMP) ## format the code and apply safe fixes
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

type: $(STAMP) ## check types
	$(BIN)/mypy

wheel-check: $(STAMP) ## build the wheel, install it elsewhere and try it
	$(BIN)/python tests/wheel_check.py

docs: $(STAMP) reference ## build this documentation as a site, in site/; every link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "read it: $(BIN)/python -m http.server --directory site"

reference: $(STAMP) ## write docs/reference again, from the code, and the recorded numbers into the pages
	$(BIN)/python -m rlllm_cli.reference
	$(BIN)/python -m rlllm_cli.results

results: $(STAMP) ## list recorded numbers older than the code they measure; NAME=lifecycle records that file again
	$(BIN)/python -m rlllm_cli.results $(if $(NAME),--record $(NAME),--old)

nano: $(STAMP) ## train the embedded model again (minutes) and put it into the package
	$(BIN)/python -m rlllm.assets.build_nano runs/nano-start
	$(BIN)/rlllm sft nano --model runs/nano-start --overwrite --output-dir runs/nano
	cp runs/nano/model/*.json runs/nano/model/*.jinja runs/nano/model/*.safetensors src/rlllm/assets/nano/

bench: $(STAMP) ## run the benchmarks of minutes; the longer ones under bench/ say how they are run
	@set -e; for script in cli_startup lifecycle sandbox math_reward; do echo "== $$script"; $(BIN)/python bench/$$script.py; done

trl-fields: $(STAMP) ## write the table of TRL's config fields again, from the installed TRL
	$(BIN)/python -m rlllm.algorithms.field_tables
