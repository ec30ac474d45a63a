# Two commands do everything on a machine with Python 3.11 or newer and make: `make demo` and `make test`.
# `make test PRECISION=bf16` forces one precision on all tests that train; without it they train in fp32, some in both.

# `make demo TORCH=cpu` installs PyTorch's builds without CUDA: 2 GB instead of 6. Any --torch-backend of uv will do.

PYTHON ?= python3
TORCH ?=
BIN := .venv/bin
STAMP := .venv/.installed
TORCH_BACKEND := $(if $(TORCH),--torch-backend=$(TORCH))

.PHONY: demo test test-fast lint format docs install clean

demo: install
	$(BIN)/vsr demo

test: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20 $(if $(PRECISION),--precision $(PRECISION))

test-fast: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(if $(PRECISION),--precision $(PRECISION))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs/mkdocs.yml
	@echo "open build/docs/index.html"

install: $(STAMP)

# Where Python may not keep what it translates, as in many containers, each command would do it anew, for ten seconds.
# torch and torchvision must come from one index, or torchvision's compiled operators do not load: so no local wheels.
$(STAMP): pyproject.toml constraints.txt vsr_cli/__init__.py
	@echo "installing into .venv: $(if $(TORCH),PyTorch for $(TORCH),about 6 GB, of which 4 serve NVIDIA GPUs alone; TORCH=cpu takes 2 GB)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt $(TORCH_BACKEND) --editable . --group dev
	-$(BIN)/python -m compileall -q -j 2 -x '/(models|tests?|testing)/' .venv/lib
	touch $(STAMP)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
