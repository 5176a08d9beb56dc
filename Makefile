# Needs Python >= 3.11, make and git; everything else is installed into .venv.
# Another interpreter: make PYTHON=python3.12 book

PYTHON ?= python3
BIN := .venv/bin
STAMPS := _build/stamps
INSTALLED := .venv/installed

FACES := $(wildcard data/rendered/*.zip data/rendered/*.csv data/rendered/*.parquet data/pretrained/*)

# What a run of the book is made from: its faces as they lie there, and the rooms of the library that
# training comes from (tests/test_architecture.py holds them against the imports).
CONFIG := configs/rendered_cpu.yaml
MADE_FROM := runtime data augmentation backbones networks.py methods config.py evaluation training
TRAINING := $(CONFIG) constraints.txt $(FACES) \
	$(shell find $(MADE_FROM:%=face2exp_lib/%) -name '*.py')
METHODS := meta supervised
# Of the terminal, for a bar each.
LINE_meta := 0
LINE_supervised := 1
# As many image passes as Meta-Face2Exp takes, 2,600 x 160 = 13,000 x 32, and validated as often: a run of
# results/compare_main/.
SETTINGS_supervised := --set training.num_steps=13000 --set training.eval_every_steps=1625
EVALUATED := $(METHODS:%=$(STAMPS)/%.evaluated)

# What a chapter may read when it is executed, and what else the pages are built from.
CHAPTER_SOURCES := constraints.txt $(FACES) \
	$(shell find face2exp_lib -name '*.py' -o -name '*.npz') \
	$(wildcard configs/*.yaml results/*/*)
NOTEBOOKS := $(wildcard book/*.ipynb)
PAGES := _config.yml _toc.yml $(wildcard book/*.py) $(wildcard book/*.md) book/references.bib book/lectures.yaml book/overview.svg $(NOTEBOOKS)

# Kernels keep their history and connection files here instead of in the home folder, and read no
# settings and no other kernels from there.
export IPYTHONDIR := $(CURDIR)/.venv/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/.venv/jupyter/config
export JUPYTER_DATA_DIR := $(CURDIR)/.venv/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.venv/jupyter/runtime

stage = @printf '\n== %s\n' "$(1)"
done = @mkdir -p $(@D) && touch $@

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif
.PHONY: help book trained html pdf notebooks test test-full lint pins clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) \
		| awk -F ':.*## ' '{ printf "make %-10s %s\n", $$1, $$2 }'

book: trained ## train, evaluate, execute the chapters: _build/html/index.html
	@$(MAKE) --no-print-directory $(EVALUATED)
	@$(MAKE) --no-print-directory html
	@echo "The book: $(CURDIR)/_build/html/index.html"

# Each of the two computes with one thread, see compute.threads. -j without a number: with one, make 4.3
# can overlook that a slot is free and train the second only after the first.
trained: $(INSTALLED)
	@$(MAKE) --no-print-directory -j SIDE_BY_SIDE=1 $(METHODS:%=$(STAMPS)/%.trained)

notebooks: $(INSTALLED) ## rewrite and execute the notebooks from their texts (CHAPTERS=book/x.md)
	$(BIN)/python -m book.tools.execute $(CHAPTERS)

html: _build/html/index.html ## the book alone, without training first

pdf: $(STAMPS)/notebooks-stale ## the book as one PDF: _build/book.pdf (needs Chromium)
	$(BIN)/jupyter-book build . --all -n -W --keep-going --builder singlehtml
	$(BIN)/python -m book.tools.print _build/singlehtml _build/book.pdf

test: lint ## lint, types, tests, notebooks, strict book build, pages in a browser
	$(call stage,tests)
	$(BIN)/pytest $(PYTEST_FLAGS) --ignore=tests/book
	$(call stage,notebooks against their stored outputs)
	$(BIN)/pytest --nbval --nbval-current-env $(NOTEBOOKS)
	$(call stage,strict book build)
	@$(MAKE) --no-print-directory html
	$(call stage,book pages)
	$(BIN)/pytest $(PYTEST_FLAGS) tests/book

test-full: PYTEST_FLAGS = -m ''
test-full: test ## the same with the tests that take minutes

lint: $(INSTALLED) ## ruff and mypy, notebooks too
	$(call stage,lint)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(call stage,types)
	$(BIN)/mypy

pins: ## resolve the ranges of pyproject.toml anew and rewrite constraints.txt (Python 3.11)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "constraints.txt is made with Python 3.11: make PYTHON=python3.11 pins" >&2; exit 1; }
	rm -rf _build/pins
	$(PYTHON) -m venv _build/pins
	_build/pins/bin/pip install '.[book,dev,explain,export,landmarks,ray,render,tensorboard]'
	{ grep '^#' constraints.txt; _build/pins/bin/pip freeze --all --exclude pip \
		--exclude face2exp-lib; } > _build/constraints.txt
	mv _build/constraints.txt constraints.txt
	rm -rf _build/pins

clean: ## remove runs, book and caches; .venv stays
	rm -rf _build .mypy_cache .pytest_cache .ruff_cache

# hatchling first: with it in place the package is built with the pinned versions, not in an
# environment of its own that takes the newest.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "face2exp needs Python >= 3.11, and '$(PYTHON)' is not one." \
		"Name one that is: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt hatchling editables
	$(BIN)/pip install -c constraints.txt --no-build-isolation -e '.[book,dev,explain,export,landmarks,ray,render,tensorboard]'
	$(done)

# A run is begun anew when something it was trained from has changed. One that was only
# interrupted has a `begun` that still holds, and resumes.
$(METHODS:%=$(STAMPS)/%.begun): $(STAMPS)/%.begun: $(TRAINING) | $(INSTALLED)
	rm -rf _build/runs/$*
	$(done)

$(METHODS:%=$(STAMPS)/%.trained): $(STAMPS)/%.trained: $(STAMPS)/%.begun
	TQDM_POSITION=$(LINE_$*) $(BIN)/face2exp train $(CONFIG) --set method=$* $(SETTINGS_$*) \
		--run-dir _build/runs/$* --resume
	$(done)

$(EVALUATED): $(STAMPS)/%.evaluated: $(STAMPS)/%.trained
	$(BIN)/face2exp evaluate _build/runs/$* --split test
	$(done)

# Executed notebooks are cached by their own text alone: another library, another result makes
# every one of them stale. Results as files, not as stamps: a stale run is no reason to train here.
RESULTS := $(wildcard _build/runs/*/evaluation-*.json)
$(STAMPS)/notebooks-stale: $(CHAPTER_SOURCES) $(RESULTS) | $(INSTALLED)
	rm -rf _build/.jupyter_cache
	$(done)

# --all: an incremental build would keep quiet about the warnings of pages it does not read again.
_build/html/index.html: $(STAMPS)/notebooks-stale $(PAGES)
	$(BIN)/jupyter-book build . --all -n -W --keep-going
	$(done)
