# The commands of the course. Written for GNU make 3.81 and later; every path is relative, so the folder may have spaces.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab test check course release grade clean _kit _kit_test

PYTHON ?= python3
VENV := .venv/bin
WORKERS ?= 2
ARGS ?=
COVERED := $(if $(wildcard instructor),--cov-fail-under=85)
NO_PYTHON = echo "There is no $(PYTHON) here: install Python 3.11, 3.12 or 3.13." >&2; exit 1
INSTALL = command -v "$(PYTHON)" >/dev/null || { $(NO_PYTHON); }; "$(PYTHON)" -I course_utils/classroom/install.py

# What a cluster's modules put here would shadow the packages of .venv.
unexport PYTHONPATH PYTHONHOME

help: ## This list
	@awk -F ' *## ' '/^[a-z]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-8s %s\n", $$1, $$2 }' Makefile \
		| grep -Ev '$(if $(wildcard instructor),^$$,make (release|grade) )'
	@echo
	@echo "  PYTHON=python3.12   which Python makes .venv (3.11 to 3.13; the default is python3)"
	@echo "  ARGS='--port 9000'  further options for JupyterLab (lab), pytest (test) or the run (course)"
	@echo "  COURSE_SCALE=laptop smoke, laptop or gpu, where the choice by hardware does not suit you"

lab: _kit ## Install the kit, copy the notebooks to my/, open JupyterLab on the first one
	@$(VENV)/python -m course_utils.classroom.lab $(ARGS)

test: check ## Install what it needs, prove the repository (see check), run the whole test suite
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) --dist loadfile \
		--cov --cov-report=term:skip-covered $(COVERED) $(ARGS)

check: _kit_test ## Style, types, import directions, and the proofs about the notebooks
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/python -m course_utils build --check --run

course: _kit ## Execute every notebook at this machine's scale; copies and an index in results/local/
	@$(VENV)/python -m course_utils course $(ARGS)

release: _kit ## Pack what students get into build/: no solutions, no hidden checks, proved
	@$(VENV)/python -m course_utils build --release

grade: _kit_test ## Grade the folders and archives in SUBMISSIONS into GRADES
	@test -n "$(SUBMISSIONS)" -a -n "$(GRADES)" || { echo "Say which: make grade SUBMISSIONS=dir GRADES=dir" >&2; exit 2; }
	@$(VENV)/python -m course_utils grade "$(SUBMISSIONS)" -o "$(GRADES)" $(ARGS)

clean: ## Remove .venv, builds and caches; my/, data/ and results/ stay
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .coverage.*
	find course_utils instructor notebooks tests -name __pycache__ -prune -exec rm -rf {} +

_kit:
	@$(INSTALL)

_kit_test:
	@$(INSTALL) --test
