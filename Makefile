# Needs Python >= 3.11 and make, nothing else. Everything lives in .venv.
PYTHON ?= python3
BIN = .venv/bin
# One process for each core, each with one thread: threads of several processes would wait for each
# other.
PARALLEL = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadgroup \
	--max-worker-restart 0 --ignore tests/serve/test_page.py
# A browser beside a server needs the processor to itself, or clicks come too late.
BROWSER = $(BIN)/pytest tests/serve/test_page.py

.PHONY: demo test coverage lint check docs bench lock clean

demo: .venv/base  ## upscale examples/ with the shipped weights into demo/
	$(BIN)/srgan upscale examples/ -o demo/ --overwrite
	$(BIN)/python test_srresnet.py --image_path examples/astronaut.png --srresnet_ckpt srresnet-x4 --output_dir demo
	@echo "Look at demo/astronaut_srresnet_comparison.png"

test: .venv/dev  ## the tests
	$(PARALLEL)
	$(BROWSER)

# A fifth slower. It counts the tests and their workers, not the commands that they start.
coverage: .venv/dev  ## the tests without a browser, and the lines that they do not reach
	$(PARALLEL) --cov --cov-report term:skip-covered

lint: .venv/dev  ## format, lint, import order, types, pins
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pre-commit run --all-files --show-diff-on-failure
	$(BIN)/pyright --pythonpath $(BIN)/python
	.ci/lock --check

check: lint docs test  ## all that CI runs

docs: .venv/dev  ## the documentation as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/dev  ## speed on this machine, side by side
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/files.py

# Not from .venv/dev: that cannot be installed while pins and pyproject.toml disagree.
lock: .venv/python  ## pin what pyproject.toml asks for; LOCK=--upgrade takes the newest releases
	$(BIN)/python -m pip install --quiet uv
	.ci/lock $(LOCK)

clean:
	rm -rf .venv demo site

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "srgan needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/base: .venv/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# The versions that CI tested, all of them.
.venv/dev: .venv/python pyproject.toml requirements/constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --constraint requirements/constraints.txt --editable '.[dev]'
	touch $@ .venv/base
