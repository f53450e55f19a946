# make demo    search on the embedded demo data        make check   ruff, formatting, types
# make test    the whole test suite                    make fmt     format the code
# make wheel   build dist/*.whl                        make clean   remove the environments and what was built
# make docs    the documentation as a site, in site/, which needs no network: open site/index.html
# make fuzz    read damaged and lying files of every kind, FUZZ times as many as in the tests, and count them
# make experiments  the published experiments at a reduced size on demo data, less than an hour
# make mutants change what decides a search, one line at a time, and list the changes that no test notices (hours)
# Each sets up .venv (docs: .venv-docs) first when it is missing or pyproject.toml or constraints.txt changed.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/.ready
BUDGET ?= 50
FUZZ ?= 20
# The tests mostly wait for processes that they start: two at a time take half as long. Each has a temporary folder, and
# so a lock of measurements, of its own.
WORKERS ?= 2
# The extra `dev` has that of the search. torch is installed first and pinned: left to another package's range, pip fetches gigabytes of CUDA. A machine whose
# index has no CPU build of it gets the plain build of the same version. TORCH=... installs something else.
TORCH_VERSION := 2.13.0
TORCH ?= torch==$(TORCH_VERSION)
# --no-compile: only a part of what is installed is ever imported, and Python compiles that part itself, once.
# The constraints are made on 3.11, so it comes first; PYTHON=... takes another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
    $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
    && echo $$name && break; done)

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt wheel docs clean mutants fuzz experiments setup

help:
	@sed -n '1,8s/^# //p' Makefile

demo: $(READY)
	$(BIN)/autoopt search --workload histo --budget $(BUDGET)
	@echo 'The commands above are in $(BIN): run `. $(BIN)/activate` first.'

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY)
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

# An environment of its own, 0.2 GB: who writes a page needs no torch. `--strict` fails at a link that leads nowhere.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo 'open site/index.html'

# The spinner of a run that lasts for hours goes to a file.
mutants: $(READY)
	$(BIN)/mutmut run --max-children $(WORKERS) >mutants.log 2>&1 || { tail -c 2000 mutants.log; exit 1; }
	$(BIN)/mutmut results

experiments: $(READY)
	$(BIN)/python -m benchmarks.experiments $(ARGS)

# One process: it prints how many inputs of each kind it tried.
fuzz: $(READY)
	FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/fuzz --timeout=0 $(ARGS)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with venv is needed (Debian, Ubuntu: apt install python3-venv); name it with PYTHON=...' >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt '$(TORCH)'
	@$(BIN)/python -c "import importlib.metadata as m, sys; sys.exit(any(d.metadata['Name'].startswith('nvidia-') for d in m.distributions()))" \
	|| echo 'note: the index gave a CUDA build of torch. It works, but the CPU build is a tenth of the size: see README.md, Set-up.' >&2
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@touch $(READY)

$(DOCS_READY): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with venv is needed; name it with PYTHON=...' >&2; exit 1; }
	test -x $(DOCS_VENV)/bin/pip || $(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[docs]'
	@touch $(DOCS_READY)

clean:
	rm -rf $(VENV) $(DOCS_VENV) site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find autoopt tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
