# `make check` and `make test` need Python 3.11+ and make, nothing else; both do all the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip reads the pins from the environment, also in the build environments it makes itself.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
JOBS ?= 2

.PHONY: check test long lint bench docs page system format readme clean

check: $(VENV)/ready system
	$(BIN)/firsthand check --all --scale smoke --jobs $(JOBS) --out runs
	$(BIN)/firsthand report runs --out board
	@echo "the board: board/index.html"

test: $(VENV)/ready system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov --cov-branch --cov-report=json:coverage.json --cov-report=
	$(BIN)/python tests/contract/coverage_by_room.py coverage.json

long: $(VENV)/ready system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/ready
	-$(PYTHON) benchmarks/peers.py build
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The editor's page is built with npm from web/ into static/, which is committed: whoever installs needs no npm.
SPEQL := src/firsthand/query/speql
page:
	cd $(SPEQL)/web && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

# The README's table of systems and picture come from cards, records and the board.
readme: $(VENV)/ready
	$(BIN)/python docs/readme.py

# Debian's packages, where this user may install them; elsewhere it says what is missing and goes on.
system:
	@sh .ci/system.sh system-packages.txt

# One environment with everything, made again when what it is made from has changed.
$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[all,dev]'
	touch $@

clean:
	rm -rf board runs site .pytest_cache .hypothesis .mypy_cache .ruff_cache coverage.json
