# Every target that needs the packages installs them first, once for each lock.
# The newest that fits; a name may be there and not run, as those of pyenv.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3 python; do \
    $$name -c '' 2>/dev/null && command -v $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=
# requirements.hashed.lock: each package by its hash (docs/security.md). requirements.ray.lock: with Ray.
LOCK ?= requirements.lock

# `make repro DATA=penguins`: a data set of datasets/ instead of the one in the project's folder.
WORK := $(if $(DATA),datasets/$(DATA),.)
SRC := $(if $(DATA),../../src,src)

ifneq ($(if $(DATA),$(wildcard $(WORK)/params.yaml)),$(if $(DATA),$(WORK)/params.yaml))
$(error DATA must name a folder of datasets/ ($(notdir $(patsubst %/,%,$(wildcard datasets/*/)))); found $(DATA))
endif

# Stages run by DVC, pip and git hooks find the installed commands here.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install lock audit repro small metrics train sweep baselines runs remote push pull serve test test-all test-faults lint \
    format docs plots benchmark readme tensorboard clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv and install the locked packages and canopy

$(INSTALLED): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 14) else \
	"Python must be 3.11 to 3.14; got %d.%d as $(PYTHON): name another one, make PYTHON=/path/to/python3.13" % v[:2])'
	@test ! -L $(VENV) || { echo "$(VENV) must be a folder of this checkout; found a link, to which it would install \
	itself in place of the other checkout: remove the link" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) (about two minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $(LOCK)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check
	@touch $@

lock: $(INSTALLED) ## Pin again what pyproject.toml asks for (ARGS=--upgrade: newest versions)
	$(BIN)/pip-compile $(ARGS) --output-file requirements.lock pyproject.toml
	@# A local build (torch's "+cpu") exists only where it was found; the lock names the release.
	@sed -i.bak -E 's/^([A-Za-z0-9._-]+==[^+ ]+)\+[a-z0-9]+/\1/' requirements.lock && rm requirements.lock.bak
	@# The same versions and, for all systems at once, the libraries that torch of the package index needs.
	$(BIN)/uv pip compile --quiet $(ARGS) --universal --python-version 3.11 --generate-hashes --extra dev \
	    --constraint requirements.lock --annotation-style line --output-file requirements.hashed.lock pyproject.toml
	@# What Ray, some 80 MB that most can do without, needs next to these.
	@mkdir -p build
	$(BIN)/pip-compile $(ARGS) --extra ray --constraint requirements.lock --no-annotate --no-header --output-file build/ray pyproject.toml
	@{ echo "--requirement requirements.lock"; sed 's/ .*//' requirements.lock | grep -vxF -f - build/ray | grep '^[a-z][^+]*$$'; } \
	    > requirements.ray.lock

audit: $(INSTALLED) ## Look for known vulnerabilities of the locked packages
	@# Strict: a package that could not be looked up is a failure.
	@$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes --requirement requirements.hashed.lock $(ARGS)

repro: $(INSTALLED) ## Run the whole pipeline, from the raw table to the scored model (DATA=penguins: of that table)
	@# DVC reads no links in commits: a data set has its own copy of the pipeline.
	@$(if $(DATA),cmp -s dvc.yaml $(WORK)/dvc.yaml || cp dvc.yaml $(WORK)/dvc.yaml)
	@cd $(WORK) && dvc repro $(ARGS)
	@python src/summarize.py --reports $(WORK)/reports

small: $(INSTALLED) ## Run the whole pipeline on a small sample of the real table, and check what it leaves
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/test_pipeline.py

metrics: $(INSTALLED) ## Compare reports/headline.json with that of a commit, in Markdown: make metrics ARGS=HEAD~1
	@cd $(WORK) && dvc metrics diff --md $(if $(DATA),--targets reports/headline.json -- )$(or $(ARGS),HEAD)

train: $(INSTALLED) ## Train one run: make train ARGS="trainer.max_epochs=3 seed=1"
	cd $(WORK) && python $(SRC)/train.py $(ARGS)

sweep: $(INSTALLED) ## Resume a sweep: make sweep ARGS="sweep=mlp hydra.sweeper.n_trials=100"
	cd $(WORK) && python $(SRC)/train.py --multirun $(or $(ARGS),sweep=$(if $(DATA),tabm_mixed,mlp_periodic))

baselines: $(INSTALLED) ## Train boosted trees, a forest and more on the same rows (DATA=penguins: of that table)
	@cd $(WORK) && python $(SRC)/baselines.py models=all $(ARGS)

runs: $(INSTALLED) ## List the training runs: make runs ARGS="--sort -best"
	@cd $(WORK) && python $(SRC)/runs.py $(ARGS)

remote: $(INSTALLED) ## Say where the team's data is: make remote URL=ssh://host/folder (docs/sharing.md)
	@dvc remote add --force --default storage "$$URL"
	@# Otherwise DVC takes a damaged file of the remote for the data.
	@dvc remote modify storage verify true

push: $(INSTALLED) ## Bring data and models of this version to the team's remote (DATA=penguins: of that table)
	@cd $(WORK) && python $(SRC)/remote.py push dvc.yaml $(ARGS)

pull: $(INSTALLED) ## Bring data and models of this version from the team's remote (DATA=penguins: of that table)
	@cd $(WORK) && python $(SRC)/remote.py pull dvc.yaml $(ARGS)

serve: $(INSTALLED) ## Serve the pipeline's bundle: make serve ARGS="workers=2 port=9000"
	@cd $(WORK) && exec python $(SRC)/serve.py $(ARGS)

# Two processes side by side: with their own threads they would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

test: $(INSTALLED) ## Run the quick tests of everything, some five minutes
	$(PYTEST) -m "not long and not slow" $(ARGS)

test-all: $(INSTALLED) ## Run the slow tests too: whole pipelines, kills, sweeps
	$(PYTEST) -m "not long" $(ARGS)

test-faults: $(INSTALLED) ## Run the fault suite, the long tests too
	$(PYTEST) tests/faults $(ARGS)

lint: $(INSTALLED) ## Check format, style, imports, words and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet tests/test_rules.py -k words
	$(BIN)/mypy

format: $(INSTALLED) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## Build the documentation, build/docs/index.html; warnings are errors
	@# Material for MkDocs advertises its successor.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)

plots: $(INSTALLED) ## Draw the plots of docs/images/ from the reports and the pipeline's run; it needs Chromium
	$(BIN)/python docs/plots.py

# Each of them can also be run alone: python benchmarks/loading.py
BENCHMARKS := startup loading training peers preparation serving
BENCHMARK_OPTIONS := $(if $(QUICK),--quick --out logs/benchmarks/quick)

benchmark: repro ## Measure speed, peers, growth and start-up: reports/benchmark/ (QUICK=1: three minutes)
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py $(BENCHMARK_OPTIONS); done
	@$(BIN)/python benchmarks/page.py $(BENCHMARK_OPTIONS)

readme: $(INSTALLED) ## Write the results of reports/ into README.md and docs/
	$(BIN)/python src/summarize.py --readme
	cp reports/plots/confusion_matrix_test.png reports/plots/calibration_test.png docs/images

tensorboard: $(INSTALLED) ## Show all runs in the browser
	cd $(WORK) && tensorboard --logdir logs

clean: ## Remove what the tools left; data, models and logs stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache build
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
