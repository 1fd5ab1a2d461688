"""Configurations, exact integers, streams, and the cycle formula by itself."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l4edge_accel import cycles
from l4edge_accel.configuration import (
    AcceleratorConfig,
    EngineConfig,
    RowGroup,
    accumulator_bits,
    check_engine,
    configuration_from_json,
    configuration_json,
    read_configuration,
    write_configuration,
)
from l4edge_accel.engines import energy, tokens
from l4edge_accel.engines.array import bytes_moved, layer_outputs, layer_streams, narrowed, products, unpack_outputs
from l4edge_accel.engines.cost import layer_cost
from l4edge_perception.errors import InputError

ENGINE = EngineConfig(
    "mixed", (RowGroup("pot4", 3), RowGroup("fixed4", 2), RowGroup("binary", 1)), inputs=5, lanes=2,
    activation_bits=6, ports_in=2, ports_out=2, port_bits=50, output_bits=24, tokens=20,
)


def layer(generator, rows=(4, 1, 3), inputs=12, tokens=7):
    weights = [
        generator.choice(group.number_format.integers(np.arange(2**group.number_format.bits)), (count, inputs))
        for group, count in zip(ENGINE.groups, rows)
    ]
    return weights, generator.integers(-32, 32, (inputs, tokens))


def test_products_are_plain_matrix_products():
    weights, activations = layer(np.random.default_rng(0))
    expected = [[sum(int(a) * int(b) for a, b in zip(row, column)) for column in activations.T]
                for row in np.concatenate(weights)]
    assert products(ENGINE, weights, activations).tolist() == expected


def test_padded_tiles_hold_the_same_sums():
    weights, activations = layer(np.random.default_rng(1))
    streams = layer_streams(ENGINE, weights, activations)
    assert np.array_equal(layer_outputs(ENGINE, [4, 1, 3], 7, streams.outputs), streams.sums)


def test_streams_are_as_long_as_the_tiles_say():
    weights, activations = layer(np.random.default_rng(2))
    streams = layer_streams(ENGINE, weights, activations)
    times = cycles.tile_times(ENGINE, streams.counts.token_groups)
    assert streams.counts == cycles.TileCounts(3, 3, 4)
    assert len(streams.activations) == streams.counts.passes * times.activations
    assert len(streams.weights) == streams.counts.passes * times.weights
    moved = bytes_moved(ENGINE, streams.counts)
    assert moved[1] == len(streams.weights) * 50 // 8


def test_outputs_are_read_back_from_beats():
    counts = cycles.TileCounts(1, 1, 2)
    values = np.random.default_rng(3).integers(-(2**23), 2**23, (1, 2, 2, 6))
    beats = np.zeros((values[0].size // 4, 4), np.uint32)
    for i, value in enumerate(values.reshape(-1, 4)):  # per beat two ports of two outputs each
        whole = sum((int(one) % 2**24) << (50 * (k // 2) + 24 * (k % 2)) for k, one in enumerate(value))
        beats[i] = [whole >> (32 * k) & 0xFFFFFFFF for k in range(4)]
    assert np.array_equal(unpack_outputs(ENGINE, counts, beats), values)


def test_narrowed_rounds_half_up_and_saturates():
    engine = dataclasses.replace(ENGINE, output_bits=4)
    assert narrowed(engine, np.array([-100, -5, -3, 2, 5, 6, 100]), 2).tolist() == [-8, -1, -1, 1, 1, 2, 7]


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.integers(1, 40), st.integers(1, 90),
    st.integers(1, 40),
)
def test_no_process_of_the_timeline_overlaps_itself_or_its_buffers(rows, inputs, groups, load, weights, output):
    counts = cycles.TileCounts(rows, inputs, groups)
    times = cycles.TileTimes(load, weights, max(groups, 2), output, groups + 6)
    line = cycles.timeline(counts, times)
    for part in (line.activations, line.weights, line.compute, line.output):
        assert (part[1:, 0] >= part[:-1, 1]).all()
    assert (line.activations[2:, 0] >= line.compute[:-2, 1]).all()
    assert (line.compute[:, 0] >= np.maximum(line.activations[:, 1], line.weights[:, 1])).all()
    assert (line.compute[2 * inputs :: inputs, 0] >= line.output[:-2, 1]).all()
    assert line.cycles >= max(counts.passes * times.compute, counts.passes * load, rows * output)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 40), st.integers(1, 40), st.integers(1, 90))
def test_closed_form_equals_the_walk_where_outputs_are_quick(rows, inputs, groups, load, weights):
    counts = cycles.TileCounts(rows, inputs, groups)
    times = cycles.TileTimes(load, weights, groups, 1, groups + 5)
    if inputs * max(load, weights, groups) >= 2 * groups + 8:
        assert cycles.closed_form_cycles(counts, times) == cycles.exact_cycles(counts, times)


def test_pauses_only_cost_cycles():
    counts, times = cycles.TileCounts(3, 4, 10), cycles.TileTimes(10, 6, 10, 20, 15)
    plain = cycles.exact_cycles(counts, times)
    assert cycles.expected_cycles(counts, times, cycles.MemoryModel(8, 0, 0)) == plain
    assert cycles.expected_cycles(counts, times, cycles.MemoryModel(8, 0, 20)) > plain


def test_configuration_survives_a_file(tmp_path):
    configuration = AcceleratorConfig("small", "zcu102", 150e6, (ENGINE,))
    write_configuration(tmp_path / "a.json", configuration)
    assert read_configuration(tmp_path / "a.json") == configuration


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("inputs", 1, "field inputs"), ("lanes", 0, "field lanes"), ("accumulator_bits", 8, "field accumulator_bits"),
        ("activation_bits", 60, "field activation_bits"), ("groups", (), "field groups"),
        ("groups", (RowGroup("pot4", 2, "dsp"),), "field groups.0.core"),
        ("groups", (RowGroup("fixed8", 2, "dsp", 3),), "field groups.0.packing"),
        ("groups", (RowGroup("fixed5x", 2),), "number format"),
    ],
)
def test_what_cannot_be_built_is_named(field, value, message):
    with pytest.raises(InputError, match=message):
        check_engine(dataclasses.replace(ENGINE, **{field: value}))


def test_a_configuration_of_another_kind_is_refused():
    with pytest.raises(InputError, match="not a configuration"):
        configuration_from_json({"format": "other"}, "file.json")
    value = json.loads(json.dumps(configuration_json(AcceleratorConfig("small", "zcu102", 1e8, (ENGINE,)))))
    value["engines"][0]["colour"] = 1
    with pytest.raises(InputError, match=r"engines\.0\.colour: unknown"):
        configuration_from_json(value, "file.json")


def test_accumulators_hold_the_extremes():
    bits = accumulator_bits(ENGINE, 100)
    assert 64 * 32 * 100 < 2 ** (bits - 1) <= 2 * 64 * 32 * 100


def test_faults_of_a_layer_are_named():
    weights, activations = layer(np.random.default_rng(4))
    with pytest.raises(InputError, match="activations from"):
        products(ENGINE, weights, activations * 4)
    with pytest.raises(InputError, match="accumulator bits"):
        products(dataclasses.replace(ENGINE, accumulator_bits=12), weights, activations)
    with pytest.raises(InputError, match="groups of rows"):
        products(ENGINE, weights[:2], activations)
    with pytest.raises(InputError, match="tokens"):
        layer_streams(ENGINE, weights, np.repeat(activations, 10, axis=1))


def test_a_layer_costs_what_its_tiles_cost():
    cost = layer_cost(ENGINE, [4, 1, 3], 12, 7, 100e6)
    counts = cycles.tile_counts(ENGINE, [4, 1, 3], 12, 7)
    assert cost.cycles == cycles.exact_cycles(counts, cycles.tile_times(ENGINE, counts.token_groups))
    assert cost.macs == 8 * 12 * 7
    assert 0 < cost.utilization < 1
    assert cost.energy_j == pytest.approx(energy.power_w(cost.resources.luts, 0, 100e6) * cost.seconds)


def test_power_is_near_the_published_boards():
    assert max(abs(error) for error in energy.errors().values()) <= 0.10


def test_kept_tokens_stay_and_others_are_averaged_by_score():
    activations = np.arange(12).reshape(2, 6) * 10
    chosen = tokens.select_tokens(activations, np.array([0, 5, 1, 7, 1, 5]), keep=3)
    assert chosen.kept.tolist() == [0, 1, 3]  # the first always, then the best; of the equal ones the earlier
    assert chosen.tokens[:, :3].tolist() == activations[:, [0, 1, 3]].tolist()
    expected = activations[:, [2, 4, 5]] @ np.array([1, 1, 5]) / 7
    assert np.abs(chosen.tokens[:, 3] - expected).max() <= 1


def test_token_faults_are_named():
    with pytest.raises(InputError, match="tokens: 7 of 6"):
        tokens.select_tokens(np.zeros((2, 6), int), np.zeros(6, int), keep=7)
