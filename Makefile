# `make` alone explains itself.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DOCS := .venv-docs
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
# The tools call nobody
export DO_NOT_TRACK = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true
export DVC_NO_ANALYTICS = 1
export BENTOML_DO_NOT_TRACK = True
export GX_ANALYTICS_ENABLED = false
export HF_HUB_DISABLE_TELEMETRY = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

# On all cores, a folder at a time so that what its tests share is made once; slow tests share little: a file at a time
PYTEST := pytest -n auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help install lock audit proto sbom run test test-all lint format docs manifests up down serve promote package clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

install: $(VENV)/.installed ## create .venv with the pinned versions

# An environment knows its own path: after a move or in a copy it is made anew, never borrowed from the original
ifneq ($(shell cat $(VENV)/.installed 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.installed
endif

$(VENV)/.installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "ferops needs Python 3.11, 3.12 or 3.13; none was found. Name one: make install PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing into $(VENV) with $(PYTHON) (about 7 GB, most of it PyTorch; some minutes) ..."
	@test "$$(cat $@ 2>/dev/null)" = '$(CURDIR)' || rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@# Every file that is run has a hash: setuptools comes first, so that pip fetches none of its own to build what has no wheel
	@$(PIP) --require-hashes --no-deps --requirement <(sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock)
	@$(PIP) --require-hashes --no-deps --no-build-isolation --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check
	@echo '$(CURDIR)' > $@

lock: ## pin anew what pyproject.toml asks for, with hashes: make lock [UPGRADE=--upgrade]
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-annotate \
		--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE) --output-file docs/requirements.lock docs/requirements.in

proto: install ## make service/ferops_pb2.py anew of ferops.proto
	python -m grpc_tools.protoc -I service --python_out=service --pyi_out=service service/ferops.proto

audit: install ## ask whether a known vulnerability concerns a pinned package (needs a network)
	@python .ci/audit.py

sbom: install ## write sbom.json: all packages and weights with versions, hashes and licences (CycloneDX)
	@python .ci/sbom.py sbom.json

run: install ## pull the data, reproduce the pipeline, say what came out
	@ferops run

test: install ## lint, type-check and test
	ruff check .
	ruff format --check .
	mypy
	$(PYTEST)

test-all: install ## every test but the soaks, the slow ones and those on real data too
	$(PYTEST) --dist loadfile -m 'not soak'

lint: install ## lint and type-check only
	ruff check . && ruff format --check . && mypy

format: install ## rewrite the code in the house style
	ruff check --fix . && ruff format .

$(DOCS)/.installed: docs/requirements.lock
	@test -n "$(PYTHON)" || { echo "The site needs Python 3.11, 3.12 or 3.13; none was found. Name one: make docs PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv --clear $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

docs: $(DOCS)/.installed ## build the documentation in site/, to be read without a network
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet && echo "Open site/index.html in a browser"

manifests: ## write deploy/kubernetes/service.yaml from the Helm chart
	helm template ferops deploy/helm/ferops-service > deploy/kubernetes/service.yaml

up: install ## start Prefect, its worker and MLflow on this machine
	@ferops up

down: install ## stop them
	@ferops down

promote: install ## move the alias champion: make promote VERSION=1
	@test -n "$(VERSION)" || { echo "which version? make promote VERSION=1"; exit 1; }
	@ferops promote $(VERSION)

package: install ## build the champion's Bento
	@ferops package

serve: install ## serve the champion, or the starter model until there is one
	@ferops serve

clean: ## remove what the pipeline made (not the data, not the registry)
	rm -rf artifacts reports .ferops/checkpoints
