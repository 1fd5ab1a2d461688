"""Cost of networks on accelerators."""

import math
from dataclasses import replace

import pytest

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup
from l4edge_accel.cycles import exact_cycles, tile_counts, tile_times
from l4edge_accel.devices import device
from l4edge_accel.network_cost import (
    LINE_BUFFER,
    Assumptions,
    engine_for,
    gemm_cost,
    layer_tiles,
    network_cost,
    rows_by_group,
)
from l4edge_accel.workload import Gemm, Step, Workload
from l4edge_perception.errors import InputError

BOARD = device("zcu102")
ENGINE = EngineConfig("linear", (RowGroup("binary", 32),), 32, 1, 8, ports_in=2, ports_out=8)
PRODUCT = Gemm("layer", 64, 96, 200, 1, {"binary": 1.0})


def _cost(gemm, engine=ENGINE, assumptions=None):
    return gemm_cost(gemm, engine, BOARD, 150e6, assumptions or Assumptions())


def test_a_layer_costs_what_its_tiles_cost():
    cost = _cost(PRODUCT)
    counts = tile_counts(ENGINE, (64,), 96, 200)
    assert cost.cycles == exact_cycles(counts, tile_times(ENGINE, counts.token_groups))
    assert cost.bound == "compute"
    assert cost.busy_cycles == 64 * 96 * 200 / 1024
    # Activations are read for both tiles of rows, weights once; a bit each.
    assert cost.bytes_read == 96 * 200 * 2 + 64 * 96 // 8
    assert cost.bytes_written == 64 * 200 * 4


def test_repeats_multiply_cycles():
    assert _cost(replace(PRODUCT, repeats=3)).cycles == 3 * _cost(PRODUCT).cycles


def test_a_narrow_port_or_slow_memory_is_named_as_the_bound():
    assert _cost(PRODUCT, replace(ENGINE, port_bits=32)).bound == "activations"
    slow = _cost(PRODUCT, assumptions=Assumptions(ddr_share=0.001))
    assert slow.bound == "memory"
    assert slow.cycles == math.ceil((slow.bytes_read + slow.bytes_written) * 150e6 / (17e9 * 0.001))


def test_each_pass_takes_its_overhead():
    plain, longer = (layer_tiles(PRODUCT, ENGINE, Assumptions(pass_overhead=each))[1] for each in (0, 60))
    assert (longer.compute, longer.weights) == (plain.compute + 60, plain.weights + 60)
    passes = 2 * 3
    more = _cost(PRODUCT, assumptions=Assumptions(pass_overhead=60)).cycles - _cost(PRODUCT).cycles
    assert passes * 60 <= more <= (passes + 1) * 60


def test_rows_go_to_the_group_of_their_format_and_to_both_cores_of_one_format():
    mixed = replace(ENGINE, groups=(RowGroup("pot4", 6), RowGroup("fixed4", 3, "dsp"), RowGroup("fixed4", 1)))
    assert rows_by_group(replace(PRODUCT, weight_rows={"pot4": 0.5, "fixed4": 0.5}), mixed) == (32, 24, 8)
    assert sum(rows_by_group(replace(PRODUCT, outputs=61, weight_rows={"pot4": 0.31, "fixed4": 0.69}), mixed)) == 61


def test_line_buffers_fetch_pixels_once_and_fold_columns_of_few_channels():
    engine = replace(ENGINE, groups=(RowGroup("fixed8", 32),), inputs=24, tokens=1024)
    wide = Gemm("wide", 64, 48 * 9, 28 * 28, 1, {"fixed8": 1.0}, 8, 48 * 28 * 28, (3, 3))
    counts, times = layer_tiles(wide, engine, Assumptions(convolutions=LINE_BUFFER))
    assert counts.input_tiles == 2 * 9
    assert times.activations == math.ceil(48 * 28 * 28 / engine.activations_per_beat / 18)
    windows, streamed = layer_tiles(wide, engine, Assumptions())
    assert windows.input_tiles == 18
    assert streamed.activations > 8 * times.activations
    first = Gemm("first", 64, 3 * 49, 28 * 28, 1, {"fixed8": 1.0}, 8, 3 * 56 * 56, (7, 7))
    # 3 channels x 7 columns fit 24 inputs: one pass for each of 7 kernel rows instead of 49 for each position.
    assert layer_tiles(first, engine, Assumptions(convolutions=LINE_BUFFER))[0].input_tiles == 7


def test_softmax_and_normalization_cost_a_pass_of_their_own():
    accelerator = AcceleratorConfig("a", "zcu102", 150e6, (ENGINE,))
    steps = (Step("n", "layernorm", 6400, 200), Step("g", "gelu", 6400))
    with_steps = network_cost(Workload("w", (PRODUCT, *steps)), accelerator)
    without = network_cost(Workload("w", (PRODUCT,)), accelerator)
    assert with_steps.cycles - without.cycles == 6400 // 32 + 32
    assert with_steps.frames_per_second == pytest.approx(150e6 / with_steps.cycles)
    assert sum(with_steps.share_by_bound().values()) == pytest.approx(1.0)


def test_an_engine_with_few_rows_of_a_format_is_not_taken_for_a_whole_layer_of_it():
    few = replace(ENGINE, name="few", groups=(RowGroup("pot4", 60), RowGroup("fixed8", 4)))
    many = replace(ENGINE, name="many", groups=(RowGroup("fixed8", 16),))
    accelerator = AcceleratorConfig("a", "zcu102", 150e6, (few, many))
    assert engine_for(replace(PRODUCT, weight_rows={"fixed8": 1.0}), accelerator).name == "many"
    assert engine_for(replace(PRODUCT, weight_rows={"pot4": 0.95, "fixed8": 0.05}), accelerator).name == "few"


def test_an_operation_without_engine_is_named():
    accelerator = AcceleratorConfig("small", "zcu102", 150e6, (ENGINE,))
    with pytest.raises(InputError, match="scores: no engine of small for products of two 8-bit activations"):
        network_cost(Workload("w", (Gemm("scores", 10, 64, 10, 2),)), accelerator)
    with pytest.raises(InputError, match="layer: no engine of small for binary with 12-bit activations"):
        network_cost(Workload("w", (replace(PRODUCT, activation_bits=12),)), accelerator)
