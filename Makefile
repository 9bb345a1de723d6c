# Everything from a fresh machine: `make train`, `make test`. PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
BIN = .venv/bin
# A file's tests share what they make. The order is that of tests/conftest.py.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: setup train check test nightly lint unit docs dist lock

setup:
	@$(PYTHON) -I tools/setup_env.py

# Flags for the training: `make train ARGS=--check-expected`.
train: setup
	$(BIN)/python tools/train.py configs/retinanet_ghostnet_1.1x_mini.py $(ARGS)

# In a minute: style, types, and the tests that run no training, no export and no other process.
check: setup
	@$(MAKE) --no-print-directory -j2 lint unit

# In ten minutes: these, and what trains, exports or starts a process.
test: setup
	@$(MAKE) --no-print-directory lint
	$(PYTEST)

# Everything: all cases, more examples, documentation, benchmarks, installation from a package registry.
nightly: setup
	@$(MAKE) --no-print-directory lint
	GHOSTDET_NIGHTLY=1 $(PYTEST) -m ''

lint:
	$(BIN)/ruff check .
	$(BIN)/mypy

unit:
	$(PYTEST) tests/unit ghostdet

# The site of docs/, in site/. A broken link is an error. `pytest -m docs` runs the commands of its tutorials.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A wheel and an sdist, in dist/. Needs a package registry, and not the packages of `setup`.
dist:
	rm -rf dist
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python -m pip install -q --disable-pip-version-check build
	.venv-build/bin/python -m build -q .
	@ls dist/*

# Versions for constraints.txt, which keeps those that still fit. `make lock UPGRADE=--upgrade` takes the newest ones. Needs uv.
lock:
	uv pip compile -q --no-annotate --python-platform linux --python-version 3.11 --all-extras \
	  --custom-compile-command 'make lock' $(UPGRADE) setup.py -o constraints.txt
