"""Vehicle code keeps to Python 3.8, the one of Xavier's last JetPack."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

REPOSITORY = Path(__file__).resolve().parents[2]
VEHICLE_PYTHON = (3, 8)
ROOTS = ["accel", "compression", "launch", "perception", "ros_ws/src"]


def vehicle_files():
    """All Python files below ROOTS that pyproject.toml does not list as a developer's tool."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    tools = settings["tool"]["ruff"]["per-file-target-version"]
    for root in ROOTS:
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            if not any(name.startswith(pattern.rstrip("*")) for pattern in tools):
                yield name


def test_vehicle_files_are_found():
    assert {"perception/l4edge_perception/types.py", "ros_ws/src/l4edge_pipeline/l4edge_pipeline/cli.py"} <= set(
        vehicle_files()
    )


def test_syntax_is_that_of_the_vehicle():
    for name in vehicle_files():
        ast.parse((REPOSITORY / name).read_text(encoding="utf-8"), filename=name, feature_version=VEHICLE_PYTHON)


def minimum_versions(*paths):
    """Run vermin; returns its exit code (0: all runs on the vehicle's Python) and what it found."""
    pytest.importorskip("vermin", reason="vermin belongs to the extra dev")
    result = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "--target={}.{}-".format(*VEHICLE_PYTHON), "--violations",
         "--eval-annotations", "--no-parse-comments", *paths],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )
    return result.returncode, result.stdout


def test_standard_library_is_that_of_the_vehicle():
    code, found = minimum_versions(*vehicle_files())
    assert code == 0, found


@pytest.mark.parametrize(
    ("code", "newer"),
    [
        ("import math\nmath.lcm(2, 3)\n", "3.9"),
        ("def largest(values: list[int]) -> int:\n    return max(values)\n", "3.9"),
        ("print('route'.removeprefix('r'))\n", "3.9"),
        ("from itertools import pairwise\n", "3.10"),
    ],
)
def test_the_check_notices_what_is_newer(tmp_path, code, newer):
    path = tmp_path / "newer.py"
    path.write_text(code)
    exit_code, found = minimum_versions(path)
    assert exit_code == 1
    assert newer in found
