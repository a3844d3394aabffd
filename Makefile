PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where nothing may leave bytecode behind, as in most containers, every command would compile thousands of
# modules again: the installation imports all that this program does, and leaves the bytecode of that.
unexport PYTHONDONTWRITEBYTECODE
# --no-compile: half of pip's time would go into bytecode of modules that are never imported.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
WARM := $(BIN)/python -m dysonjax.cli.bytecode

.PHONY: demo test test-matrix matrix-clang validate lint format bench bench-check device-prepare device-check docs clean

demo: $(VENV)/.installed  ## draw the quick phase diagram into runs/demo
	$(BIN)/dysonjax phase-diagram --preset quick --out runs/demo --overwrite

test: $(VENV)/.tested  ## run the test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# What can differ: Python, the newest releases of everything instead of those of constraints.txt, the compiler.
# Pythons and compilers that are not there are named. One of them: `make matrix-python3.13`, `make matrix-clang`.
MATRIX := python3.12 python3.13 clang
MATRIX_C := tests/compile $(patsubst %,tests/ensemble/test_%.py,lanes whole targets identity semantics)
MATRIX_PYTHON := tests/compile tests/ensemble \
  $(patsubst %,tests/models/test_%.py,products teacher_student linear flax_model spiked_teacher nanogpt corpus) \
  $(patsubst %,tests/cli/test_%.py,main wrong_inputs phase_diagram dyson spectrum environment resume_command)
test-matrix:  ## the portable part of the suite on other Pythons with the newest JAX, and with clang
	$(MAKE) --keep-going $(MATRIX:%=matrix-%)

matrix-python%:
	@if ! python$* --version > /dev/null 2>&1; then echo "test-matrix: no python$* runs here, left out"; else \
	  { test -x .venv-python$*/bin/python || python$* -m venv .venv-python$*; } && \
	  .venv-python$*/bin/python -m pip install --quiet --no-compile --upgrade -e '.[test]' && \
	  .venv-python$*/bin/python -m dysonjax.cli --version && \
	  .venv-python$*/bin/python -m pytest -n 2 --dist worksteal $(MATRIX_PYTHON) $(ARGS); fi

matrix-clang: $(VENV)/.tested
	@if ! clang --version > /dev/null 2>&1; then echo "test-matrix: no clang runs here, left out"; else \
	  clang --version | head -1 && \
	  CC=clang $(BIN)/python -m pytest -n 2 --dist worksteal $(MATRIX_C) $(ARGS); fi

validate: $(VENV)/.tested  ## statistical validations that need minutes, and how long each took
	$(BIN)/python -m pytest -n 2 -m slow --durations=0 --durations-min=1 $(ARGS)

lint: $(VENV)/.linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.linted
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## throughput of this machine beside the baselines
	for name in teacher-student rbm linear nanogpt dyson samplers statistics; do $(BIN)/dysonjax bench $$name || exit 1; done

bench-check: $(VENV)/.installed  ## has a speed ratio fallen by over 20 % against the committed ones?
	$(BIN)/python benchmarks/check.py

device-prepare: $(VENV)/.tested  ## what `device-check` needs, into one folder to carry to the machine with the GPU
	$(BIN)/python benchmarks/device/prepare.py $(ARGS)

device-check:  ## on the machine with the GPU: numbers and rates; STAND_IN=1: the same calls on a CPU
	sh benchmarks/device/check.sh $(STAND_IN) -- $(ARGS)

docs: $(VENV)/.documented  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e .
	$(WARM)
	touch $@

$(VENV)/.tested: $(VENV)/.made pyproject.toml constraints.txt  # one call of pip, not two
	$(PIP) -e '.[test,docs]'
	$(WARM)
	touch $(VENV)/.installed $@

$(VENV)/.linted: $(VENV)/.installed
	$(PIP) -e '.[lint]'
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-python* .pytest_cache .ruff_cache .mypy_cache .jax_cache
