# Everything a developer does, from a fresh clone on. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
READY := .venv/.ready
PROJECTS := constraints.txt pyproject.toml $(wildcard proto/pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml)
BENCH_READY := .bench-venv/.ready
PACKAGES := manta_proto manta_common manta_gcs manta_raylet manta_object_manager ray

.PHONY: help setup test check sim soak stress lint demo bench constraints lowest proto clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv with every part installed, editable

$(READY): $(PROJECTS) tools/setup.sh
	@tools/setup.sh
	@touch $(READY)

test: $(READY) ## run all tests, with a real etcd and Redis, and print the time of each suite
	@tools/etcd.sh
	@tools/redis.sh
	@tools/prometheus.sh
	@$(PYTHON) tools/run_tests.py

soak: $(READY) ## the long counts of the tests that have them
	@tools/etcd.sh
	@tools/redis.sh
	@tools/prometheus.sh
	@$(PYTHON) tools/run_tests.py --soak

stress: $(READY) ## every suite five times, beside busy loops and with processes paused at random (ARGS=: rounds, seed, suites)
	@tools/etcd.sh
	@$(PYTHON) tools/stress.py $(ARGS)

check: lint ## the loop between edits, under a minute: lint, and the unit tests that changed files touch (ARGS=: for pytest)
	@$(PYTHON) tools/check.py $(ARGS)

sim: $(READY) ## the long simulations: 10,000 fault schedules, 2,000 nodes; a failure names its seed
	@$(PYTHON) -m tests.sim.placement --count 10000
	@$(PYTHON) tools/run_tests.py --soak sim
	@$(PYTHON) -m tests.sim.measure
	@$(PYTHON) benchmarks/scheduling.py

lint: $(READY) ## ruff over everything, mypy --strict over our packages
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy --strict $(addprefix -p ,$(PACKAGES))

demo: $(READY) ## a real job on a local cluster: a census of the standard library
	@$(PYTHON) examples/stdlib_census.py

bench: $(READY) $(BENCH_READY) ## compare with upstream's wheel, side by side (ARGS=--quick: a first look)
	@$(PYTHON) benchmarks/compare.py $(or $(ARGS),--page docs/performance.md)

$(BENCH_READY): Makefile
	@$(PYTHON) -m venv --without-pip .bench-venv
	@.venv/bin/uv pip install --quiet --python .bench-venv/bin/python 'ray==2.60.0' numpy matplotlib
	@touch $(BENCH_READY)

constraints: $(READY) ## renew constraints.txt, the exact versions that `make setup` installs
	@tools/constraints.sh

lowest: $(READY) ## run the unit tests on the lowest versions that the parts allow (ARGS=: for pytest)
	@tools/lowest.sh $(ARGS)

proto: $(READY) ## generate the message classes from the .proto files
	@PYTHON=$(CURDIR)/$(PYTHON) proto/generate.sh
	@git status --short proto

clean: ## remove .venv, caches and builds
	rm -rf .venv .bench-venv .lowest-venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
