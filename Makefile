# Everything that is done with this repository; `make help` lists it.
#
# A fresh clone needs nothing but git, make and Python 3.11 or newer: what else is missing is
# installed into .venv, and Debian packages by apt-get. Stamps in .venv say what is done, so
# that a second run has nothing to do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CHECKED := live777py tests bench docs

# Commands that tests need, and the Debian packages that have them.
TEST_TOOLS := chromium:chromium ffmpeg:ffmpeg ip:iproute2 turnserver:coturn

# Arguments for the command that a target runs: make run ARGS='-c live777.toml'
ARGS ?=

# How many processes run the tests that need no machine for themselves. More than there are
# processors: many wait most of their time.
JOBS ?= 3

# $(call apt,packages): install them, as root or by sudo. An update that fails (no network,
# one mirror down) is no reason not to try with the lists that are there. Debian starts what
# serves as soon as it is installed; coturn would relay for everybody.
define apt
if ! command -v apt-get >/dev/null; then \
  echo "please install: $(1)" >&2; exit 1; \
fi; \
sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
case "$(1)" in *coturn*) $$sudo systemctl mask coturn >/dev/null 2>&1 || true;; esac; \
$$sudo apt-get update -qq || true; \
$$sudo env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends $(1)
endef

.DEFAULT_GOAL := help
.PHONY: help setup run test lint check bench fuzz soak format docs lock clean tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.warm ## put the command at .venv/bin/live777py

run: setup ## serve
	@exec $(BIN)/live777py $(ARGS)

# All of them in two runs: in several processes at once, then one by one with the browser, which
# takes whatever processors there are. With arguments it is one run of one process.
PYTEST = $(BIN)/python -X dev -m pytest
MANY = --tx '$(JOBS)*popen//python=$(BIN)/python -X dev' --dist load --maxschedchunk 2

test: setup tools $(VENV)/.dev ## install what tests need, and run them
ifeq ($(strip $(ARGS)),)
	@status=0; set -x; \
	$(PYTEST) -m 'not browser' $(MANY) || status=1; \
	$(PYTEST) -m browser || status=1; \
	exit $$status
else
	$(PYTEST) $(ARGS)
endif

lint: $(VENV)/.dev ## check format, style, types and spelling
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/codespell

check: lint test ## all that CI runs

# A peer that runs on this machine beside ours: make bench PEER_PID=4711 PEER_NAME=theirs
# PEER_WHIP=http://127.0.0.1:8889/cam{n}/whip PEER_WHEP=http://127.0.0.1:8889/cam{n}/whep
PEER = $(if $(PEER_WHIP),--peer '$(or $(PEER_NAME),peer)' '$(PEER_PID)' '$(PEER_WHIP)' \
  '$(PEER_WHEP)' $(if $(PEER_TOKEN),'$(PEER_TOKEN)'))

bench: setup ## measure what forwarding costs on this machine
	$(BIN)/python -m bench $(PEER) $(ARGS)

# The second run has every index checked, and needs a compilation of its own.
fuzz: setup $(VENV)/.dev ## 25,000 odd requests, and a million malformed datagrams, twice
	$(BIN)/python -m tests.e2e.storms $(if $(filter --seed,$(firstword $(ARGS))),$(ARGS))
	$(BIN)/python -m tests.relay.fuzz $(ARGS)
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m tests.relay.fuzz $(ARGS)

soak: setup $(VENV)/.dev ## half an hour of coming and going: is everything given back?
	$(BIN)/python -m bench.soak $(ARGS)

format: $(VENV)/.dev ## format, and mend what can be mended
	$(BIN)/ruff check --fix-only $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

docs: setup ## write the pages and files that are made from the code
	$(BIN)/python docs/reference/configuration.py

# The locks hold versions and hashes for every Python and system that we support, and no
# address: who installs decides where from. `make lock ARGS=--upgrade` takes what is newest.
lock: $(VENV)/.created ## write the lock files anew from pyproject.toml
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install 'uv>=0.9'
	for set in 'runtime' 'dev --extra test --extra lint'; do \
	  UV_CUSTOM_COMPILE_COMMAND='make lock' $(VENV)/lock/bin/uv pip compile --quiet \
	    --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --strip-extras --no-annotate $(ARGS) \
	    pyproject.toml requirements/build.in --output-file requirements/$${set%% *}.txt \
	    $$(case $$set in *' '*) echo $${set#* };; esac) || exit 1; \
	done

clean: ## remove what was installed and made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

tools:
	@missing=; for tool in $(TEST_TOOLS); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${tool%%:*} >/dev/null \
	    || missing="$$missing $${tool#*:}"; \
	done; \
	if [ -n "$$missing" ]; then $(call apt,$$missing); fi

# Debian keeps what venv needs to put pip into an environment in a package of its own.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  $(call apt,$$package); \
	fi
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml $(VENV)/.created
	$(PIP) install --require-hashes --requirement requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

# Compiling the data plane takes half a minute and more; no first start should wait for that.
$(VENV)/.warm: $(VENV)/.runtime $(wildcard live777py/relay/*.py live777py/protocol/*.py)
	$(BIN)/python -m live777py.relay.warm
	@touch $@
