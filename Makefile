# Two commands do everything on a machine with Python 3.11 or newer and make: `make demo` and `make test`.
# `make test PRECISION=bf16` forces one precision on all tests that train; without it they train in fp32, some in both.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test test-fast lint format install clean

demo: install
	$(BIN)/vsr demo

test: install
	$(BIN)/pytest -n 2 --dist loadfile $(if $(PRECISION),--precision $(PRECISION))

test-fast: install
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(if $(PRECISION),--precision $(PRECISION))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

# Where Python may not keep what it translates, as in many containers, each command would do it anew, for ten seconds.
# torch and torchvision must come from one index, or torchvision's compiled operators do not load: so no local wheels.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	-$(BIN)/python -m compileall -q -j 2 -x '/(models|tests?|testing)/' .venv/lib
	touch $(STAMP)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
