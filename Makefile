# Everything a contributor or CI does. Each target makes what it needs; nothing is installed outside of this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
PORTAL := control_plane/portal
PIN := ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links
PIN_WINDOWS := ../../$(BIN)/uv pip compile --quiet --python-platform x86_64-pc-windows-msvc --python-version 3.11 --only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links
PIN_IMAGE := ../../../$(BIN)/uv pip compile --quiet --python-platform x86_64-manylinux_2_28 --python-version 3.11 --only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links
N ?= 50000
SEEDS ?= 2000
CASES ?= 20000
BECAUSE ?=
TIMES ?= 3
FARM ?=
DEMO_FARM := .mt5farm/demo/control
TO ?= .mt5farm/backups/$(shell date -u +%Y%m%dT%H%M%SZ)
# Files of tests side by side; most of them wait for processes of their own. One after another: JOBS=0.
JOBS ?= 3
FARM_EXTRAS := --extra simulated --extra agent --extra control --extra distributed --extra portal-build

# IMAGE=--make-base where no image registry can be reached.
IMAGE ?=
IMAGE_WHERE_POSSIBLE = if docker version >/dev/null 2>&1 && command -v x86_64-w64-mingw32-gcc >/dev/null; then $(MAKE) --no-print-directory image; fi

.DEFAULT_GOAL := help
.PHONY: help setup portal demo test test-fast orders-test reconcile-test statistics-test bench-deal-lag lint types format openapi lock wine clean conformance golden bench-replay bench-bridge bench-engine conformance-runtimes image bench-node bench-relocation rotate-keys-test audit-test simulate simulate-mutants chaos authz backup restore-drill settings api-baseline fuzz-api bench-placement bench-reports load orders-once bench-orders live-equals-backtest bench-backtest sandbox-test

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-21s %s\n", $$1, $$2}'

$(SETUP): requirements/dev.txt requirements/installer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(SETUP) ## Make the Python environment with everything that development needs

portal: $(SETUP) ## Build the web portal (only when its sources changed)
	@$(BIN)/python $(PORTAL)/build.py

demo: setup portal ## Run the whole farm on this machine with a simulated broker
	@$(BIN)/mt5farm demo $(DEMO)

test: setup portal ## Run all tests
	@if command -v wineserver >/dev/null && command -v x86_64-w64-mingw32-gcc >/dev/null; then $(MAKE) --no-print-directory wine; fi
	@$(IMAGE_WHERE_POSSIBLE)
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --no-loadscope-reorder $(TESTS)
	@$(BIN)/python $(PORTAL)/build.py test

test-fast: setup ## Run the unit tests only
	@$(BIN)/python -m pytest tests/unit

orders-test: setup ## Send 50,000 orders through a faulty link (N=50000) and compare with the broker's book
	@$(BIN)/python -m tests.orders.run --orders $(N)

reconcile-test: setup ## Compare 10,000 trade logs with their brokers' books, with planted differences, and count
	@$(BIN)/python -m tests.reconciliation.run $(RECONCILE)

statistics-test: setup ## Check the statistics of 1,000 generated histories against a naive calculation
	@$(BIN)/python -m tests.statistics.run $(STATISTICS)

bench-deal-lag: setup ## Measure how long a deal takes from the broker into the log and a browser
	@$(BIN)/python -m tests.benchmarks.deal_lag $(BENCH)

orders-once: setup ## Send N=200000 orders over REST through faults, and count what is doubled or lost (ONCE="--seed 7")
	@$(BIN)/python -m tests.orders.once --orders $(if $(filter command line,$(origin N)),$(N),200000) $(ONCE)

rotate-keys-test: setup ## Replace all keys of 100,000 credentials while others read and write them
	@$(BIN)/python -m tests.vault.rotate $(ROTATE)

audit-test: setup ## Tamper 10,000 times with the trail of deeds, and count how often that is found
	@$(BIN)/python -m tests.audit.run $(AUDIT)

simulate: setup ## Play SEEDS=2000 farms through storms of faults in virtual time, or one with its trace: SEED=17
	@$(BIN)/python -m tests.simulation.run $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

simulate-mutants: setup ## Plant known bugs in the farm's code and count how many the simulation catches
	@$(BIN)/python -m tests.simulation.mutants.run $(MUTANTS)

authz: setup ## Try every route in every role with one's own things and with others', on both databases
	@$(BIN)/python -m tests.authz.run

fuzz-api: setup ## Ask the REST API CASES=20000 things, right and wrong, by its own contract (SEED=1 repeats)
	@$(BIN)/python -m tests.fuzz_api.run --cases $(CASES) $(if $(SEED),--seed $(SEED))

sandbox-test: setup ## Try to break out of a bot's sandbox in every known way, and show what became of each
	@$(BIN)/python -m tests.sandbox.run

conformance: setup ## Count what of the official API and its behaviour is proven
	@$(BIN)/python -m tests.conformance.report

conformance-runtimes: setup ## Run every runtime through the contract's cases, real containers included, and count
	@$(IMAGE_WHERE_POSSIBLE)
	@$(BIN)/python -m tests.conformance.runtimes.report

image: setup ## Build the image of real terminals in containers (Docker, Wine, the official package)
	@$(BIN)/python -m provisioning.wine.image --cache .cache/wine $(IMAGE)

golden: setup ## Measure the market's bars and ticks against a real terminal's
	@$(BIN)/python -m tests.conformance.golden

bench-replay: setup ## Measure the memory and time of long replays against their goal
	@$(BIN)/python tests/benchmarks/replay_memory.py

bench-bridge: setup ## Measure the bridge beside raw TCP and other ways, each row against its goal
	@$(BIN)/python -m tests.benchmarks.bridge $(BENCH)

bench-engine: setup ## Measure ticks a second through the simulated engine beside another simulator's
	@$(BIN)/python -m tests.benchmarks.engine $(BENCH)

bench-node: setup ## Measure how fast a node mends itself and what its agent costs, each against its goal
	@$(BIN)/python -m tests.benchmarks.node $(BENCH)

bench-relocation: setup ## Measure how long a terminal is nowhere once its node has fenced it
	@$(BIN)/python -m tests.benchmarks.relocation $(BENCH)

bench-orders: setup ## Measure orders over REST beside the same through mt5linux's protocol, in rounds that take turns
	@$(BIN)/python -m tests.benchmarks.orders $(BENCH)

bench-reports: setup ## Measure what the reports of nodes cost the control plane once they have come
	@$(BIN)/python -m tests.benchmarks.reports $(BENCH)

bench-placement: setup ## Place 10,000 terminals on 1,000 nodes by 8 control planes at once, on both databases, and count
	@$(BIN)/python -m tests.benchmarks.placement $(BENCH)

live-equals-backtest: setup ## Run each built-in strategy live and as a backtest over the same ticks, and compare deals
	@$(BIN)/python -m tests.live_equals_backtest.run $(LIVE)

bench-backtest: setup ## Measure bars and ticks a second of a backtest beside other backtesters, same strategy and bars
	@$(BIN)/python -m tests.benchmarks.backtest $(BENCH)

backup: setup ## Save the farm in FARM=folder (the demo unless said) into TO=new folder
	@if [ -z "$(FARM)" ] && [ ! -d $(DEMO_FARM) ]; then echo "No demo has run here yet; FARM=folder saves another farm."; \
		else mkdir -p $(dir $(TO)) && $(BIN)/mt5farm backup --data $(or $(FARM),$(DEMO_FARM)) --to $(TO); fi

restore-drill: setup ## Save a farm while it is written to, restore it elsewhere, compare every row (SQLite, Postgres)
	@$(BIN)/python -m tests.restore_drill.run $(DRILL)

load: setup ## Put 2,500 nodes with 50,000 terminals on one control plane for 15 minutes (LOAD="--nodes 500")
	@$(BIN)/python -m tests.load.run $(LOAD)

chaos: setup ## Kill, stop and cut off real processes, and compare the books in the end (TIMES=3)
	@$(BIN)/python -m tests.chaos.run --times $(TIMES)

lint: setup portal ## Check style, import directions and that generated files are current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mt5farm openapi | diff -q - $(PORTAL)/openapi.json >/dev/null || { echo "$(PORTAL)/openapi.json is stale: run make openapi"; exit 1; }
	@$(BIN)/python $(PORTAL)/build.py generate:check
	@$(BIN)/python -m tests.contract.run

types: setup portal ## Check types, strictly
	@$(BIN)/mypy
	@$(BIN)/mypy --platform win32 --no-warn-unreachable node_agent/windows node_agent/runtimes/windows_process.py node_agent/layout.py
	@$(BIN)/python $(PORTAL)/build.py typecheck

format: setup ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

openapi: setup ## Write the OpenAPI description and the portal's client from it
	@$(BIN)/mt5farm openapi > $(PORTAL)/openapi.json
	@$(BIN)/python $(PORTAL)/build.py generate

api-baseline: setup ## Make the present contract the one that clients rely on (BECAUSE='...' if it breaks them)
	@$(BIN)/python -m tests.contract.run --move --because "$(BECAUSE)"

settings: setup ## Write docs/settings.md from the settings themselves
	@$(BIN)/mt5farm settings > docs/settings.md

lock: setup ## Pin all dependencies anew
	@cd requirements && $(PIN) --output-file installer.txt installer.in
	@cd requirements && $(PIN) --extra dev --output-file dev.txt ../pyproject.toml
	@cd requirements && $(PIN) $(FARM_EXTRAS) --output-file farm.txt ../pyproject.toml
	@cd provisioning/wine && $(PIN_WINDOWS) --output-file requirements.txt requirements.in
	@cd provisioning/wine && $(PIN_WINDOWS) --output-file agent_requirements.txt agent_requirements.in
	@cd provisioning/wine/image && $(PIN_IMAGE) --output-file requirements.txt requirements.in

wine: setup ## Make a Wine prefix and a Windows Python with the official package in .cache/wine
	@$(BIN)/python -m provisioning.wine --into .cache/wine --agent

clean: ## Remove what the targets made, but not the demo's data
	rm -rf $(VENV) .cache $(PORTAL)/dist $(PORTAL)/node_modules .mypy_cache .ruff_cache .pytest_cache
