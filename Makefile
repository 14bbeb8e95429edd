# The two commands of the README: `make demo` and `make test`. Both work on a bare machine
# that has Python, make and a package index. `make demo` installs all that the README's first page
# then uses.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# One pip for every machine: older ones know no dependency groups.
PIP := $(RUN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint fuzz fuzz-smoke audit proto clean

# How long `make fuzz` tries inputs.
SECONDS ?= 600

demo: $(VENV)/.demo
	@$(RUN)/python examples/demo.py

test: $(VENV)/.test
	$(RUN)/python -m pytest -n auto

lint: $(VENV)/.test
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

# Known faults in what is installed here; asks the package index, so not part of the tests.
audit: $(VENV)/.test
	$(PIP) install pip-audit
	$(RUN)/pip-audit --skip-editable

# See docs/fuzzing.md.
fuzz: $(VENV)/.test
	OMP_NUM_THREADS=1 $(RUN)/python -W ignore -m fuzz run --seconds $(SECONDS)

fuzz-smoke: $(VENV)/.test
	OMP_NUM_THREADS=1 $(RUN)/python -W ignore -m fuzz smoke

proto: $(VENV)/.test
	$(PIP) install "grpcio-tools==1.62.3"
	$(RUN)/python src/caffe/proto/generate.py

$(VENV)/.torch: constraints.txt
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch into $(VENV) (once; this takes a few minutes) ..."
	$(PIP) install --constraint constraints.txt torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable ".[demo,draw,faces,vis,web]"
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable ".[all,test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info
