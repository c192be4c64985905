# Two commands: `make audit` shows what the tool does, `make test` checks it. Each makes the environment it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: audit test check clean

audit: .venv/.installed
	$(BIN)/unsmash audit

test: .venv/.developing
	./check

check: test

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/.developing: .venv/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv
