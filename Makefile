# Two commands do everything on a bare machine: `make demo` and `make test`. Each sets up what it needs on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install demo test test-all lint types docs benchmarks clean

install: $(READY)
	@$(BIN)/crossaisle models pull

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

demo: install
	@$(BIN)/crossaisle demo

# Two workers, each with whole files, so that what a file shares is made once.
test: install lint types
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=1800 --durations=10 -n 2 --dist loadfile tests notebooks

test-all: install lint types
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=1800 --durations=10 -n 2 --dist loadfile tests notebooks -m ""

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: $(READY)
	@bash scripts/types.sh

# The documentation as a site in build/site, with strict links. First the pages and figures that are generated must be current.
docs: $(READY)
	@$(BIN)/python scripts/benchmark_tables.py --check
	@$(BIN)/python scripts/cli_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/site/index.html

# Hours of the machine, one after another; each writes benchmarks/results/*.json.
benchmarks: install
	for program in benchmarks/*.py; do $(BIN)/python $$program || exit 1; done

clean:
	rm -rf .venv demo-shop build *.egg-info
