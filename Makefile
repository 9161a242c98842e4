# Everything a newcomer or a continuous integration run needs; `make help` lists it.
# A fresh machine must have Python 3.11, g++ 12 and make; the rest is installed below.

PYTHON ?= python3.11
VENV ?= .venv
export CMAKE_BUILD_PARALLEL_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

BIN := $(VENV)/bin
PY := $(BIN)/python
CMAKE := $(BIN)/cmake
# The set-up is repeated when what it depends on has other contents, not merely another date.
SETUP := $(shell cat pyproject.toml setup.py | sha256sum | cut -c1-12)
TORCH_READY := $(VENV)/.torch
INSTALLED := $(VENV)/.installed-$(SETUP)
LINT_READY := $(VENV)/.lint-$(SETUP)

CPP_SOURCES = $(shell find csrc tests/cpp -name '*.h' -o -name '*.cpp')
TORCH_FREE_UNITS = $(shell find csrc/base csrc/compute csrc/model csrc/runtime -name '*.cpp')
TORCH_UNITS = $(shell find csrc/backend csrc/aten csrc/ops csrc/python -name '*.cpp')
# pip would hide the compiler's progress, so it comes when there is nothing left to compile.
BUILD = $(PY) setup.py --quiet build_ext --inplace

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build demo test pytest ctest conformance conformance-asan upstream asan tsan lint tidy-torch format bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(TORCH_READY):
	sh scripts/require_python.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install torch==2.13.0
	touch $@

$(INSTALLED): $(TORCH_READY)
	$(PY) -m pip install 'setuptools>=77' wheel 'cmake>=3.25,<4' ninja
	$(BUILD)
	$(PY) -m pip install --no-build-isolation -e '.[test]'
	rm -f $(VENV)/.installed-*
	touch $@

$(LINT_READY): $(INSTALLED)
	$(PY) scripts/list_requirements.py lint > $(VENV)/lint.txt
	$(PY) -m pip install -r $(VENV)/lint.txt
	rm -f $(VENV)/.lint-*
	touch $@

build: $(INSTALLED) ## Set up the virtual environment and build the extension in place
	$(BUILD)

demo: build ## Run DeepSeek models and a sentence encoder on npu:0, checked against the CPU
	$(PY) examples/01_demo.py

test: pytest ctest ## Run every test, Python and C++

pytest: build ## Run the Python tests
	$(PY) -m pytest

# FILES: names under PYTORCH/test; UPSTREAM_FLAGS: --resume, --select, --file-limit ...
upstream: build ## Run PyTorch's device-generic tests: PYTORCH=checkout FILES="test_view_ops ..."
	$(PY) tests/upstream/run_upstream.py --pytorch "$(PYTORCH)" $(UPSTREAM_FLAGS) $(FILES)

# $(1): folder under build/, $(2): build type, $(3): sanitizers
define configure_cpp
	sh scripts/require_debian_file.sh /usr/src/googletest/CMakeLists.txt libgtest-dev
	$(CMAKE) -S . -B build/$(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DCMAKE_BUILD_TYPE=$(2) -DNPU_SIM_SANITIZE=$(3) \
	  -DNPU_SIM_BUILD_TORCH=OFF -DNPU_SIM_BUILD_TESTS=ON
endef

# The same, and $(4): what runs the tests
define run_cpp_tests
	$(call configure_cpp,$(1),$(2),$(3))
	$(CMAKE) --build build/$(1)
	$(4) $(BIN)/ctest --test-dir build/$(1) --output-on-failure --progress -j 2
endef

ctest: $(INSTALLED) ## Run the GoogleTest programs of the torch-free rooms
	$(call run_cpp_tests,cpp,Release)

asan: $(INSTALLED) ## The same under the address and undefined-behaviour sanitizers
	$(call run_cpp_tests,asan,Debug,address$(COMMA)undefined)

# Without setarch the thread sanitizer of g++ 12 refuses kernels that randomise addresses widely.
tsan: $(INSTALLED) ## The same under the thread sanitizer
	$(call run_cpp_tests,tsan,Debug,thread,$(shell setarch -R true 2>/dev/null && echo setarch -R))

# The extension with sanitizers has a folder and a package of its own: build/release stays as it is.
ASAN_TORCH := build/asan-torch
# What of the conformance set runs there.
CONFORMANCE_ASAN ?= tests/conformance
SANITIZED = sh scripts/run_sanitized.sh $(ASAN_TORCH) $(PY)

conformance-asan: $(INSTALLED) ## The conformance set under the address and undefined-behaviour sanitizers (slow)
	$(CMAKE) -S . -B $(ASAN_TORCH) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DPython_EXECUTABLE=$(abspath $(PY)) -DNPU_SIM_SANITIZE=address$(COMMA)undefined
	$(CMAKE) --build $(ASAN_TORCH) --target _C
	$(SANITIZED) scripts/check_sanitizers.py
	$(SANITIZED) -m pytest -p no:cacheprovider $(CONFORMANCE_ASAN)

COMMA := ,

lint: $(LINT_READY) build ## Check formats, rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@echo clang-format; $(BIN)/clang-format --dry-run -Werror $(CPP_SOURCES)
	$(call configure_cpp,cpp,Release)
	@echo clang-tidy; printf '%s\n' $(TORCH_FREE_UNITS) | xargs -n 4 -P 2 $(BIN)/clang-tidy --quiet -p build/cpp

tidy-torch: $(LINT_READY) build ## clang-tidy over the rooms that include torch (slow)
	@echo clang-tidy; printf '%s\n' $(TORCH_UNITS) | xargs -n 1 -P 2 \
	  $(BIN)/clang-tidy --quiet -p build/release --extra-arg=-Wno-ignored-gch

format: $(LINT_READY) ## Rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(BIN)/clang-format -i $(CPP_SOURCES)

conformance: build ## Compare npu with the CPU on all of torch's test data, and write docs/conformance.md
	$(PY) -m tests.conformance run $(CONFORMANCE); status=$$?; \
	  $(PY) -m tests.conformance report; exit $$status

bench: build ## Run the paired benchmarks against CPU eager
	$(PY) -m pytest --benchmark -s tests/benchmarks

clean: ## Remove what was built; the virtual environment stays
	rm -rf build dist demo_out *.egg-info torch_npu_sim/_C*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
