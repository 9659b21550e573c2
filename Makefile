# Every target makes the virtual environment .venv, installs what it needs and runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECT := setup.cfg constraints.txt pyproject.toml
# Python compiles a module when it is imported first, and most of what pip installs never is.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint docs package release-check bench measurements mutants test-all clean

demo: $(VENV)/demo
	$(BIN)/python examples/demo.py
	$(BIN)/python examples/demo_training.py

test: $(VENV)/test
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p blockmat
	$(BIN)/python -m tests.readme_code > $(VENV)/readme_code.py
	$(BIN)/mypy --strict $(VENV)/readme_code.py

docs: $(VENV)/docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html
	@echo "open docs/_build/html/index.html"

# Builds an sdist and a wheel in dist/, checks their files and metadata, and uses the wheel in an empty environment.
package: $(VENV)/release
	$(BIN)/python -m tests.release --quick

# The same, and the wheel on every Python at hand and with every extra; PYTHONS="python3.12 ..." names the Pythons.
release-check: $(VENV)/release
	$(BIN)/python -m tests.release

bench: $(VENV)/bench
	$(BIN)/python -m bench

# Renews all measurements of the documentation: make measurements DATA=FOLDER, the folder of the real data.
measurements: $(VENV)/bench
	@test -d "$(DATA)" || { echo "run: make measurements DATA=FOLDER; 'python -m bench --help' lists its files"; exit 1; }
	$(BIN)/python -m bench --data "$(DATA)"
	$(BIN)/python -m bench train --renew --data "$(DATA)"
	$(BIN)/python -m bench --quick --save
	$(BIN)/python -m bench --write-docs

# Changes the numerical modules one by one, and fails where no test notices; ARGS="--sample 0" tries all.
mutants: $(VENV)/mutants
	$(BIN)/python tests/mutants/run.py $(ARGS)

# The suite on every supported Python, and with the oldest dependencies.
test-all: $(VENV)/dev
	$(BIN)/nox

# One stamp per extra, renewed when the project's requirements change.
$(VENV)/%: $(PROJECT) | $(BIN)/python
	$(INSTALL) --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "blockmat needs Python 3.11 or newer; set one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated docs/howto docs/gallery docs/sg_execution_times.rst blockmat-demo.png blockmat-training.png .pytest_cache .hypothesis .mypy_cache .ruff_cache examples/.ruff_cache .nox
