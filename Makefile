# make demo, make test: each makes its own .venv first. Variables: PYTHON=python3.12 make test, TEST_WORKERS=8 make test,
# DEMO_MINUTES=30 make demo.
PYTHON ?= python3
VENV ?= .venv
TEST_WORKERS ?= 2
DEMO ?= runs/demo
DEMO_EPISODES ?= 800
DEMO_MINUTES ?= 8
DEMO_STEPS ?=

PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --quiet --no-compile --constraint requirements/constraints.txt
FOREACT = $(VENV)/bin/foreact
DEMO_LENGTH = $(if $(DEMO_STEPS),--steps $(DEMO_STEPS),--minutes $(DEMO_MINUTES))
RLA_STEPS = next(s["pieces"][0]["count"] for s in json.load(open("$(DEMO)/fit.json"))["plan"]["stages"] if s["kind"] == "rla")
INSTALLED = $(VENV)/.installed
DEVELOPED = $(VENV)/.developed

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help demo claims test test-all lint format install clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo: export FOREACT_CACHE = $(DEMO)/tokens
demo: $(INSTALLED) ## record Push-T, train everything with the tiny preset, evaluate, write an HTML report
	$(FOREACT) collect pusht --episodes $(DEMO_EPISODES) --max-steps 55 --seed 0 --image-size 96 --out $(DEMO)/data
	$(FOREACT) fit $(DEMO)/data --out $(DEMO) --name Push-T --preset tiny --image-size 96 --compare dino-wm $(DEMO_LENGTH)

claims: export FOREACT_CACHE = $(DEMO)/tokens
claims: $(DEMO)/results.json ## after the demo: the paper's three claims about z, measured and added to its report
	steps=$$($(VENV)/bin/python -c 'import json; print($(RLA_STEPS))'); for latent in 1x16 2x16 4x16 16x32; do \
	    $(FOREACT) train rla --data $(DEMO)/data --preset tiny --image-size 96 --steps $$steps --latent $$latent \
	        --out $(DEMO)/rla-$$latent || exit; done
	$(FOREACT) collect pusht --episodes 60 --seed 1 --image-size 96 --look unseen --out $(DEMO)/unseen
	$(FOREACT) claims $(DEMO)/rla $(DEMO)/rla-*x* --data $(DEMO)/data --unseen $(DEMO)/unseen --results $(DEMO)/results.json
	$(FOREACT) report $(DEMO)/results.json --out $(DEMO)/report.html

$(DEMO)/results.json:
	@echo "make demo comes first" >&2; exit 2

# Processes of one thread each, which share compiled modules: they and the processes that tests start import for seconds.
test test-all: export OMP_NUM_THREADS ?= 1
test test-all: export PYTHONPYCACHEPREFIX ?= $(CURDIR)/build/pycache
test test-all: export PYTHONDONTWRITEBYTECODE =
PYTEST = $(VENV)/bin/pytest -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder --junitxml build/tests.xml

test: lint ## linters, types and tests
	$(PYTEST)

test-all: lint ## the same with the tests that are slow and say little more
	$(PYTEST) -m "slow or not slow"

lint: $(DEVELOPED) ## linters and types only
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(DEVELOPED) ## put the code in order
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

install: $(DEVELOPED) ## the virtual environment alone

clean: ## remove the virtual environment, caches and the demo's results
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "foreact needs Python 3.10 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)

$(INSTALLED): $(VENV)/bin/pip pyproject.toml requirements/constraints.txt requirements/pusht.txt
	@echo "Installing pinned packages into $(VENV), a few minutes ..."
	$(PIP_INSTALL) setuptools
	$(PIP_INSTALL) --no-build-isolation --editable . --requirement requirements/pusht.txt
	$(PIP_INSTALL) --no-deps gym-pusht
	@touch $@

$(DEVELOPED): $(INSTALLED) packages/foreact-client/pyproject.toml
	$(PIP_INSTALL) --no-build-isolation --editable '.[dev]' --editable packages/foreact-client
	@touch $@
