"""Which way imports run, and what importing a library must not pull in."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter belongs to the extra dev")

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARIES = ["l4edge_accel", "l4edge_compression", "l4edge_perception", "l4edge_pipeline", "l4edge_simulation"]
HOMES_OF_HEAVY = (
    "l4edge_compression", "l4edge_perception.models", "l4edge_perception.training", "l4edge_pipeline.nodes",
)
"""Modules below these may import rclpy or torch."""

REPORT_HEAVY = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"rclpy", "torch"} & set(sys.modules)
    assert not heavy, f"importing {name} pulls in {heavy}"
"""


def modules_of(library):
    """Names of all modules of a library, parents first, found without importing one."""
    root = Path(importlib.util.find_spec(library).submodule_search_locations[0])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_below(module, homes):
    return any((module + ".").startswith(home + ".") for home in homes)


def import_in_new_process(modules):
    return subprocess.run(
        [sys.executable, "-c", REPORT_HEAVY, *modules], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_imports_run_one_way():
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_importing_a_library_pulls_in_neither_rclpy_nor_torch(library):
    result = import_in_new_process([library])
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_module_pulls_in_rclpy_or_torch_where_they_do_not_live(library):
    modules = [name for name in modules_of(library) if not is_below(name, HOMES_OF_HEAVY)]
    result = import_in_new_process(modules)
    assert result.returncode == 0, result.stderr


def test_certification_pulls_in_no_torch():
    """It runs on the vehicle; what trains and attacks does not."""
    homes = ("l4edge_compression.defense.training", "l4edge_compression.defense.attacks")
    modules = [
        name for name in modules_of("l4edge_compression")
        if is_below(name, ["l4edge_compression.defense"]) and not is_below(name, homes)
    ]
    assert "l4edge_compression.defense.packages" in modules
    result = import_in_new_process(modules)
    assert result.returncode == 0, result.stderr


def test_the_check_above_notices_rclpy():
    pytest.importorskip("rclpy", reason="needs ROS 2")
    result = import_in_new_process(["rclpy"])
    assert "pulls in" in result.stderr
