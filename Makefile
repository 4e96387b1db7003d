# The commands of the README. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-spark lint bench faults clean docs
python := .venv/bin/python

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: ## Install what is missing: system packages, .venv, the lab's Asterisk
	@.ci/setup

demo: setup ## Run the example campaign: real calls on this machine, reports in var/demo
	@.ci/demo

test: setup ## Run the whole test suite; ARGS="-k name" for a part
ifdef ARGS
	@$(python) -m pytest $(ARGS)
else
	@$(python) -m pytest -m "not lab and not spark and not long" -n 3 --dist loadfile
	@$(python) -m pytest -m "lab and not alone and not long" -n 3 --dist loadfile
	@$(python) -m pytest -m "alone and not long"
endif

test-long: setup ## Run what takes minutes: deaths of collector, ETL and PostgreSQL, a slice of the faults
	@$(python) -m pytest -m "long and not alone" -n 2 --dist loadfile $(ARGS)
	@$(python) -m pytest -m "long and alone" $(ARGS)

test-spark: ## Run all tests of the transforms on Spark's local-cluster (needs Java 17)
	@.ci/setup spark
	@$(python) -m pytest -m spark $(ARGS)

lint: setup ## Check style and types
	@.venv/bin/ruff check --quiet . && .venv/bin/ruff format --quiet --check . && .venv/bin/mypy

bench: setup ## Measure against a ceiling of the same run; NAME=ivr_full for one; ARGS="--seconds 5" to try one out
	@$(python) -m bench $(NAME) $(ARGS)

faults: setup ## Break everything while real calls run, judge by the carrier; MINUTES=5 SEED=7
	@$(python) -m faults --minutes $(or $(MINUTES),5) --seed $(or $(SEED),7)

clean: ## End every lab of this clone and remove what was built, but not the cache
	@for lab in var/lab/*/; do [ ! -d "$$lab" ] || .venv/bin/dialer lab down --name "$$(basename "$$lab")" || exit 1; done
	@rm -rf .venv var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

docs: setup ## Write docs/cli.md anew from the help texts
	@$(python) -m tests.support.cli_reference > docs/cli.md && $(python) -m tests.support.report_reference > docs/report-columns.md
