# Two commands do everything: `make train` and `make test`. Each makes .venv the first time and
# installs again only when something that is installed has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := pyproject.toml setup.py constraints.txt \
  $(shell find csrc fastwgan -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.md' \
    -o -name '*.css' -o -name '*.js' \))

.PHONY: train test wheel ahead nightly matrix mutation lint bench readme-table sanitize sanitize-cuda clean

train: $(VENV)/.train
	$(BIN)/fastwgan train

# A process for each core, files of tests whole: `pytest` alone runs the same one after another.
test: $(VENV)/.test
	$(BIN)/pytest -n auto --dist loadfile

wheel: $(VENV)/.test
	$(BIN)/pytest -m "wheel and not nightly"

ahead: $(VENV)/.test
	$(BIN)/pytest -m ahead

nightly: $(VENV)/.test
	$(BIN)/pytest -m nightly
	$(BIN)/pytest -m "nightly and wheel"
	$(BIN)/python -m tests.triton_table
	$(BIN)/python -m tests.numerics.tables

# MATRIX='--torch-wheels FOLDER' takes torch from there alone; MATRIX='--python-bin FOLDER' adds Pythons.
matrix: $(VENV)/.test
	$(BIN)/python scripts/matrix.py $(MATRIX)

# Hours: a compilation and the tests that must notice it for each of the mistakes.
mutation: $(VENV)/.test
	PYTHONPATH=$(CURDIR) FASTWGAN_CUDA=0 $(BIN)/python -m tests.mutation

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh' \
	  'tests/*.cpp' 'tests/*.h' 'tests/*.cu')

bench: $(VENV)/.test
	@mkdir -p .benchmarks
	$(BIN)/pytest benchmarks/ --benchmark-only --benchmark-json=.benchmarks/last.json

readme-table: bench
	$(BIN)/python -m benchmarks.readme_table

sanitize: $(VENV)/.test
	$(BIN)/pytest -m sanitized
	PYTHON=$(abspath $(BIN)/python) bash scripts/sanitize.sh

sanitize-cuda: $(VENV)/.test
	PYTHON=$(abspath $(BIN)/python) bash scripts/sanitize_cuda.sh

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/.train: $(INSTALLED)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt '.[train]'
	@touch $@

$(VENV)/.test: $(INSTALLED)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt '.[test]'
	@touch $(VENV)/.train $@
