# The commands of this repository. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON = .venv/bin/python

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv: pyproject.toml uv.lock
	@bash cluster/bootstrap.sh

demo: .venv ## a real cluster, a region, two device traces, nine closed months, invoices in demo-output/
	@$(PYTHON) -m fleetmeter_cluster.demo

demo-down: .venv ## remove everything that the demo made
	@$(PYTHON) -m fleetmeter_cluster down eu

local: .venv ## the same line as processes on loopback, without Kubernetes
	@$(PYTHON) -m fleetmeter_local demo

images: .venv ## build the container images
	@$(PYTHON) -m fleetmeter_cluster.images

check: .venv ## lint, types and unit tests, under a minute
	@bash tests/check.sh

test: .venv ## everything: check, integration on real engines, the story on a real cluster
	@bash tests/run.sh

faults: .venv ## a thousand random faults under load; FAULTS=n for fewer, SEED=n to see one again
	@$(PYTHON) -m tests.faults --faults $(or $(FAULTS),1000) $(if $(SEED),--seed $(SEED))

bench: .venv ## the write path beside its limits and the usual ways, in one table
	@$(PYTHON) -m tests.bench

bench-growth: .venv ## the write path when the index outgrows the cache; ROWS=n for fewer than 30 M
	@$(PYTHON) -m tests.bench.growth $(if $(ROWS),--rows $(ROWS))

bench-tenants: .venv ## how long one customer waits behind another's backlog; BACKLOG=n events
	@$(PYTHON) -m tests.bench.two_tenants $(if $(BACKLOG),--backlog $(BACKLOG))

.PHONY: help demo demo-down local images check test faults bench bench-growth bench-tenants
