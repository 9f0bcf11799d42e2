# Thin on purpose: what happens is in `python -m keras_transfer --help` and in pytest.
# README.md has the plain commands for systems without make.

PROFILE ?= quick
LESSONS ?=
WEIGHTS ?= resnet50 vgg16
BENCH ?=
NOTEBOOKS ?= notebooks
# Set PYTHON to choose an interpreter; without it the first that fits is taken.
PYTHON ?=

VENV := .venv
RUN := $(VENV)/bin/python
# Written last, so a half-made .venv has none and is made anew.
STAMP := $(VENV)/installed
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python python3.13 python3.12 python3.11)
VERSION := import platform; print(platform.python_version())
FITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# Its interpreter may have gone since, or the checkout may have been moved: make it anew.
HERE := import importlib.util as u, os, sys; s = u.find_spec("keras_transfer"); \
	sys.exit(not os.path.samefile(s.origin, "keras_transfer/__init__.py"))
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(RUN) -I -c '$(HERE)' 2>/dev/null && echo whole),whole)
$(shell rm -f $(STAMP))
endif
endif

# Makes a venv with the first Python that fits.
define MAKE_VENV
for candidate in $(CANDIDATES); do \
	found="$$found $$candidate ($$($$candidate -c '$(VERSION)' 2>/dev/null || echo 'not found'))"; \
	if $$candidate -c '$(FITS)' 2>/dev/null; then \
		echo "Making $(1) with $$candidate"; \
		exec $$candidate -m venv --clear $(1); \
	fi; \
done; \
echo "The lessons need Python 3.11, 3.12 or 3.13 with its venv module." >&2; \
echo "Found:$$found" >&2; \
echo "Install one, or name one: make PYTHON=/path/to/python3.12" >&2; \
exit 1
endef

# The oldest versions that pyproject.toml allows, and what is run with them: the path
# that people copy. Tests of what is not installed there, such as KerasHub, are skipped.
OLDEST := build/oldest/venv
CORE := data models backbones features classifier fine_tuning evaluation explanation \
	runtime/test_keras_internals.py

.PHONY: help install lessons exercises test oldest bench lab lint format clean

help:
	@echo "make lessons   run every lesson headless and write build/lessons/index.html"
	@echo "               narrow it: make lessons PROFILE=lesson LESSONS=\"1 3\""
	@echo "               without fetching weights: WEIGHTS=none make lessons"
	@echo "make exercises write copies of the lessons to work on: build/exercises"
	@echo "               open them: make lab NOTEBOOKS=build/exercises"
	@echo "make test      run the unit tests and all notebooks (quick profile)"
	@echo "               a part: .venv/bin/python -m pytest tests/data -m 'not slow'"
	@echo "make oldest    run the tests of the core path with the oldest versions allowed"
	@echo "make bench     measure speed and memory and write build/bench/report.md (hours)"
	@echo "               narrow it: make bench BENCH=\"extraction cache\""
	@echo "make lab       open JupyterLab on notebooks/"
	@echo "make lint      check the code and its layers; make format rewrites it"

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@if [ -f $@ ]; then rm $@; exit 0; fi; $(call MAKE_VENV,$(VENV))
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(RUN) -m keras_transfer weights minilm speech_embedding || \
		echo "Without these weights lessons 9 and 10 do not run."
	@touch $@

# The fetch is the only step that may use the network; the lessons then look on disk.
lessons: $(STAMP)
	@$(if $(filter none,$(WEIGHTS)),true,$(RUN) -m keras_transfer weights $(WEIGHTS)) || \
		echo "The lessons go on with what is there."
	@KERAS_TRANSFER_DOWNLOAD=none \
		$(RUN) -m keras_transfer lessons $(LESSONS) --profile $(PROFILE)

exercises: $(STAMP)
	@$(RUN) -m keras_transfer exercises $(LESSONS)

# What `pytest` alone runs, in two processes, because much of a test is one core tracing
# graphs. tests/conftest.py sets the environment, of the notebooks' kernels too.
test: $(STAMP)
	$(RUN) -m pytest --numprocesses=2 --junitxml=build/test/junit.xml

oldest: $(OLDEST)/installed
	PYTHONPATH=$(CURDIR) $(OLDEST)/bin/python -m pytest --numprocesses=2 \
		$(addprefix tests/,$(CORE))

$(OLDEST)/installed: requirements.txt pyproject.toml tests/helpers/oldest_versions.py
	@$(call MAKE_VENV,$(OLDEST))
	$(OLDEST)/bin/python tests/helpers/oldest_versions.py >$(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check \
		-r $(OLDEST)/requirements.txt
	@touch $@

bench: $(STAMP)
	@$(if $(filter none,$(WEIGHTS)),true,$(RUN) -m keras_transfer weights $(WEIGHTS)) || \
		echo "The benchmarks go on with what is there."
	@KERAS_TRANSFER_DOWNLOAD=none TF_CPP_MIN_LOG_LEVEL=3 $(RUN) benchmarks $(BENCH)

lab: $(STAMP)
	$(RUN) -m jupyter lab --notebook-dir=$(NOTEBOOKS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-cache

format: $(STAMP)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
	$(RUN) -m tests.helpers.how_it_is_built README.md

# What learners wrote into their copies stays.
clean:
	rm -rf $(filter-out build/exercises,$(wildcard build/*))
