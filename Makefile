# Everything from a fresh clone: `make demo` and `make test` each do all of their own set-up.
# Needs Python 3.11 or later and a C++ compiler; both can be named: make PYTHON=python3.12 CXX=clang++ test

VENV ?= .venv
EXTRAS ?= all,dev
JOBS ?= 2
DEMO_OUTPUT ?= demo-output
PYTEST_ARGS ?=
FUZZ_ARGS ?=

PY = $(VENV)/bin/python
READY = $(VENV)/.ready
# Results depend on the number of BLAS threads in their last bits, and workers share the processors.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1

#: Larger forms of the tests of damage and of concurrency: 500 flipped bits, 8 writers that make 50 commits each. Each part
#: can be run by itself (make extended-faults); one that has passed is not run again in the same version of the sources.
EXTENDED = MLIPSTORE_FLIPS=500 MLIPSTORE_WRITERS=8 MLIPSTORE_COMMITS=50
PARTS = damage faults interleaving readers-folder readers-s3 writers-folder writers-s3 killed-folder killed-s3
PASSED := .extended/$(shell (git rev-parse HEAD; git diff HEAD) 2>/dev/null | git hash-object --stdin 2>/dev/null)

.PHONY: help demo test test-all extended $(PARTS:%=extended-%) extended-radosgw fuzz test-icechunk2 lint format docs setup clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       a training set becomes a potential that LAMMPS runs, explained step by step (2 minutes)'
	@echo 'make test       the test suite'
	@echo 'make test-all   the test suite on each of Python 3.11, 3.12, 3.13 that is here'
	@echo 'make extended   damage and concurrency at full size: 500 flipped bits, 8 writers with 50 commits each'
	@echo '                (half an hour; goes on where it ended; in parts: see CONTRIBUTING.md)'
	@echo 'make fuzz       a minute of damaged input for each reader, expressions, run files, cards'
	@echo 'make test-icechunk2  stores travel between Icechunk 1 and 2'
	@echo 'make lint       ruff and mypy'
	@echo 'make format     let ruff put the code into shape'
	@echo 'make docs       write the generated pages of docs/ again'
	@echo 'make clean      remove what these made'

demo: $(READY)
	@$(PY) examples/demo/demo.py --output '$(DEMO_OUTPUT)'

test: $(READY)
	$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-all:
	@found=; \
	for version in 3.11 3.12 3.13; do \
	    if python=$$(.ci/find-python $$version 2>/dev/null); then \
	        found="$$found $$version"; echo "== Python $$version ($$python)"; \
	        $(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON="$$python" || exit 1; \
	    else \
	        echo "== Python $$version: not on this machine, skipped"; \
	    fi; \
	done; \
	if [ -z "$$found" ]; then .ci/find-python; exit 1; fi; \
	echo "passed on Python$$found"

extended: $(PARTS:%=$(PASSED)/%)
$(PARTS:%=extended-%): extended-%: $(PASSED)/%

$(PASSED)/damage: CHOSEN = tests/sharing/test_verify.py tests/sharing/test_nginx.py
$(PASSED)/faults: CHOSEN = tests/sharing/test_faults.py
$(PASSED)/interleaving: CHOSEN = tests/sharing/test_interleaving.py
$(PASSED)/readers-%: CHOSEN = tests/sharing/test_readers.py -k $(lastword $(subst -, ,$(@F)))
$(PASSED)/writers-%: CHOSEN = tests/sharing/test_writers.py -k 'at_once and $(lastword $(subst -, ,$(@F)))'
$(PASSED)/killed-%: CHOSEN = tests/sharing/test_writers.py -k 'killed and $(lastword $(subst -, ,$(@F)))'
$(PARTS:%=$(PASSED)/%): | $(READY)
	$(EXTENDED) $(ONE_THREAD) $(PY) -m pytest $(CHOSEN) --durations=5 $(PYTEST_ARGS)
	@mkdir -p $(@D) && touch $@

#: Another S3 server that runs already: MLIPSTORE_S3 is its address, the credentials are those of the environment.
extended-radosgw: $(READY)
	@: $${MLIPSTORE_S3:?is the address of the server, such as http://127.0.0.1:8000, see docs/sharing.md} \
	   $${AWS_ACCESS_KEY_ID:?is not set} $${AWS_SECRET_ACCESS_KEY:?is not set}
	$(ONE_THREAD) $(PY) -m pytest tests/sharing/test_places.py tests/sharing/test_copies.py $(PYTEST_ARGS)
	$(EXTENDED) $(ONE_THREAD) $(PY) -m pytest tests/sharing/test_faults.py $(PYTEST_ARGS)
	$(EXTENDED) $(ONE_THREAD) $(PY) -m pytest tests/sharing/test_writers.py tests/sharing/test_readers.py -k s3 \
	    --durations=5 $(PYTEST_ARGS)

fuzz: $(READY)
	$(ONE_THREAD) $(PY) -m tests.fuzz $(FUZZ_ARGS)

test-icechunk2: $(READY)
	@.ci/icechunk2

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(READY)
	$(PY) docs/generate.py

setup: $(READY)

# Python sources are used where they are; compiled ones and the list of dependencies need an installation.
$(READY): pyproject.toml CMakeLists.txt .ci/set-up $(wildcard mlipstore/kernels/src/*)
	@.ci/set-up '$(VENV)' '$(EXTRAS)'
	@touch $@

clean:
	rm -rf .venv .venv-3.* .venv-icechunk2 build '$(DEMO_OUTPUT)' .pytest_cache .mypy_cache .ruff_cache .hypothesis .extended
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
