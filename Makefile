# Everything from one place. Each target sets up what it needs first, and only what changed since the last time:
# an environment in .venv, the ROS packages in ros_ws/install. Further help: CONTRIBUTING.md.
PYTHON ?= python3
ENVIRONMENT := $(PYTHON) scripts/environment.py
BIN := .venv/bin

# Nothing of another environment leaks in; a ROS 2 that is sourced but is not for this Python counts as one.
export PYTHONNOUSERSITE := 1
unexport PYTHONHOME VIRTUAL_ENV
ifeq ($(and $(ROS_DISTRO),$(shell $(PYTHON) -c 'import rclpy' 2>/dev/null && echo usable)),)
unexport PYTHONPATH ROS_DISTRO AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
endif

# The tests that use no tool of a developer's machine.
TOOLS := l4edge_(accel|simulation)|l4edge_perception\.(models|training)|small_networks|safety_factories|l4edge_compression( import|\.(api|command|levels|networks|quantization|studies|tasks|defense\.(attacks|training)))
VEHICLE_TESTS = $(shell grep -rLE '$(TOOLS)' tests --include='test_*.py' --exclude-dir=architecture)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-rtl lint bench test-vehicle clean python

help: ## say what the targets do
	@echo "l4edge: a level-4 driving pipeline on ROS 2 that fits one edge card"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

python:
	@$(PYTHON) -c 'import json' 2>/dev/null || \
	  { echo "l4edge: no whole $(PYTHON) on this machine: apt-get install python3 python3-venv" >&2; exit 2; }

setup: python ## make .venv and build the ROS packages
	@$(ENVIRONMENT)

run: setup ## replay the demo drive through the pipeline; ends with where its report is
	@$(BIN)/l4edge replay examples/demo_drive --out out

test: python ## run all tests
	@$(ENVIRONMENT) --with simulation,training,rtl,dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: python ## check style, types and which way imports run
	@$(ENVIRONMENT) --with simulation,training,dev
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/architecture
	@$(BIN)/mypy

bench: python ## measure parts of the pipeline against named peers
	@$(ENVIRONMENT) --with simulation,training,dev
	-@$(ENVIRONMENT) --scalesim
	@$(BIN)/l4edge bench transport
	@$(BIN)/l4edge bench accel --part speed --part scalesim
	@$(BIN)/l4edge bench --help

test-rtl: python ## compare the accelerator's RTL with Python in full: integers, cycles, resources, packages
	@$(ENVIRONMENT) --with simulation,training,rtl,dev
	@$(BIN)/python -m pytest tests/accel $(PYTEST_ARGS)
	@$(BIN)/l4edge bench rtl

test-vehicle: python ## run the vehicle code's tests with the versions of JetPack 5 (VEHICLE_PYTHON=python3.8)
	@$(ENVIRONMENT) --vehicle
	@.venv-vehicle/bin/python -m pytest $(VEHICLE_TESTS) $(PYTEST_ARGS)

clean: ## remove what the other targets made, except out/
	rm -rf .venv .venv-vehicle .venv-scalesim ros_ws/build ros_ws/install ros_ws/log .pytest_cache .mypy_cache \
	  .ruff_cache .import_linter_cache .hypothesis l4edge.egg-info ros_ws/src/*/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
