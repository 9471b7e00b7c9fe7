# Every target sets up what it needs: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread of BLAS a process: the pools of workers use the cores.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help env demo test lint format bench clean

help:
	@echo "make demo    quick dense phase diagram: results/dense_phase_diagram.h5 and .png"
	@echo "make test    the whole test suite"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  let ruff rewrite the code"
	@echo "make bench   speed ratios against NumPy, SciPy and the hardware"
	@echo "make clean   remove the environment and the caches"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'hebbian needs Python 3.11 or newer, this is ' + sys.version"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

env: $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m runs.dense_phase_diagram --preset quick --out results/dense_phase_diagram.h5 --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.glauber
	$(BIN)/python -m benchmarks.replica_symmetric
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.results_file
	$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
