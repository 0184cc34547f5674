# `make run` and `make test` need only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := worker tasks tests docs celeryconfig.py setup.py $(wildcard benchmarks)

.PHONY: run test test-slow chaos lint format bench docs build clean

run: $(VENV)/.run
	@$(BIN)/python -m worker run

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# Takes 15 minutes; the second storm needs RabbitMQ and PostgreSQL on this machine.
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.kill_storm --events 100000 --kills 16 --seed 1 --broker valkey --database sqlite
	$(BIN)/python -m tests.chaos.kill_storm --events 100000 --kills 16 --seed 2 --broker rabbitmq --database postgresql

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	@$(BIN)/python -m tests.security.audit

format: $(VENV)/.dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ROW)

docs: $(VENV)/.dev
	$(BIN)/python -m docs.reference

# Reproducible: git's files, one file mode and the time of the commit.
build: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
build: $(VENV)/.dev
	rm -rf build dist && mkdir -p build/source
	git ls-files -z | tar --null --files-from=- --mode=u=rwX,go=rX -c | tar -x -C build/source
	umask 022 && $(BIN)/python -m build --wheel --no-isolation --outdir dist build/source
	rm -rf build

# Removes generated files, but not the state folder with events and keys.
clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find worker tasks tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV), which takes one or two minutes."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: setup.cfg setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run
