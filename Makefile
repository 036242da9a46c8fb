# make demo, make test: each makes its own .venv first. Variables: PYTHON=python3.12 make test, DEMO_STEPS=1200 make demo.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= runs/demo
DEMO_EPISODES ?= 800
DEMO_STEPS ?= 450

PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --quiet --no-compile --constraint requirements/constraints.txt
FOREACT = $(VENV)/bin/foreact
DEMO_TRAIN = $(FOREACT) train --data $(DEMO)/data --preset tiny --image-size 96
INSTALLED = $(VENV)/.installed
DEVELOPED = $(VENV)/.developed

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help demo claims test lint format install clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo: export FOREACT_CACHE = $(DEMO)/tokens
demo: $(INSTALLED) ## record Push-T, train everything with the tiny preset, evaluate, write an HTML report
	$(FOREACT) collect pusht --episodes $(DEMO_EPISODES) --max-steps 55 --seed 0 --image-size 96 --out $(DEMO)/data
	$(DEMO_TRAIN) rla --steps $(DEMO_STEPS) --out $(DEMO)/rla
	$(DEMO_TRAIN) rla-wm --steps $(DEMO_STEPS) --out $(DEMO)/rla-wm
	$(DEMO_TRAIN) image-decoder --out $(DEMO)/image-decoder
	$(DEMO_TRAIN) dino-wm --steps $(DEMO_STEPS) --out $(DEMO)/dino-wm
	$(FOREACT) evaluate $(DEMO)/rla-wm $(DEMO)/dino-wm --data $(DEMO)/data --starts 3 --out $(DEMO)/results.json
	$(FOREACT) report $(DEMO)/results.json --out $(DEMO)/report.html

claims: export FOREACT_CACHE = $(DEMO)/tokens
claims: $(DEMO)/results.json ## after the demo: the paper's three claims about z, measured and added to its report
	for latent in 1x16 2x16 4x16 16x32; do $(DEMO_TRAIN) rla --steps $(DEMO_STEPS) --latent $$latent --out $(DEMO)/rla-$$latent || exit; done
	$(FOREACT) collect pusht --episodes 60 --seed 1 --image-size 96 --look unseen --out $(DEMO)/unseen
	$(FOREACT) claims $(DEMO)/rla $(DEMO)/rla-*x* --data $(DEMO)/data --unseen $(DEMO)/unseen --results $(DEMO)/results.json
	$(FOREACT) report $(DEMO)/results.json --out $(DEMO)/report.html

$(DEMO)/results.json:
	@echo "make demo comes first" >&2; exit 2

test: export OMP_NUM_THREADS ?= 2
test: lint ## linters, types and all tests
	$(VENV)/bin/pytest --junitxml build/tests.xml

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

$(DEVELOPED): $(INSTALLED)
	$(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@
