# Two commands do everything on a fresh machine with Python 3.11 or newer, make and a package index:
#   make demo   the main job, on embedded real servers
#   make test   lint, types, import floors and all tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

# Hundreds of processes are started, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test unit check format docs simulate model chaos prove-sessions soak performance clean
.PHONY: bench bench-windows bench-memory bench-meanwhile bench-pods bench-storage bench-questions bench-mission bench-sessions bench-archive bench-erasure

demo: $(VENV)/.demo
	$(BIN)/streamproc demo $(ARGS)

# Most tests wait: for windows to close, for processes to start. Four at once keep two cores at work.
test: check
	$(PYTEST) tests -n 4 --dist loadfile --no-loadscope-reorder

unit: $(VENV)/.test
	$(PYTEST) tests/unit tests/property -n 2 -q -p no:cacheprovider

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pages that are generated from the code; a test compares them.
docs: $(VENV)/.test
	$(BIN)/python -m tests.docs.generate

# Proofs beyond the tests: a seed reproduces a failure, `make simulate SEED=42`, `make model COUNT=100000`, `make chaos SEED=7 SECONDS=600`.
SEED ?= 1
COUNT ?= 1
SECONDS ?= 600
MINUTES ?= 10

simulate: $(VENV)/.test
	$(BIN)/python -m tests.simulation $(SEED) $(COUNT)

model: $(VENV)/.test
	$(BIN)/python -m tests.model $(SEED) $(COUNT)

chaos: $(VENV)/.test
	$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(SECONDS) $(ARGS)

# Old session documents migrate, and their totals are the sum of their hours: 100,000 of them, `ARGS="--sessions 1000"` fewer.
prove-sessions: $(VENV)/.test
	$(BIN)/python -m tests.sessions $(ARGS)

soak: $(VENV)/.test
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

# How fast, how large: `make bench ARGS="--runs 3 --sessions 50"`; each says what it takes with ARGS=--help.
bench: $(VENV)/.test
	$(BIN)/python -m tests.bench.counting $(ARGS)

bench-windows: $(VENV)/.test
	$(BIN)/python -m tests.bench.windows $(ARGS)

bench-memory: $(VENV)/.test
	$(BIN)/python -m tests.bench.memory $(ARGS)

bench-meanwhile: $(VENV)/.test
	$(BIN)/python -m tests.bench.meanwhile $(ARGS)

bench-pods: $(VENV)/.test
	$(BIN)/python -m tests.bench.pods $(ARGS)

# All of these but the questions, written into docs/performance.md: some ten minutes, on a machine that does nothing else.
performance: $(VENV)/.test
	$(BIN)/python -m tests.bench.page $(ARGS)

bench-storage: $(VENV)/.test
	$(BIN)/python -m tests.bench.storage $(ARGS)

bench-questions: $(VENV)/.test
	$(BIN)/python -m tests.bench.questions $(ARGS)

bench-sessions: $(VENV)/.test
	cd tests && ../$(BIN)/python -m bench.sessions $(ARGS)

bench-archive: $(VENV)/.test
	$(BIN)/python -m tests.bench.archive $(or $(ARGS),life)

bench-erasure: $(VENV)/.test
	$(BIN)/python -m tests.bench.erasing $(ARGS)

bench-mission: $(VENV)/.test
	$(BIN)/python -m tests.bench.mission $(ARGS)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "streamproc needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[embedded]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
