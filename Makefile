# `make run` and `make test` need only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := worker tasks tests docs celeryconfig.py setup.py $(wildcard benchmarks)

.PHONY: help run test test-pythons test-slow chaos mutants lint format bench docs lock build clean

run: $(VENV)/.run
	@$(BIN)/python -m worker run

help:
	@echo "make run        start everything on this machine, with a sandbox in place of Pinterest"
	@echo "make test       run all quick tests"
	@echo "make test-pythons  run the tests on each supported Python"
	@echo "make test-slow  run the tests that take long or need RabbitMQ, PostgreSQL and Redis"
	@echo "make chaos      kill processes for 20 minutes, and check that nothing is lost"
	@echo "make mutants    change 100 conditions of the delivery code, and print those that no test notices"
	@echo "make lint       check style, types and known vulnerabilities"
	@echo "make format     format the code"
	@echo "make bench      measure the speed of each step; ROW=name for one row"
	@echo "make docs       write docs/api.md"
	@echo "make lock       lock the versions of all dependencies"
	@echo "make build      build a wheel under dist/"
	@echo "make clean      remove generated files, but not the state folder"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2

# The quick tests with each supported Python on this machine, in an environment for each.
test-pythons:
	@for version in 3.11 3.12 3.13; do \
		if python$$version -c "" 2>/dev/null; then \
			echo "Python $$version" && $(MAKE) VENV=.venv-$$version PYTHON=python$$version test || exit 1; \
		else echo "Python $$version is not on this machine."; fi; \
	done

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow -n 2

# Takes 20 minutes; the second storm needs RabbitMQ and PostgreSQL on this machine.
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.kill_storm --events 100000 --kills 16 --seed 1 --broker valkey --database sqlite
	$(BIN)/python -m tests.chaos.kill_storm --events 100000 --kills 16 --seed 2 --broker rabbitmq --database postgresql
	STORM_SECONDS=120 STORM_SEED=3 $(BIN)/python -m pytest -s tests/chaos/test_ledger_storm.py

# Takes an hour or more.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --count 100 --seed 1

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

# Versions and hashes of what is installed, for every supported Python and platform. UPGRADE=--upgrade takes new releases.
LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --generate-hashes --python-version 3.11 $(UPGRADE) \
	--custom-compile-command 'make lock' --extra install setup.cfg
lock: $(VENV)/.dev
	$(LOCK) --output-file requirements/run.lock
	$(LOCK) --extra dev --constraints requirements/run.lock --output-file requirements/dev.lock

# Reproducible: git's files, one file mode and the time of the commit.
build: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
build: $(VENV)/.dev
	rm -rf build dist && mkdir -p build/source
	git ls-files -z | tar --null --files-from=- --mode=u=rwX,go=rX -c | tar -x -C build/source
	umask 022 && $(BIN)/python -m build --wheel --no-isolation --outdir dist build/source
	rm -rf build
	$(BIN)/python -m cyclonedx_py requirements --output-reproducible --pyproject requirements/sbom.toml \
		--output-file dist/signal-worker.cdx.json requirements/run.lock

# Removes generated files, but not the state folder with events and keys.
clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find worker tasks tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV), which takes one or two minutes."
	@$(PYTHON) -m venv $(VENV)

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The checkout itself has no hash. Its build needs only setuptools, which the lock files contain.
CHECKOUT := $(INSTALL) --no-deps --no-build-isolation --editable .

$(VENV)/.run: requirements/run.lock setup.cfg setup.py | $(VENV)/bin/python
	$(INSTALL) --require-hashes --requirement requirements/run.lock
	$(CHECKOUT)
	@touch $@

$(VENV)/.dev: requirements/dev.lock setup.cfg setup.py | $(VENV)/bin/python
	$(INSTALL) --require-hashes --requirement requirements/dev.lock
	$(CHECKOUT)
	@touch $@ $(VENV)/.run
