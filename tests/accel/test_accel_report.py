"""The accelerator's report: its numbers agree with the simulation, its page needs nothing else."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup, write_configuration
from l4edge_accel.report import accelerator_report, fitted, kind_name, utilization
from l4edge_accel.vaqf import compile_accelerator
from l4edge_accel.workload import named_workloads
from l4edge_perception.errors import InputError
from l4edge_pipeline.commands.accel_report import command
from l4edge_pipeline.report.accelerator import render_accelerator

LINEAR = EngineConfig("linear", (RowGroup("binary", 64),), 32, activation_bits=6, accumulator_bits=24, output_bits=6)
ATTENTION = EngineConfig("attention", (RowGroup("fixed8", 32, "dsp"),), 16, accumulator_bits=32, output_bits=8)
TWO = AcceleratorConfig("two <engines>", "zcu102", 150e6, (LINEAR, ATTENTION))


@pytest.fixture(scope="module")
def workload():
    whole = named_workloads()["deit_tiny"]
    kept = [one for one in whole.operations if one.name[:7] != "blocks." or one.name[7:9] in {"0.", "1."}]
    return replace(whole, operations=tuple(kept))


@pytest.fixture(scope="module")
def report(workload):
    answer = compile_accelerator(workload, 100.0, widths=(4, 6))
    return accelerator_report(fitted(workload, TWO), TWO, answer)


def test_kinds_of_layers_gather_what_the_simulation_says(report):
    simulation = report.simulation
    assert {"blocks.*.qkv", "blocks.*.scores", "patch_embed", "head", "blocks.*.norm1"} <= {
        kind.name for kind in report.kinds
    }
    assert sum(kind.count for kind in report.kinds) == len(simulation.layers)
    assert sum(kind.size for kind in report.kinds) == simulation.bytes_moved
    occupied = sum(layer.occupied for layer in simulation.layers)
    assert sum(kind.seconds for kind in report.kinds) == pytest.approx(occupied / simulation.clock_hz)
    for kind in report.kinds:
        assert kind.busy_share + sum(kind.stalls.values()) == pytest.approx(1.0)


def test_numbers_that_stand_alone_do_not_tell_kinds_apart():
    assert kind_name("network.stage32.1.blocks.10.first") == "network.stage32.*.blocks.*.first"


def test_nothing_is_above_its_roof(report):
    for kind in report.kinds:
        if kind.operations:
            assert kind.operations_per_s <= max(report.roofs[engine] for engine in kind.engines)
            assert kind.operations_per_s <= kind.intensity * report.bytes_per_s * 1.0001


def test_layers_get_the_formats_of_the_accelerator(workload):
    gemms = {gemm.name: gemm for gemm in fitted(workload, TWO).gemms}
    assert gemms["blocks.0.fc1"].weight_rows == {"binary": 1.0}
    assert gemms["blocks.0.fc1"].activation_bits == 6
    assert gemms["head"].weight_rows == {"fixed8": 1.0}
    declared = {gemm.name: gemm for gemm in fitted(workload, TWO, declared=True).gemms}
    assert declared["blocks.0.fc1"].weight_rows == {"fixed8": 1.0}
    assert declared["blocks.0.fc1"].activation_bits == 6


def test_the_page_is_whole_by_itself(report):
    page = render_accelerator(report, "today")
    assert not re.search(r"(?:src|href)=|https?://|@import|<script", page)
    assert "two &lt;engines&gt;" in page and "two <engines>" not in page
    charts = [ET.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", page, re.S)]
    titles = [chart.get("aria-label") for chart in charts]
    assert titles == ["Roofline", *["Compute and transfer by layer"] * 2, "Rate by activation width", "Resources"]
    for chart in charts:
        width, height = (float(value) for value in chart.get("viewBox").split()[2:])
        for box in chart.iter("rect"):
            assert 0 <= float(box.get("x")) <= float(box.get("x")) + float(box.get("width")) <= width + 0.1
            assert 0 <= float(box.get("y")) <= height
    points = list(charts[0].iter("circle"))
    assert len(points) == sum(bool(kind.operations) for kind in report.kinds)
    assert len(list(charts[3].iter("rect"))) == len(report.widths) == 2
    assert "asked for: 100" in page


def test_utilization_is_of_the_device(report):
    shares = utilization(report)
    assert shares["luts"] == pytest.approx(sum(part.luts for part in report.parts.values()) / 274_080)
    assert min(shares.values()) > 0 and max(shares.values()) < 1


def test_the_command_takes_a_configuration(tmp_path):
    file, page = tmp_path / "two.json", tmp_path / "page.html"
    write_configuration(file, TWO)
    done = CliRunner().invoke(command, [str(file), "--model", "deit_tiny", "--out", str(page), "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.output)
    assert figures["frames_per_second"] == pytest.approx(150e6 / figures["cycles"])
    assert figures["workload"] == "deit_tiny"
    assert "Roofline" in page.read_text() and "asked for" not in page.read_text()


def test_the_command_refuses_what_it_cannot_use(tmp_path):
    for arguments, words in (([], "--fps"), (["--model", str(tmp_path / "none"), "--fps", "3"], "no such")):
        done = CliRunner().invoke(command, arguments)
        assert isinstance(done.exception, InputError)
        assert words in str(done.exception)
