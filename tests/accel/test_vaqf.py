"""From a network and a frame rate to an accelerator."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup, read_configuration
from l4edge_accel.design_space import products_per_dsp
from l4edge_accel.graph_workload import read_workload
from l4edge_accel.limits import Limits, check_fits
from l4edge_accel.network_cost import LINE_BUFFER, Assumptions, network_cost
from l4edge_accel.search import declared_formats, reformatted
from l4edge_accel.simulator import simulate
from l4edge_accel.vaqf import compile_accelerator
from l4edge_accel.workload import named_workloads, with_fewer_tokens
from l4edge_perception.errors import InputError
from l4edge_pipeline.commands.accel import command
from l4edge_pipeline.commands.accel_compile import parse_weights, parse_widths

MODELS = Path(__file__).resolve().parents[2] / "models"
BASE = named_workloads()["deit_base"]


@pytest.fixture(scope="module")
def answer():
    """VAQF's first scenario."""
    return compile_accelerator(BASE, 24.0, "zcu102")


def test_24_frames_a_second_with_at_least_8_bits(answer):
    chosen = answer.chosen
    assert chosen.activation_bits >= 8
    assert chosen.cost.frames_per_second >= 24.0
    assert chosen.simulated_fps >= 24.0
    assert chosen.accelerator.clock_hz == 150e6
    assert chosen.utilization["luts"] <= 0.7
    assert [design.activation_bits for design in answer.designs] == list(range(1, 17))
    assert answer.shortfall == 0.0


def test_30_frames_a_second_with_at_least_6_bits(answer):
    meeting = [design for design in answer.designs if design.cost.frames_per_second >= 30.0]
    assert max(design.activation_bits for design in meeting) >= 6


def test_the_search_agrees_with_the_cost_of_the_whole_network(answer):
    chosen = answer.chosen
    again = network_cost(reformatted(BASE, {"binary": 1.0}, chosen.activation_bits), chosen.accelerator)
    assert again.cycles == chosen.cost.cycles
    needed = check_fits(chosen.accelerator, Limits(), BASE)
    assert needed.luts == pytest.approx(chosen.utilization["luts"] * 274_080)
    assert sum(gemm.macs for gemm in BASE.gemms) == sum(layer.macs for layer in again.layers)


def test_the_simulation_confirms_the_choice_from_the_widest_down(answer):
    run = simulate(
        reformatted(BASE, {"binary": 1.0}, answer.chosen.activation_bits), answer.chosen.accelerator, side_by_side=False
    )
    assert answer.chosen.simulated_fps == run.frames_per_second
    for design in answer.designs:
        tried = design.cost.frames_per_second >= 24.0 and design.activation_bits >= answer.chosen.activation_bits
        assert (design.simulated_fps is not None) == tried
    # Twelve bits reach the rate in the cost model, and miss it when streams wait for the memory.
    missed = [design for design in answer.designs if design.simulated_fps is not None and design != answer.chosen]
    assert missed and all(design.simulated_fps < 24.0 <= design.cost.frames_per_second for design in missed)


def test_a_rate_that_only_the_cost_model_meets_is_refused(answer):
    (design,) = compile_accelerator(BASE, 1.0, "zcu102", widths=(12,)).designs
    between = (design.simulated_fps + design.cost.frames_per_second) / 2
    refused = compile_accelerator(BASE, between, "zcu102", widths=(12,))
    assert refused.chosen is None
    assert refused.shortfall == pytest.approx(1 - design.simulated_fps / between)


def test_10000_frames_a_second_are_refused_with_what_binds():
    answer = compile_accelerator(BASE, 10_000.0, "zcu102", widths=(1, 8))
    assert answer.chosen is None
    assert answer.fastest.activation_bits == 1
    assert answer.shortfall == pytest.approx(1 - answer.fastest.cost.frames_per_second / 10_000)
    assert answer.fastest.binding


@pytest.mark.parametrize(
    "weights", [{"fixed2": 1.0}, {"fixed8": 1.0}, {"esb(5,2)": 1.0}, {"pot4": 0.65, "fixed4": 0.3, "fixed8": 0.05}]
)
def test_other_weights_are_slower_than_binary_ones_and_fit(weights, answer):
    (found,) = compile_accelerator(BASE, 1.0, "zcu102", weights, widths=(6,)).designs
    assert found.cost.frames_per_second < answer.designs[5].cost.frames_per_second
    check_fits(found.accelerator)
    linear = found.accelerator.engine("linear")
    assert [group.format for group in linear.groups] == list(weights)
    rows = {group.format: group.rows / linear.rows for group in linear.groups}
    assert rows == pytest.approx(weights, abs=0.05)


def test_fewer_tokens_are_faster(answer):
    pruned = with_fewer_tokens(BASE, 197, {3: 0.7, 6: 0.5, 9: 0.35})
    (found,) = compile_accelerator(pruned, 1.0, "zcu102", widths=(8,)).designs
    assert found.cost.frames_per_second > 1.4 * answer.designs[7].cost.frames_per_second


def test_a_convolutional_network_on_a_small_board():
    workload = named_workloads()["resnet18"]
    assumptions = Assumptions(convolutions=LINE_BUFFER)
    weights = {"fixed4": 0.95, "fixed8": 0.05}
    (found,) = compile_accelerator(workload, 1.0, "xc7z020", weights, assumptions=assumptions, widths=(5,)).designs
    check_fits(found.accelerator, Limits(), workload)
    assert {group.packing for group in found.accelerator.engine("linear").groups} == {4, 2}


def test_a_package_keeps_its_formats():
    workload = read_workload(MODELS / "sign_classifier", "w1a8", quantized=True)
    (found,) = compile_accelerator(workload, 1.0, "xc7z020", None, widths=(8,)).designs
    assert set(declared_formats(workload)) == {"binary", "fixed8"}
    assert {group.format for group in found.accelerator.engine("linear").groups} == {"binary", "fixed8"}
    assert sum(layer.macs for layer in found.cost.layers) == workload.macs


def test_what_a_dsp_block_does():
    assert [products_per_dsp(*bits) for bits in ((4, 5), (4, 6), (8, 8), (8, 9), (16, 4))] == [4, 2, 2, 1, 1]


def test_a_configuration_that_exceeds_its_device_is_refused():
    engine = EngineConfig("big", (RowGroup("fixed8", 64, "dsp"),), 64, accumulator_bits=32)
    with pytest.raises(InputError, match=r"small: needs 4,096 DSP blocks, of which xc7z020 leaves 112 for engines"):
        check_fits(AcceleratorConfig("small", "xc7z020", 100e6, (engine,)), Limits(luts=50.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames_per_second": 0.0}, "frame rate: 0.0 is not above 0"),
        ({"board": "zcu9"}, "device 'zcu9': not known"),
        ({"weights": {"ternary": 1.0}}, "number format 'ternary'"),
        ({"weights": {"pot3": 0.2, "pot4": 0.3, "fixed4": 0.3, "fixed8": 0.2}}, "1 to 3 weight formats"),
        ({"limits": Limits(luts=0.03)}, "not even the smallest engines"),
    ],
)
def test_bad_requests(arguments, message):
    request = {"workload": BASE, "frames_per_second": 24.0, "widths": (8,), **arguments}
    with pytest.raises(InputError, match=message):
        compile_accelerator(**request)


def test_what_the_command_reads():
    assert parse_weights("pot4:65,fixed4:30,fixed8:5") == pytest.approx({"pot4": 0.65, "fixed4": 0.3, "fixed8": 0.05})
    assert parse_weights("esb(5,2)") == {"esb(5,2)": 1.0}
    assert parse_weights("esb(5,2):3, fixed8:1") == {"esb(5,2)": 0.75, "fixed8": 0.25}
    assert parse_widths("4-6") == (4, 5, 6)
    for text in ("pot4:x", "pot4:0", "nine"):
        with pytest.raises(InputError):
            parse_weights(text)
    with pytest.raises(InputError, match="--widths"):
        parse_widths("0-20")


def test_the_command_writes_what_the_simulator_takes(tmp_path):
    file = tmp_path / "accelerator.json"
    options = ["compile", "--model", "deit_tiny", "--fps", "60", "--widths", "8", "--out", str(file), "--json"]
    done = CliRunner().invoke(command, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert result["met"]
    assert result["chosen"]["activation_bits"] == 8
    assert [engine.name for engine in read_configuration(file).engines] == ["linear", "attention"]
    checking = ["check", str(file), "--model", "deit_tiny", "--weights", "binary", "--activations", "8"]
    checked = CliRunner().invoke(command, checking, catch_exceptions=False)
    assert f"deit_tiny: {result['chosen']['predicted_fps']:.1f} frames/s" in checked.output


def test_the_command_refuses_with_exit_code_2(tmp_path):
    file = tmp_path / "accelerator.json"
    options = ["compile", "--model", "deit_tiny", "--fps", "100000", "--widths", "8", "--out", str(file)]
    done = CliRunner().invoke(command, options, catch_exceptions=False)
    assert done.exit_code == 2
    assert "cannot be met; the fastest design, with 8-bit activations" in done.output
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nothing"], "model 'nothing': no such file or package"),
        (["--model", "deit_tiny", "--weights", "package"], "deit_tiny is no model package"),
        (["--model", str(MODELS / "sign_classifier"), "--weights", "package"], "how its layers are quantized"),
        (["--model", "deit_tiny", "--luts", "1.5"], "--luts: 1.5 is not above 0 and at most 1"),
        (["--model", "deit_tiny", "--keep", "12:0.5"], "no block 12"),
    ],
)
def test_bad_input_of_the_command(options, message):
    done = CliRunner().invoke(command, ["compile", "--fps", "1", *options])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
