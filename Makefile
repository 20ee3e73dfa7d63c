PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# How a command is run: in .venv or, with BIN=, by PYTHON itself.
RUN = $(if $(BIN),$(BIN)/python,$(PYTHON))

.PHONY: demo gpu test test-all test-lowest test-newest lint format docs clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Train on a synthetic set without and with context blocks, evaluate each, and compare.
demo: $(INSTALLED)
	rm -rf runs/demo
	$(BIN)/python -m data_prep.make_toy_dataset datasets/toy
	for net in plain nl gc; do \
	  $(BIN)/videoctx fit -c configs/experiment/demo_$$net.yaml && \
	  $(BIN)/videoctx test -c configs/experiment/demo_$$net.yaml \
	    --ckpt_path runs/demo/$$net/version_0/checkpoints/best.ckpt || exit 1; \
	done
	$(BIN)/videoctx results runs/demo

# Three processes keep two cores busy, as some tests wait. Each takes a file of tests at a time, so that what these share is
# made once.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile
# Small shapes: more threads of a process only wait for each other.
test test-all test-lowest test-newest: export OMP_NUM_THREADS ?= 1

# Everything that is quick, and the examples in the package's docstrings: some minutes on two cores.
test: $(INSTALLED)
	$(PYTEST) -m "not slow" --doctest-modules tests videoctx

# The rest, which is slow by nature.
test-all: $(INSTALLED)
	$(PYTEST) -m slow

# The oldest versions that pyproject.toml allows, in an environment of their own. Downloads several gigabytes at first.
LOWEST := .venv-lowest

$(LOWEST)/.installed: pyproject.toml .ci/constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --constraint .ci/constraints-lowest.txt --editable '.[test]'
	touch $@

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/pytest -n 2 --dist loadfile -m "not slow"

# Everything that needs a GPU: tests, networks, the data path, real runs. Each PART ends within nine minutes, and what is done is
# kept in build/gpu, so a call that was interrupted is repeated. Without a GPU every step is skipped by name.
# make gpu PART=tests|model|data|fit; without a virtual environment: make gpu PYTHON=python3 BIN=
PART ?=
gpu: $(if $(BIN),$(INSTALLED))
	$(RUN) -m videoctx bench gpu --folder build/gpu $(if $(PART),--part $(PART))

# The newest versions that pyproject.toml allows, without constraints.
NEWEST := .venv-newest

$(NEWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --upgrade --editable '.[test]'
	touch $@

test-newest: $(NEWEST)/.installed
	$(NEWEST)/bin/pytest -n 2 --dist loadfile -m "not slow"

# The API reference, build/docs/index.html.
docs: $(INSTALLED)
	$(BIN)/python .ci/api_reference.py build/docs

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-lowest .venv-newest build runs datasets
