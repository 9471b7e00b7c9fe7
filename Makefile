# Every target sets up what it needs: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread of BLAS a process: the pools of workers use the cores.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# The programs that speed is compared with need an environment of their own: two gigabytes.
BENCH_VENV ?= .venv-bench
BENCH := $(BENCH_VENV)/bin/python
BENCH_STAMP := $(BENCH_VENV)/.installed
MEASURED := results/benchmarks.json
# neural-tangents needs an old JAX, and TensorFlow: two gigabytes more.
KERNELS_STAMP := .venv-kernels/.installed

.PHONY: help env demo test lint format bench bench-quick bench-compare clean

help:
	@echo "make demo    quick dense phase diagram: results/dense_phase_diagram.h5 and .png"
	@echo "make test    the whole test suite"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  let ruff rewrite the code"
	@echo "make bench   speed ratios against NumPy, PyTorch, public samplers and the hardware: a quarter of an hour and more"
	@echo "make bench-quick    the most important of them: two or three minutes"
	@echo "make bench-compare  what the last of these runs found slower than the run stored before it"
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

$(BENCH_STAMP): pyproject.toml benchmarks/constraints.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH) -m pip install --quiet --disable-pip-version-check -c benchmarks/constraints.txt -e ".[bench]"
	@touch $(BENCH_STAMP)

$(KERNELS_STAMP): benchmarks/kernels-constraints.txt
	$(PYTHON) -m venv .venv-kernels
	.venv-kernels/bin/python -m pip install --quiet --disable-pip-version-check -c benchmarks/kernels-constraints.txt \
		neural-tangents jax jaxlib tf2jax
	@touch $(KERNELS_STAMP)

bench: $(BENCH_STAMP) $(KERNELS_STAMP)
	@mkdir -p results
	$(BENCH) -m pytest -c benchmarks/pytest.ini benchmarks --benchmark-quiet --benchmark-json=$(MEASURED)
	$(BENCH) -m benchmarks.table $(MEASURED) --keep
	$(BENCH) -m benchmarks.replica_symmetric
	$(BENCH) -m benchmarks.sweep
	$(BENCH) -m benchmarks.results_file
	$(BENCH) -m benchmarks.gpu

bench-quick: $(BENCH_STAMP)
	@mkdir -p results
	$(BENCH) -m pytest -c benchmarks/pytest.ini benchmarks --quick --benchmark-quiet --benchmark-json=$(MEASURED)
	$(BENCH) -m benchmarks.table $(MEASURED)

bench-compare: $(BENCH_STAMP)
	$(BENCH) -m benchmarks.table $(MEASURED) --compare

clean:
	rm -rf $(VENV) $(BENCH_VENV) .venv-kernels .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
