"""SCALE-Sim's report as it is, and its closed form beside the tile engine's model."""

import json
import os
import subprocess
import sys

import pytest

from l4edge_pipeline.commands import bench_accel, scalesim_runner

REPORT = """\
LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, Compute Util %,
0, 1691, 767, 0, 52.15123859191656, 100.0, 45.04504504504504,
1, 2930, 1742, 0, 34.01711394948335, 76.26488095238095, 28.793883624878507,
2, 579, 50, 0, 10.0, 100.0, 7.575757575757576,
"""  # noqa: E501  as SCALE-Sim 3.0.0 wrote it for the small products
DONE = {"seconds": 25.4, "version": "3.0.0", "numpy": "2.3.5"}


def test_the_closed_form_gives_the_cycles_that_scalesim_reported():
    layers = scalesim_runner.read_report(REPORT)
    assert layers[0] == {"cycles": 768, "prefetch_cycles": 924, "stall_cycles": 0}
    expected = [
        scalesim_runner.closed_form_cycles(product, bench_accel.SMALL_ARRAY) for product in bench_accel.SMALL_PRODUCTS
    ]
    assert [layer["cycles"] for layer in layers] == expected
    assert scalesim_runner.closed_form_cycles(bench_accel.PRODUCT, bench_accel.ARRAY) == 576 * 291


@pytest.fixture
def stand_in(tmp_path):
    """An interpreter that answers what SCALE-Sim answered: its report, and the last line of its process."""
    program = tmp_path / "python"
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_text(REPORT, encoding="utf-8")
    large.write_text(REPORT.splitlines()[0] + "\n0, 200801, 167615, 0, 67.7, 100.0, 61.2,\n", encoding="utf-8")
    program.write_text(
        "#!/bin/sh\nset -e\nmkdir -p out/product\n"
        f"if grep -q 'ArrayHeight = 16' scale.cfg; then report={small}; else report={large}; fi\n"
        'cp "$report" out/product/COMPUTE_REPORT.csv\n'
        f"echo '{json.dumps(DONE)}'\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return str(program)


def test_the_ratio_and_the_agreement_of_cycles(stand_in):
    result = bench_accel.measure({"scalesim"}, stand_in)
    assert result["scalesim"]["version"] == "3.0.0"
    assert result["scalesim_ratio"] == pytest.approx(25.4 / result["product"]["event_s"])
    assert result["scalesim_ratio_analytic"] > result["scalesim_ratio"]
    assert result["scalesim_closed_form_differences"] == [0, 0, 0, 0]
    # With the cycles between passes that a systolic array does not hide, the models are of the same array.
    assert 0 < result["not_overlapped_error"] < bench_accel.CYCLE_TOLERANCE
    assert result["product"]["analytic_cycles"] < result["systolic_closed_form_cycles"]


def test_cycles_that_are_off_fail(stand_in, monkeypatch):
    monkeypatch.setattr(scalesim_runner, "closed_form_cycles", lambda product, array: 167_000)
    assert not bench_accel.measure({"scalesim"}, stand_in)["passed"]


def test_without_scalesim_the_reason_is_said():
    result = bench_accel.measure({"scalesim"}, "/nowhere/python")
    assert result["scalesim_ratio"] is None
    assert "/nowhere/python cannot be started" in result["scalesim"]["skipped"]
    assert "--scalesim-python" in result["scalesim"]["skipped"]


def test_scalesim_itself_where_it_is_installed():
    python = scalesim_runner.default_python()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = subprocess.run(
        [python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('scalesim') is None)"],
        env=environment, check=False,
    )  # fmt: skip
    if found.returncode or python == sys.executable:
        pytest.skip("no .venv-scalesim; python3 scripts/environment.py --scalesim makes it")
    done = scalesim_runner.run(bench_accel.SMALL_PRODUCTS, bench_accel.SMALL_ARRAY, python)
    assert done["layers"] == scalesim_runner.read_report(REPORT)
