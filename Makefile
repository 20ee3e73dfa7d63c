PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint format clean

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

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv runs datasets
