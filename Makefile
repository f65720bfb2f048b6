# Two commands need no reading: `make demo` and `make test`. Each sets up what it needs.
.DELETE_ON_ERROR:
.PHONY: setup setup-locked lock audit device-tools android-check android-vectors targets demo check test test-slow test-targets acceptance chaos soak default-bundle wheel clean

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := export,train,prepare,teachers,quantize,provenance,dev
OUT ?= out
WORKERS ?= auto
TARGET_TESTS := $(wildcard tests/test_targets_*.py) tests/test_bisect_faults.py tests/test_web_page.py \
	tests/test_report_chromium.py
TORCH := $(shell grep '^torch==' constraints.txt)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: want Python 3.11 or newer, found none; install python3.11 and python3.11-venv, or set PYTHON=" >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

# as setup, and every file's digest is compared; docs/decisions/0010-lock.md
setup-locked:
	@test -n "$(PYTHON)" || { echo "error: want Python 3.11 or newer, found none; install python3.11 and python3.11-venv, or set PYTHON=" >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# after constraints.txt has changed; wants uv
lock:
	head -1 requirements.lock > requirements.new
	grep -v '^torch==' constraints.txt | uv pip compile --quiet --no-deps --generate-hashes --no-annotate --no-header \
		--universal --python-version 3.11 - >> requirements.new
	mv requirements.new requirements.lock

# known faults of the locked versions; wants pip-audit, and its index within reach
audit:
	pip-audit --requirement requirements.lock --require-hashes --no-deps --disable-pip

# what tests of devices use and skip without; as root, on Debian
device-tools:
	apt-get update -q
	apt-get install -q -y --no-install-recommends adb openssh-server openssh-client proot cmake make gcc \
		gcc-aarch64-linux-gnu libc6-dev-arm64-cross

# emulated ARM CPUs, the browser and tflite-runtime, into the user's cache unless they are there; no root
targets: $(STAMP)
	$(BIN)/pocketportrait targets install all --missing

# every test of targets, none of which may be skipped; wants device-tools
test-targets: targets
	$(BIN)/pytest -n $(WORKERS) -m "not apple and not device" --no-skips $(TARGET_TESTS)

demo: $(STAMP)
	$(BIN)/pocketportrait demo --out $(OUT)/demo

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy acceptance benchmarks
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow and not apple and not device"

test-slow: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "slow and not apple and not device"

# compiles the Android demo, runs its tests, and plants faults; wants a JDK, npm, adb and apt-get (fetches about 400 MB once)
android-check: $(STAMP)
	$(BIN)/python -m android_demo.check $(if $(FULL),--full)
	$(BIN)/pytest -q -n0 tests/test_targets_adb_app.py $(if $(FULL),tests/test_targets_adb_arm64.py)

# after the Python side of what JUnit compares with has changed
android-vectors: $(STAMP)
	$(BIN)/python -m android_demo.check.golden_vectors

# needs ../shared/data, ../shared/score and ../shared/teachers, and what device-tools installs; the scorer
# runs in an environment of its own
acceptance: targets
	$(BIN)/python acceptance/score_environment.py
	@status=0; \
	$(MAKE) test-targets || status=1; \
	$(BIN)/python acceptance/self_reenactment.py --out $(OUT)/acceptance || status=1; \
	$(BIN)/python acceptance/evaluate_agreement.py --scored $(OUT)/acceptance --out $(OUT)/agreement || status=1; \
	$(BIN)/python acceptance/convincing.py --scored $(OUT)/acceptance --out $(OUT)/convincing || status=1; \
	$(BIN)/python acceptance/slices.py --bundle $(OUT)/acceptance/bundle --out $(OUT)/slices || status=1; \
	$(BIN)/python acceptance/teachers.py || status=1; \
	$(BIN)/python acceptance/quantization.py --out $(OUT)/quantization || status=1; \
	$(BIN)/python acceptance/quantization_search.py --bundle $(OUT)/quantization/bundle --out $(OUT)/quantization-search || status=1; \
	$(BIN)/python acceptance/matrix.py --out $(OUT)/matrix || status=1; \
	$(BIN)/python acceptance/matrix.py --out $(OUT)/matrix-phone --bundle $(OUT)/quantization/bundle || status=1; \
	$(BIN)/pocketportrait gates $(OUT)/quantization/bundle -f onnx -f tflite --data ../shared/data --frames 60 \
		--score-models ../shared/score --score-python $$($(BIN)/python acceptance/score_environment.py) -o $(OUT)/gates || status=1; \
	$(BIN)/pocketportrait bench $(OUT)/quantization/bundle --end-to-end --json $(OUT)/bench.json --report $(OUT)/bench.html || status=1; \
	$(BIN)/python acceptance/fuzz.py --keep $(OUT)/fuzz || status=1; \
	$(BIN)/pytest -n $(WORKERS) tests/test_atomic.py || status=1; \
	$(BIN)/python acceptance/chaos.py --work $(OUT)/chaos || status=1; \
	exit $$status

# hours: every command killed a hundred times
chaos: $(STAMP)
	$(BIN)/python acceptance/chaos.py --kills 100 --work $(OUT)/chaos

soak: $(STAMP)
	$(BIN)/python acceptance/soak.py --out $(OUT)/soak

# after the shipped weights have changed
default-bundle: $(STAMP)
	$(BIN)/python -m pocketportrait.export.default_bundle

wheel: $(STAMP)
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python .ci/sbom.py dist/pocketportrait-*.whl

clean:
	rm -rf $(OUT) build dist pocketportrait.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
