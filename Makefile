# Number Desk: `make run` to try it, `make test` to check it. Each target makes its own set-up in .venv.
#
#   make run  PORT=8000 SANDBOX_PORT=8001    everything on this machine, with the sandbox provider; Ctrl-C ends it
#   make quick                               what to check before every commit: lint, types, layers, the heart
#   make test BROWSER=0                      all checks (without those in a browser)
#   make chaos SEQUENCES=1000                random lives of purchases, then the hostile campaign of bench/chaos
#   make lint, make bench, make screenshots, make clean

PYTHON ?= python3
SEQUENCES ?= 1000
VENV := .venv
BIN := $(VENV)/bin/python

# Every target starts many processes: without its bytecode each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test quick lint bench chaos screenshots clean

run: $(VENV)/.installed
	@$(BIN) -m dashboard.run

test: $(VENV)/.installed-dev
	@$(BIN) -m tests.run

quick: lint
	@$(BIN) -m pytest -q -n 2 --dist worksteal -m core

lint: $(VENV)/.installed-dev
	@$(BIN) -m tests.run lint

bench: $(VENV)/.installed-dev
	@set -e; for file in $(filter-out bench/__init__.py,$(wildcard bench/*.py)); do \
	  echo "== $$file"; $(BIN) -m "bench.$$(basename "$$file" .py)"; \
	done

chaos: $(VENV)/.installed-dev
	@echo "== $(SEQUENCES) random lives of purchases"
	@CHAOS_SEQUENCES=$(SEQUENCES) $(BIN) -m pytest -q tests/buying/test_life_of_a_purchase.py
	@echo "== a campaign against a running Number Desk"
	@$(BIN) -m bench.chaos

screenshots: $(VENV)/.installed-dev
	@$(BIN) -m tests.browser.screenshots

clean:
	rm -rf $(VENV) staticfiles .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Set-up: only when the pinned requirements have changed --------------------------------------------------------

$(VENV)/.installed: requirements.txt
	$(call install,requirements.txt)

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt
	$(call install,requirements-dev.txt)

# Some systems keep a part of Python's venv module in a package of its own; pip alone can do without it.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo 'Number Desk needs Python 3.11 or newer, and "$(PYTHON)" is not. Name another one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
@$(BIN) -m pip --version >/dev/null 2>&1 || { \
  echo 'Making $(VENV) …'; \
  $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 \
  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN) install -qq pip; } >/dev/null 2>&1; } || { \
  echo 'Python cannot make a virtual environment here. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
@echo 'Installing what $(1) lists …'
@$(BIN) -m pip install -qq --disable-pip-version-check --no-compile -r $(1)
@touch $@
endef
