"""Quantized ONNX graphs of single layers, drawn at random: what parity is measured on, layer type by layer type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import TensorProto

from l4edge_compression.quantization.graph_builder import FORMATS, GraphBuilder, draw_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLOSE", "EXACT", "FORMATS", "Draw", "GraphBuilder", "Layer", "draw_weights"]

Array: TypeAlias = "NDArray[Any]"


@dataclass(frozen=True)
class Layer:
    """One layer's graph.

    Attributes:
        content: the ONNX file. feeds: random inputs.
    """

    content: bytes
    feeds: Mapping[str, Array]


Draw = Callable[[np.random.Generator, str], Layer]


def convolution(
    channels: int,
    outputs: int,
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    batch: int = 1,
    top: int = 255,
) -> Draw:
    """A convolution, same padding, with bias, ReLU by saturation where the zero point is 0."""

    def draw(random: np.random.Generator, method: str) -> Layer:
        builder = GraphBuilder(random)
        image = builder.input((batch, channels, size, size), zero_point=0 if top < 255 else None)
        codes, steps = draw_weights(random, (outputs, channels // groups, kernel, kernel), method)
        bias = random.integers(-2000, 2000, outputs).astype(np.int32)
        names = [builder.dequantize(image), builder.weights(codes, steps), builder.bias(bias, steps, image)]
        pads = [kernel // 2] * 4
        numbers = builder.node("Conv", names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)
        zero_point = 0 if top < 255 else int(random.choice([0, 7, 128]))
        output = builder.quantize(numbers, random.uniform(0.02, 0.05) * 255 / top, zero_point, top)
        return Layer(builder.build(output), builder.feeds())

    return draw


def linear(rows: int, width: int, outputs: int, *, as_float: bool = False) -> Draw:
    """A fully connected layer; with ``as_float`` its result stays float32."""

    def draw(random: np.random.Generator, method: str) -> Layer:
        builder = GraphBuilder(random)
        given = builder.input((rows, width))
        codes, steps = draw_weights(random, (outputs, width), method)
        bias = random.integers(-2000, 2000, outputs).astype(np.int32)
        names = [builder.dequantize(given), builder.weights(codes, steps), builder.bias(bias, steps, given)]
        numbers = builder.node("Gemm", names, transB=1)
        if as_float:
            return Layer(builder.build(numbers, TensorProto.FLOAT), builder.feeds())
        output = builder.quantize(numbers, random.uniform(0.02, 0.05), int(random.choice([0, 7, 128])))
        return Layer(builder.build(output), builder.feeds())

    return draw


def joint(kind: str, shape: Sequence[int], other: Sequence[int] = ()) -> Draw:
    """Add, Mul or MatMul of two tensors of codes."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        first, second = builder.input(shape), builder.input(other or shape)
        numbers = builder.node(kind, [builder.dequantize(first), builder.dequantize(second)])
        # Scales that are ratios of small numbers put many sums halfway between two codes.
        scale = random.choice([0.0625, random.uniform(0.02, 0.1)]) * (8 if kind == "MatMul" else 1)
        output = builder.quantize(numbers, float(scale), int(random.choice([0, 11, 128])))
        return Layer(builder.build(output), builder.feeds())

    return draw


def single(kind: str, shape: Sequence[int], *, scale: float | None = None, **attributes: Any) -> Draw:
    """An operator of one tensor between two QuantizeLinear."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        numbers = builder.node(kind, [builder.dequantize(builder.input(shape))], **attributes)
        output = builder.quantize(numbers, scale or random.uniform(0.01, 0.05), int(random.choice([0, 11, 128])))
        return Layer(builder.build(output), builder.feeds())

    return draw


def on_codes(kind: str, shape: Sequence[int], **attributes: Any) -> Draw:
    """An operator that works on codes themselves, such as MaxPool."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        names = [builder.input(shape)]
        if kind == "Resize":
            names += ["", builder.constant(np.asarray([1, 1, 2, 2], np.float32))]
        return Layer(builder.build(builder.node(kind, names, **attributes)), builder.feeds())

    return draw


def concatenation(shape: Sequence[int], count: int) -> Draw:
    """Several tensors of different scales side by side."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        parts = [builder.dequantize(builder.input(shape)) for _ in range(count)]
        output = builder.quantize(builder.node("Concat", parts, axis=1), random.uniform(0.02, 0.05), 5)
        return Layer(builder.build(output), builder.feeds())

    return draw


def softmax(shape: Sequence[int]) -> Draw:
    """Softmax of float32 numbers, as attention has it: its input is no quantized tensor."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        scaled = builder.node("Mul", [builder.dequantize(builder.input(shape)), builder.constant(np.float32(2.5))])
        output = builder.quantize(builder.node("Softmax", [scaled], axis=-1), 1 / 255)
        return Layer(builder.build(output), builder.feeds())

    return draw


def layer_normalization(shape: Sequence[int]) -> Draw:
    """LayerNormalization over the last axis."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        factors = [random.uniform(0.5, 1.5, shape[-1]), random.normal(0, 0.3, shape[-1])]
        names = [builder.constant(factor.astype(np.float32)) for factor in factors]
        given = builder.dequantize(builder.input(shape))
        output = builder.quantize(builder.node("LayerNormalization", [given, *names], axis=-1), 0.03, 128)
        return Layer(builder.build(output), builder.feeds())

    return draw


def gaussian_unit(shape: Sequence[int]) -> Draw:
    """GELU, spelled out with Erf as torch exports it, of a float32 sum."""

    def draw(random: np.random.Generator, _: str) -> Layer:
        builder = GraphBuilder(random)
        numbers = builder.dequantize(builder.input(shape, zero_point=128))
        erf = builder.node("Erf", [builder.node("Div", [numbers, builder.constant(np.float32(np.sqrt(2.0)))])])
        raised = builder.node("Add", [erf, builder.constant(np.float32(1))])
        halved = builder.node("Mul", [builder.node("Mul", [numbers, raised]), builder.constant(np.float32(0.5))])
        return Layer(builder.build(builder.quantize(halved, 0.02, 10)), builder.feeds())

    return draw


EXACT: Mapping[str, Sequence[Draw]] = {
    "convolution 3x3": (convolution(64, 64, 28, 3), convolution(64, 64, 28, 3, top=15)),
    "convolution 1x1": (convolution(128, 64, 28, 1), convolution(64, 128, 28, 1, stride=2)),
    "convolution strided": (convolution(32, 64, 56, 3, stride=2), convolution(3, 32, 56, 7, stride=2)),
    "convolution depthwise": (convolution(96, 96, 28, 3, groups=96), convolution(64, 64, 28, 3, stride=2, groups=64)),
    "convolution grouped": (convolution(64, 128, 28, 3, groups=4), convolution(32, 64, 14, 3, groups=32)),
    "convolution odd channels": (convolution(33, 17, 29, 3), convolution(7, 65, 13, 1), convolution(5, 3, 9, 5)),
    "convolution batch": (convolution(16, 24, 17, 3, batch=3),),
    "Gemm": (linear(197, 192, 576), linear(1, 512, 1000), linear(65, 33, 17)),
    "Gemm to float": (linear(197, 192, 192, as_float=True),),
    "matmul": (joint("MatMul", (3, 197, 64), (3, 64, 197)), joint("MatMul", (1, 3, 65, 65), (1, 3, 65, 32))),
    "add": (joint("Add", (1, 64, 56, 56)), joint("Add", (2, 197, 192), (1, 197, 192))),
    "multiply": (joint("Mul", (1, 64, 28, 28)),),
    "average pool": (
        single("AveragePool", (1, 64, 28, 28), kernel_shape=[2, 2], strides=[2, 2]),
        single("AveragePool", (1, 64, 28, 28), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        single("AveragePool", (1, 9, 15, 15), kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1],
               count_include_pad=1),
    ),
    "global pool": (single("GlobalAveragePool", (8, 512, 7, 7)), single("GlobalAveragePool", (2, 65, 5, 9))),
    "max pool": (on_codes("MaxPool", (1, 64, 56, 56), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),),
    "concat": (concatenation((1, 32, 28, 28), 3),),
    "resize": (
        on_codes("Resize", (1, 32, 14, 14), mode="nearest", coordinate_transformation_mode="asymmetric",
                 nearest_mode="floor"),
    ),
}
"""Layer types whose every output must be equal, and graphs that have them."""

CLOSE: Mapping[str, Sequence[Draw]] = {
    "softmax": (softmax((3, 197, 197)),),
    "layer norm": (layer_normalization((1, 197, 192)),),
    "gelu": (gaussian_unit((1, 197, 768)),),
    "sigmoid": (single("Sigmoid", (1, 64, 28, 28), scale=1 / 255),),
}
"""Layer types with float32 inside; outputs may differ by one."""
