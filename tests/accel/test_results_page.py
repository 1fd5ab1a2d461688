"""The pages' figures are those of the result files."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from l4edge_accel.rtl import results_page
from l4edge_perception.errors import InputError

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = DOCS / "results/accelerator"


@pytest.mark.parametrize("file", sorted(results_page.PAGES))
def test_the_pages_say_what_was_measured(file):
    page = (DOCS / file).read_text(encoding="utf-8")
    assert results_page.written(page, RESULTS, file) == page


@pytest.mark.parametrize("name", ["rtl", "accel"])
def test_what_was_measured_keeps_its_bounds(name):
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert found["passed"]
    if name == "accel":
        assert found["scalesim_ratio"] >= 300


def test_other_results_make_another_page(tmp_path):
    for name in ("rtl", "accel"):
        text = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
        (tmp_path / f"{name}.json").write_text(text.replace('"integer_mismatches": 0', '"integer_mismatches": 7'))
    for file in results_page.PAGES:
        (tmp_path / file).write_text((DOCS / file).read_text(encoding="utf-8"), encoding="utf-8")
    done = CliRunner().invoke(results_page.command, [str(tmp_path), str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "| integers | 7 of " in (tmp_path / "fpga_rtl.md").read_text()
    assert (tmp_path / "fpga_compiler.md").read_text() == (DOCS / "fpga_compiler.md").read_text()


def test_results_that_are_not_whole_are_named(tmp_path):
    with pytest.raises(InputError, match=r"rtl.json: not the whole output of l4edge bench rtl --json"):
        results_page.written("", tmp_path, "fpga_rtl.md")
    accel = json.loads((RESULTS / "accel.json").read_text(encoding="utf-8"))
    accel["scalesim"] = {"skipped": "not there"}
    (tmp_path / "accel.json").write_text(json.dumps(accel))
    with pytest.raises(InputError, match=r"without SCALE-Sim \(not there\)"):
        results_page.written("", tmp_path, "fpga_compiler.md")
