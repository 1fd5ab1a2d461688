import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_compression.quantization import layer_graphs
from l4edge_compression.quantization.integer import IntegerModel
from l4edge_compression.quantization.packing import group_rows, pack, pack_codes, unpacking_table
from l4edge_compression.quantization.parity import make_session, runtime_operators

CHANNELS, OUTPUTS = 33, 65
"""Odd, so that bytes are left half full."""


def unpacked(groups, codes):
    """Rows put together again from what would be stored."""
    result = np.zeros_like(codes)
    for group in groups:
        chosen = codes[group.rows]
        if group.values is not None:
            stored = pack_codes(chosen, group.values, group.per_byte)
            chosen = unpacking_table(group.values, group.per_byte)[stored].ravel()[: chosen.size].reshape(chosen.shape)
        result[group.rows] = chosen
    return result


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**31))
def test_any_rows_come_back(rows, width, seed):
    random = np.random.default_rng(seed)
    codes = np.zeros((rows, width), np.int8)
    for row in range(rows):
        values = random.integers(-127, 128, random.choice([1, 2, 3, 15, 16, 17, 200]))
        codes[row] = random.choice(values, width)
    groups = group_rows(codes)
    assert sorted(np.concatenate([group.rows for group in groups]).tolist()) == list(range(rows))
    assert np.array_equal(unpacked(groups, codes), codes)


def test_each_format_gets_its_table():
    codes, _ = layer_graphs.draw_weights(np.random.default_rng(0), (64, 300), "rmsmp")
    groups = group_rows(codes)
    assert sorted((len(group.rows), group.per_byte) for group in groups) == [(3, 1), (19, 2), (42, 2)]
    (binary,) = group_rows(layer_graphs.draw_weights(np.random.default_rng(0), (64, 300), "binary")[0])
    assert binary.per_byte == 8


@pytest.mark.parametrize("method", layer_graphs.FORMATS)
def test_packed_graphs_give_the_same_codes_and_run_the_same_operators(method):
    layer = layer_graphs.convolution(CHANNELS, OUTPUTS, 9, 3)(np.random.default_rng(1), method)
    packed = pack(layer.content)
    (expected,) = make_session(layer.content).run(None, layer.feeds)
    assert np.array_equal(make_session(packed).run(None, layer.feeds)[0], expected)
    assert np.array_equal(IntegerModel(packed).run(layer.feeds)[0], expected)
    assert runtime_operators(packed) == runtime_operators(layer.content)


@pytest.mark.parametrize(("method", "bits"), [("rmsmp", 4.2), ("fixed", 4), ("binary", 1), ("fixed8", 8)])
def test_files_take_the_bits_that_formats_need(method, bits):
    layer = layer_graphs.linear(1, 512, 512)(np.random.default_rng(2), method)
    overhead = len(layer.content) - 512 * 512
    assert len(pack(layer.content)) < 512 * 512 * bits / 8 + overhead + 3000 + 512 * 2


def test_packed_files_have_no_types_that_old_runtimes_lack():
    layer = layer_graphs.linear(4, 64, 64)(np.random.default_rng(3), "rmsmp")
    model = onnx.load_from_string(pack(layer.content))
    old = {onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32,
           onnx.TensorProto.INT64}
    assert {tensor.data_type for tensor in model.graph.initializer} <= old
    assert model.ir_version <= 9
    assert model.opset_import[0].version <= 19
