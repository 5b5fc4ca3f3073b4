# make demo   - install what a device needs plus plots and a host, then show everything on a shipped recording
# make test   - install everything, then lint and test
# make faults - the fault list (docs/faults.md): power cuts, forgeries, odd signals, full disks; within 15 minutes
# make arm    - both engines on emulated 64-bit Arm (docs/arm.md); needs system packages, not part of test
# The first two make their own environment in .venv from any Python >= 3.11; nothing else is needed.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINNED := pyproject.toml weights/pyproject.toml constraints.txt
EXECUTORCH := $(shell sed -n 's/^executorch==//p' constraints.txt)
# two workers with one numerical thread each: more threads than cores make the suite slower
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint format faults arm clean

demo: $(VENV)/.ready-demo
	$(BIN)/physioedge demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready-test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

faults: $(VENV)/.ready-test
	$(BIN)/physioedge faults --short --workers 2 --out results

arm: $(VENV)/.ready-test
	PYTHONPATH=tools $(BIN)/python -m arm_check --out results/arm.json

clean:
	rm -rf $(VENV) demo-report build dist weights/dist

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv"; exit 1; }

# ./weights is what the extras ask for, so that no index is asked for it
$(VENV)/.ready-demo: $(PINNED) | $(VENV)/pyvenv.cfg
	$(PIP) install -q -c constraints.txt -e ./weights -e '.[view,host]'
	@$(BIN)/physioedge engines build --if-possible --fetch $(EXECUTORCH) || echo "The demo uses onnxruntime alone."
	@touch $@

# executorch and torch are most of this: about 2 GB and a minute or two
$(VENV)/.ready-test: $(PINNED) | $(VENV)/pyvenv.cfg
	$(PIP) install -q -c constraints.txt -e ./weights -e '.[train,export,executorch,sources,host,view,completion,ray,fleet,docs,dev]'
	$(BIN)/physioedge engines build --if-possible
	@touch $(VENV)/.ready-demo $@
