# make demo   set up .venv/, run the classic experiment, say where the report is
# make test   set up .venv/, run the whole test suite
# make check  lint, types, import direction, docs
#
# PYTHON=python3.12       another Python (3.11 or newer)
# TORCH_INDEX=ADDRESS     take torch from another package index, such as the one with the small CPU builds

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BASE := $(VENV)/.base
READY := $(VENV)/.ready

.PHONY: demo test check lint types imports docs bare examples clean

demo: $(BASE)
	$(BIN)/shrinkwise demo

test: $(READY)
	$(BIN)/python -m pytest

check: lint types imports docs

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# The regularization wing in an environment that has torch and numpy and nothing else.
bare: $(READY)
	@rm -rf build/bare
	@$(PYTHON) -m venv build/bare
	@build/bare/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt .
	build/bare/bin/python examples/decay_the_right_weights.py
	build/bare/bin/shrinkwise demo; test $$? = 2

examples: $(READY)
	@for example in examples/*.py; do echo "$$example"; $(BIN)/python "$$example" || exit 1; done

# What the demo needs; tests and checks need more, among it the frameworks that they are held against.
$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Shrinkwise needs Python 3.11 or newer, and $(PYTHON) is older. Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv. Install it, such as with: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifneq ($(TORCH_INDEX),)
	@$(PIP) --index-url $(TORCH_INDEX) torch
endif
	@$(PIP) --editable '.[experiments]'
	@touch $(BASE)

$(READY): $(BASE)
	@echo "Adding what tests and checks need (once; a few minutes)"
	@$(PIP) --editable '.[experiments,evidence,dev,docs,frameworks]'
# curvlinops brings torchvision without using it, and the one on PyPI cannot be imported beside a CPU torch: transformers then fails too.
	@$(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $(READY)

clean:
	rm -rf $(VENV) docs/_build
