# Everything sets itself up in .venv; a second call is quick. Needs Python >= 3.10, git, make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
TORCH ?= torch==2.13.0
# versions of everything else; another Python than 3.11 may need CONSTRAINTS=/dev/null
CONSTRAINTS ?= constraints.txt

.PHONY: setup demo test lint docs bench soak gpu-report

setup: $(READY)

# torch goes first and pinned: a range would let pip swap it for another build
$(READY): setup.py Makefile constraints.txt
	@echo "Setting up .venv (about two minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) \
		--editable '.[onedl,demo,dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python tools/demo.py

test: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

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
