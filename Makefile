# `make demo` and `make test` need Python 3.11 or newer, a C++ compiler, make and Node.js; they set up .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs site benchmarks accuracy_table auto_table recovery_table clean

demo: $(READY)
	examples/demo.sh $(BIN)

test: $(READY)
	$(BIN)/pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ that follow from the source, and their pictures.
docs: $(READY)
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.pictures

# The pages as a site, in the folder site/. Needs no network, and nor does who reads it.
site: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q docs site
	@echo "open site/index.html"

# Figures beside their bars; one alone: .venv/bin/python -m benchmarks NAME
benchmarks: $(READY)
	$(BIN)/python -m benchmarks

# docs/accuracy_table.md: measures what is missing there; one network: ... -m benchmarks.accuracy_table --network NAME
accuracy_table: $(READY)
	$(BIN)/python -m benchmarks.accuracy_table

# docs/auto_table.md, likewise: some hours for all of it
auto_table: $(READY)
	$(BIN)/python -m benchmarks.auto_table

# docs/recovery_table.md, likewise
recovery_table: $(READY)
	$(BIN)/python -m benchmarks.recovery_table

$(READY): pyproject.toml tests/browser/package-lock.json
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps hls4ml==1.3.0  # only for its ap_int and ac_int headers
	npm ci --silent --prefix tests/browser  # a browser, for the tests of reports
	touch $@

clean:
	rm -rf $(VENV) demo build site
