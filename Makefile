# The words of this project. `make demo` and `make test` are all that a fresh clone needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTHONS ?= $(PYTHON)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
BENCH  := $(VENV)/.installed-bench
SITE   := $(VENV)/.installed-site
# a process for each core, up to eight: more would wait for the longest module; a module's tests stay
# in one process, as they share what they made; what is compiled is kept, as each of hundreds of
# processes would compile it anew where the environment says not to
TESTS  := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
          --dist loadscope --no-loadscope-reorder

.PHONY: help demo test test-all test-fast campaign check bench bench-gpu dist test-lowest docs site picture clean

help:             ## these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)    ## train a small ZFNet on rendered scenes and look inside it: runs/demo/index.html
	$(BIN)/convscope demo --out runs/demo

test: $(DEV)      ## the test suite, without the longest tests
	$(TESTS) -m "not long"

test-all: $(DEV)  ## all tests, also those that take the longest, with ten times the random examples
	CONVSCOPE_EXAMPLES=200 $(TESTS)

test-fast: $(DEV) ## the tests that take less than about ten seconds each
	$(TESTS) -m "not slow and not long"

campaign: $(DEV)  ## attacks on the program, thousands of each kind, from seeds; takes hours
	$(BIN)/python tests/campaign/run.py $(ROWS)

check: $(DEV)     ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH)   ## the benchmarks, against their peers in the same run; takes hours
	@for name in renormalise training projection mining atlas occlusion live explore; do \
	  $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-gpu: $(BENCH) ## check everything on a GPU and time it against Captum there, in under five minutes
	$(BIN)/python benchmarks/gpu.py

dist: $(DEV)      ## build sdist and wheel into dist/, and try the wheel in empty environments of PYTHONS
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tests/package/check_wheel.py dist/*.whl -c constraints.txt \
	  $(PYTHONS:%=--python %)
	$(BIN)/python tests/package/check_wheel.py dist/*.whl -c constraints.txt --extras explore --no-demo

test-lowest:      ## the suite with the lowest versions allowed, in .venv-lowest (a large download)
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -c tests/package/lowest.txt -e '.[dev,zoo,tensorboard,explore]'
	.venv-lowest/bin/python -m pytest -n auto --dist loadscope -o filterwarnings=default \
	  --ignore tests/test_golden.py --ignore tests/cli/test_docs.py  # what the pinned versions wrote

docs: $(DEV)      ## write docs/cli.md anew from --help
	$(BIN)/python docs/reference.py

site: $(SITE)     ## the documentation as pages: site/index.html, by double-click or any web server
	$(BIN)/python docs/site.py

picture: demo     ## write the README's picture anew from the demo
	$(BIN)/python docs/picture.py runs/demo

clean:            ## remove what these words made
	rm -rf $(VENV) .venv-lowest runs build dist site src/*.egg-info

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "convscope needs Python 3.11 or newer, found $$($(PYTHON) -V): make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(VENV)
	$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)
	$(PIP) -e '.[dev,zoo,tensorboard,explore]'
	@touch $@ $(STAMP)

$(SITE): $(STAMP)
	$(PIP) -e '.[docs]'
	@touch $@

$(BENCH): $(DEV)
	$(PIP) -e '.[bench]'
	@touch $@
