# Everything sets itself up in .venv; a second call is quick. Needs Python >= 3.10, git, make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
TORCH ?= torch==2.13.0
# versions of everything else: those that the tests run with, which other Pythons may not have
CONSTRAINTS ?= $(shell $(PYTHON) -c 'import sys; \
	print("constraints.txt" if sys.version_info[:2] == (3, 11) else "/dev/null")')
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
SUITE := -n 2 --dist loadfile --no-loadscope-reorder
UPSTREAM := .venv-openmmlab/bin/python

.PHONY: setup demo test test-openmmlab test-python lint docs bench soak gpu-report

setup: $(READY)

# torch goes first and pinned: a range would let pip swap it for another build
$(READY): setup.py Makefile constraints.txt
	@echo "Setting up .venv (about two minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(INSTALL) $(TORCH)
	@$(BIN)/python $(INSTALL) --constraint $(CONSTRAINTS) --editable '.[onedl,demo,dev]'
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true  # pip would take one core
	@touch $@

demo: $(READY)
	@$(BIN)/python tools/demo.py

test: $(READY)
	@$(BIN)/python -m pytest $(SUITE)

# The same on upstream OpenMMLab; the first time, mmcv's operators are compiled
test-openmmlab: .venv-openmmlab/.ready
	@$(UPSTREAM) -m pytest $(SUITE)

.venv-openmmlab/.ready: setup.py Makefile constraints.txt
	@$(PYTHON) -m venv .venv-openmmlab
	@$(UPSTREAM) $(INSTALL) $(TORCH) 'setuptools<81' wheel ninja
	@CFLAGS='-O0 -g0' $(UPSTREAM) $(INSTALL) --no-build-isolation --constraint $(CONSTRAINTS) \
		--editable '.[openmmlab,demo,dev]'
	@touch $@

# Quick tests of the wheel in a new environment: make test-python PYTHON=python3.12
test-python:
	@rm -rf work_dirs/python && $(PYTHON) -m venv work_dirs/python
	@work_dirs/python/bin/python $(INSTALL) $(TORCH)
	@work_dirs/python/bin/python -m pip wheel --quiet --no-deps --wheel-dir work_dirs/python .
	@work_dirs/python/bin/python $(INSTALL) pytest pytest-timeout pytest-xdist hypothesis \
		"$$(ls work_dirs/python/mmseg_u2pl*.whl)[onedl,demo]"
	@work_dirs/python/bin/pytest $(SUITE) tests/functional tests/models tests/datasets tests/configs

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy mmseg_u2pl tools tests

# A site in work_dirs/site
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(READY)
	@$(BIN)/python tools/benchmark.py --quick

# An hour: faults in trainings of every method, and thousands of random cases
soak: $(READY)
	@$(BIN)/python tests/soak.py
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -k fuzz --timeout 0

# Ten minutes on one GPU
gpu-report: $(READY)
	@$(BIN)/python tools/gpu_report.py
