# Every target sets up what it needs: `make demo` and `make test` work in a fresh checkout.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?= runs/demo

# the best of 8 rates from 0.004 to 0.1 for each network, at the size and the steps of the demo, with another seed
DEMO_RATES := --learning-rate lstm=0.063 layer-norm-lstm=0.04 rhn=0.01 hyper-lstm=0.025

.PHONY: demo test test-long test-lowest test-newest test-page screenshots faults fuzz sanitize kernels-wheel lint lint-imports format bench study-tables docs clean help

help:
	@echo "make demo         train LSTM, layer-norm LSTM, RHN and HyperLSTM on Shakespeare, compare them, sample text (under 5 minutes)"
	@echo "make test         run the tests"
	@echo "make test-long    run the tests that compile for half a minute or more, too"
	@echo "make test-lowest  run the tests with the lowest supported versions, in .venv-lowest"
	@echo "make test-newest  run the tests with the newest versions, in .venv-newest"
	@echo "make test-page    test the server's page with axe-core from npm (apt-get install chromium firefox-esr npm)"
	@echo "make screenshots  screenshots of the page and the report into docs/images, from the runs of make demo"
	@echo "make faults       kill runs at every call of a save, cut their power, fill their disk; all must resume to the same result (20 minutes)"
	@echo "make fuzz         ten thousand damaged files and random command lines: each works or is refused in one line"
	@echo "make sanitize     run the tests of the native kernels under AddressSanitizer and UndefinedBehaviorSanitizer (10 to 15 minutes)"
	@echo "make kernels-wheel  build the wheel of prebuilt kernels into dist (Linux x86-64, 2 to 5 minutes)"
	@echo "make lint         ruff, pyright, the types of all public symbols, import-linter"
	@echo "make format       format the sources with ruff"
	@echo "make docs         build the documentation into docs/_build"
	@echo "make bench        compare speed and memory with torch.nn.LSTM, labml_nn and a jax scan (about 8 minutes), into benchmarks/results"
	@echo "make study-tables write the tables of the studies in benchmarks/results/studies into docs/results.md"
	@echo "make clean        remove the virtual environments and caches (runs/ stays)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hypernetworks needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=python3.x ..." >&2; exit 1; }
	@echo "installing into $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plot,study,tensorboard,serve,hub,dev,docs]'
	@touch $@

demo: $(READY)
	@if [ -f $(DEMO)/compare.json ]; then rm -rf $(DEMO); fi  # a finished demo starts again, an interrupted one is resumed
	@$(BIN)/hypernetworks doctor
	@$(BIN)/hypernetworks text compare --preset demo --seeds 0 1 $(DEMO_RATES) --out $(DEMO) --resume

test: $(READY)
	@$(BIN)/python -m pytest -n 2

test-long: $(READY)
	@HYPERNETWORKS_LONG=1 $(BIN)/python -m pytest -n 2

test-lowest: constraints-lowest.txt
	@$(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[plot,study,tensorboard,serve,hub,dev,docs]'
	@.venv-lowest/bin/python -m pytest -n 2

test-newest:
	@$(PYTHON) -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[plot,study,tensorboard,serve,hub,dev,docs]'
	@.venv-newest/bin/python -m pytest -n 2

test-page: $(READY)
	@npm install --no-save --silent axe-core@4.14.1
	@$(BIN)/python -m pytest -rs tests/serve/test_page*.py tests/serve/test_firefox.py

screenshots: $(READY)
	@[ -f $(DEMO)/compare.json ] || $(MAKE) demo
	@$(BIN)/python docs/screenshots.py $(DEMO)/hyper-lstm-seed0 $(DEMO)/layer-norm-lstm-seed0

faults: $(READY)
	@HYPERNETWORKS_LONG=1 $(BIN)/python -m pytest -s -p no:randomly tests/faults

fuzz: $(READY)
	@HYPERNETWORKS_LONG=1 $(BIN)/python -m pytest -n 2 -p no:randomly tests/test_fuzz.py

# Only the kernels are instrumented. Python is not, so the sanitizers' runtime is loaded before it; the compiler runs without.
SANITIZED := HYPERNETWORKS_CXXFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1" \
	XDG_CACHE_HOME="$(abspath $(VENV))/sanitized"
RUNTIME := LD_PRELOAD="$$($${CXX:-g++} -print-file-name=libasan.so) $$($${CXX:-g++} -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0
KERNEL_TESTS := $(addprefix tests/recurrent/native/test_,parity.py one_step.py op.py determinism.py unusual.py)

sanitize: $(READY)
	@$(SANITIZED) $(BIN)/python -c 'from hypernetworks.recurrent.native.kernels import ensure; ensure()'
	@$(SANITIZED) $(RUNTIME) $(BIN)/python -m pytest -p no:randomly -k "not compile and not export" $(KERNEL_TESTS)

kernels-wheel: $(READY)
	@$(BIN)/python kernels/build_wheel.py dist

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes hypernetworks --ignoreexternal > $(VENV)/types.txt \
		|| { grep -v '^   hypernetworks' $(VENV)/types.txt; exit 1; }  # every public symbol has a known type
	@$(BIN)/lint-imports

lint-imports: $(READY)
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(READY)
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

bench: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps labml-nn==0.5.1
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt jax
	@$(BIN)/hypernetworks bench --sizes small labml ptb --networks hyper-lstm layer-norm-lstm lstm rhn \
		--quantities training generation memory --json benchmarks/results/cpu.json --plot benchmarks/results/cpu.svg

study-tables: $(READY)
	@$(BIN)/python docs/study_tables.py

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest .pytest_cache .ruff_cache .hypothesis .import_linter_cache docs/_build docs/api
