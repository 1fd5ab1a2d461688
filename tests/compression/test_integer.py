from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from l4edge_compression.quantization import layer_graphs
from l4edge_compression.quantization.integer import IntegerModel, accumulators, arithmetic
from l4edge_compression.quantization.integer.accumulators import Window
from l4edge_compression.quantization.layer_graphs import GraphBuilder
from l4edge_compression.quantization.parity import compare, make_session
from l4edge_perception.errors import InputError

SMALL = {
    "convolution 3x3": layer_graphs.convolution(16, 24, 14, 3),
    "convolution 4 bits": layer_graphs.convolution(16, 24, 14, 3, top=15),
    "convolution strided": layer_graphs.convolution(3, 16, 30, 7, stride=2),
    "convolution depthwise": layer_graphs.convolution(24, 24, 14, 3, groups=24),
    "convolution depthwise, more outputs": layer_graphs.convolution(8, 16, 9, 3, groups=8),
    "convolution grouped": layer_graphs.convolution(16, 32, 14, 3, groups=4),
    "convolution odd": layer_graphs.convolution(33, 17, 9, 1, batch=2),
    "Gemm": layer_graphs.linear(17, 65, 33),
    "Gemm to float": layer_graphs.linear(17, 65, 33, as_float=True),
    "matmul": layer_graphs.joint("MatMul", (2, 9, 16), (2, 16, 9)),
    "add": layer_graphs.joint("Add", (1, 8, 32, 32)),
    "add, broadcast": layer_graphs.joint("Add", (2, 33, 17), (1, 33, 17)),
    "multiply": layer_graphs.joint("Mul", (1, 8, 16, 16)),
    "concat": layer_graphs.concatenation((1, 4, 6, 6), 3),
    **{
        f"{name} {index}": draw
        for name in ("average pool", "global pool", "max pool", "resize")
        for index, draw in enumerate(layer_graphs.EXACT[name])
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_layers_give_the_codes_that_onnxruntime_gives(name):
    random = np.random.default_rng(sum(name.encode()))
    for method in layer_graphs.FORMATS if name.startswith("convolution") else ("rmsmp", "fixed"):
        layer = SMALL[name](random, method)
        parity = compare(layer.content, [layer.feeds])
        assert parity.outputs.mismatches == 0
        assert parity.outputs.outputs > 0


@pytest.mark.parametrize("name", layer_graphs.CLOSE)
def test_float_operators_come_within_one_code(name):
    layer = layer_graphs.CLOSE[name][0](np.random.default_rng(3), "fixed")
    assert compare(layer.content, [layer.feeds]).outputs.largest <= 1


def exact_fused(first, second, third):
    """One rounding of the exact sum: the nearest float32, found among its neighbours."""
    exact = Fraction(float(first)) * Fraction(float(second)) + Fraction(float(third))
    near = np.float32(float(exact))
    candidates = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(candidates, key=lambda value: (abs(Fraction(float(value)) - exact), value.view(np.int32) & 1))


floats = st.floats(-1e6, 1e6, width=32, allow_subnormal=False).map(np.float32)


@settings(deadline=None)
@given(st.integers(0, 255).map(np.float32), floats, floats)
def test_fused_multiply_add_rounds_once(first, second, third):
    assert arithmetic.fused_multiply_add(first, second, third) == exact_fused(first, second, third)


def test_fused_multiply_add_is_right_where_rounding_twice_is_not():
    # The product is 1 - 2^-30: float64 drops the 2^-30 from the sum, and the tie that is left goes to the even side.
    first, second, third = np.float32(1 + 2**-15), np.float32(1 - 2**-15), np.float32(2**24 + 2)
    twice = np.float32(np.float64(first) * np.float64(second) + np.float64(third))
    assert twice == 2**24 + 4
    assert arithmetic.fused_multiply_add(first, second, third) == 2**24 + 2


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]), st.integers(0, 2),
    st.sampled_from([1, 2]), st.integers(0, 2**31),
)
def test_convolution_sums_are_those_of_torch(groups, width, kernel, stride, pad, dilation, seed):
    random = np.random.default_rng(seed)
    image = random.integers(-255, 256, (2, groups * width, 7, 8))
    weights = random.integers(-127, 128, (groups * 2, width, kernel, kernel))
    window = Window((kernel, kernel), (stride, stride), (pad,) * 4, (dilation, dilation))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(image).double(), torch.from_numpy(weights).double(), None, stride, pad, dilation, groups
    )
    assert np.array_equal(accumulators.convolve(image, weights, window, groups), expected.numpy())


def test_sums_beyond_what_float32_holds_stay_exact():
    first = np.full((1, 4608), 255)
    second = np.full((4608, 1), 127)
    second[0, 0] = 126
    assert accumulators.multiply(first, second)[0, 0] == 255 * 127 * 4608 - 255


def convolution_graph(seed=0, **settings):
    return layer_graphs.convolution(4, 6, 5, 3, **settings)(np.random.default_rng(seed), "rmsmp")


def test_a_run_leaves_codes_and_sums_behind():
    layer = convolution_graph()
    model = IntegerModel(layer.content)
    (codes,) = model.run(layer.feeds)
    (name,) = (name.removesuffix(":sums") for name in model.trace if name.endswith(":sums"))
    sums, unit = model.trace[name + ":sums"], model.trace[name + ":unit"]
    quantizer = next(node for node in model.nodes if node.inputs[0] == name)
    scale, zero_point = (model.constants[part] for part in quantizer.inputs[1:3])
    assert np.array_equal(arithmetic.requantize(sums, unit, scale, zero_point), codes)
    assert np.array_equal(model.trace[quantizer.outputs[0]], codes)


def test_given_results_replace_what_is_computed():
    random = np.random.default_rng(0)
    builder = GraphBuilder(random)
    first = builder.quantize(builder.dequantize(builder.input((4,), 0.5, 0)), 0.25)
    second = builder.quantize(builder.dequantize(first), 0.5)
    model = IntegerModel(builder.build(second))
    feeds = {"input_0": np.asarray([1, 2, 3, 4], np.uint8)}
    assert model.run(feeds)[0].tolist() == [1, 2, 3, 4]
    assert model.run(feeds, given={first: np.asarray([10, 20, 30, 40], np.uint8)})[0].tolist() == [5, 10, 15, 20]
    assert model.trace[first].tolist() == [2, 4, 6, 8]


def test_a_rectifier_before_codes_is_saturation():
    random = np.random.default_rng(1)
    builder = GraphBuilder(random)
    image = builder.input((1, 4, 6, 6))
    codes, steps = layer_graphs.draw_weights(random, (8, 4, 3, 3), "fixed")
    numbers = builder.node("Conv", [builder.dequantize(image), builder.weights(codes, steps)])
    content = builder.build(builder.quantize(builder.node("Relu", [numbers]), 0.02))
    feeds = builder.feeds()
    assert np.array_equal(IntegerModel(content).run(feeds)[0], make_session(content).run(None, feeds)[0])


def test_missing_inputs_and_unknown_operators_are_named():
    layer = convolution_graph()
    with pytest.raises(InputError, match="no array for input input_0"):
        IntegerModel(layer.content).run({})
    builder = GraphBuilder(np.random.default_rng(0))
    output = builder.node("Det", [builder.dequantize(builder.input((2, 2)))])
    with pytest.raises(InputError, match=r"det_1 \(Det\): this operator is not interpreted"):
        IntegerModel(builder.build(output, TensorProto.FLOAT))
    with pytest.raises(InputError, match="not an ONNX file"):
        IntegerModel(b"\xff\xff")
