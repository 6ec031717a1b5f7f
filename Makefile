# Everything runs in .venv; `make demo` and `make test` set it up first.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check quick lint docs setup

demo: setup
	$(BIN)/python demo.py

test: setup check

# Before each commit.
quick: setup lint
	$(BIN)/pytest tests/unit/test_bitstream.py tests/unit/test_tables.py tests/laws/test_damage.py
	$(BIN)/pytest tests/laws/test_codec.py -k "expects and integer and YUV420"

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(wildcard native/*/*.cpp native/*/*.h native/*/*.inl)
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/cmake -S native -B build/native -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja
	$(BIN)/cmake --build build/native
	$(BIN)/ctest --test-dir build/native --output-on-failure
	$(BIN)/pytest
	for isa in AVX2 AVX512_CORE; do \
		ONEDNN_MAX_CPU_ISA=$$isa $(BIN)/pytest tests/laws/test_dynamic.py tests/laws/test_integer.py \
			|| exit 1; \
	done
	NEUVID_TRAINING_KERNELS=none $(BIN)/pytest tests/laws/test_training.py tests/unit/test_models.py

# The site, in build/site; links and names that do not exist are errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

setup: .venv/ready

# The pinned CPU build of torch comes first: an open range would pull a CUDA build.
.venv/ready: pyproject.toml $(wildcard native/CMakeLists.txt native/src/*)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable .[dev]
	touch $@
