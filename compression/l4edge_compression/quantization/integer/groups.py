"""What lies between DequantizeLinear and QuantizeLinear and runs as integers.

A dequantized tensor is kept as its codes. An operator that has an integer form and whose inputs are all dequantized
answers with a :class:`Group`: it becomes codes where a QuantizeLinear follows, else float32 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from l4edge_compression.quantization.integer import accumulators, arithmetic
from l4edge_compression.quantization.integer.accumulators import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Scaled:
    """A dequantized tensor: (codes - zero_point) * scale.

    Attributes:
        codes: uint8, int8 or int32.
        scale: float32, one number or one per index of ``axis``.
        zero_point: of the codes' type, of the scale's shape.
        axis: of the scale where it is a vector.
    """

    codes: Array
    scale: Array
    zero_point: Array
    axis: int = 1

    def numbers(self) -> Array:
        """The float32 numbers."""
        if self.scale.ndim == 0 or self.scale.size == 1:
            return arithmetic.dequantize(self.codes, self.scale.reshape(()), self.zero_point.reshape(()))
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return arithmetic.dequantize(self.codes, self.scale.reshape(shape), self.zero_point.reshape(shape))

    def whole(self) -> Array:
        """Codes less the zero point, as int32 or int64."""
        kind = np.int64 if self.codes.dtype == np.int32 else np.int32
        if not np.any(self.zero_point):
            return self.codes.astype(kind)
        shape = [1] * self.codes.ndim
        if self.zero_point.size > 1:
            shape[self.axis] = -1
        return self.codes.astype(kind) - self.zero_point.astype(kind).reshape(shape)

    @property
    def single(self) -> bool:
        """Whether one scale holds for the whole tensor."""
        return self.scale.size == 1


@dataclass(frozen=True)
class Group:
    """An operator on dequantized tensors whose result is not yet asked for.

    Attributes:
        quantize: gives the codes for a scale and a zero point.
        numbers: gives float32 numbers.
        accumulators: exact sums with their scale, where there are any; (sums, scale of one).
    """

    quantize: Callable[[Array, Array], Array]
    numbers: Callable[[], Array]
    accumulators: tuple[Array, Array] | None = None


Value = Union["Array", Scaled, Group]


def to_numbers(value: Any) -> Any:
    """Any value as a plain array; None stays None."""
    return value.numbers() if isinstance(value, (Scaled, Group)) else value


def _accumulated(sums: Array, scale: Array) -> Group:
    """A group that ends in exact sums, of which one unit is worth ``scale`` (broadcasts)."""
    return Group(
        lambda output_scale, zero_point: arithmetic.requantize(sums, scale, output_scale, zero_point),
        lambda: sums.astype(np.float32) * scale,
        (sums, scale),
    )


def convolution(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Group | None:
    """Conv of codes by int8 weights with one scale, or one per output channel, and an int32 bias.

    None where weights, bias or scales have another form.
    """
    image, weights = inputs[0], inputs[1]
    if not isinstance(image, Scaled) or not isinstance(weights, Scaled) or not image.single or image.codes.ndim != 4:
        return None
    if not (weights.single or weights.axis == 0):
        return None
    scale = image.scale.reshape(()) * weights.scale
    sums = accumulators.convolve(image.whole(), weights.whole(), window_of(attributes, weights.codes.shape[2:]),
                                 int(attributes.get("group", 1)))
    if len(inputs) > 2 and inputs[2] is not None:
        bias = _whole_bias(inputs[2], scale)
        if bias is None:
            return None
        sums = sums + bias[:, None, None]
    return _accumulated(sums, scale.reshape(-1, 1, 1))


def _whole_bias(bias: Value, scale: Array) -> Array | None:
    """The int32 codes of a bias if it counts in the units of the sums."""
    if not isinstance(bias, Scaled) or bias.codes.dtype != np.int32:
        return None
    return bias.codes.astype(np.int64) if np.array_equal(bias.scale.ravel(), scale.ravel()) else None


def general_product(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Group | None:
    """Gemm with alpha 1, beta 1 of codes (M, K) by weights, (K, N) or with transB (N, K)."""
    first, second = inputs[0], inputs[1]
    if not isinstance(first, Scaled) or not isinstance(second, Scaled) or not first.single:
        return None
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        return None
    transposed = bool(attributes.get("transB", 0))
    if not (second.single or second.axis == (0 if transposed else 1)):
        return None
    factor = second.whole().T if transposed else second.whole()
    scale = first.scale.reshape(()) * second.scale
    sums = accumulators.multiply(first.whole(), factor)
    if len(inputs) > 2 and inputs[2] is not None:
        bias = _whole_bias(inputs[2], scale)
        if bias is None:
            return None
        sums = sums + bias
    return _accumulated(sums, scale)


def product(inputs: Sequence[Value], _attributes: Mapping[str, Any]) -> Group | None:
    """MatMul of two tensors of codes, the second perhaps with one scale per column."""
    first, second = inputs
    if not isinstance(first, Scaled) or not isinstance(second, Scaled) or not first.single:
        return None
    if not (second.single or second.axis % second.codes.ndim == second.codes.ndim - 1):
        return None
    scale = first.scale.reshape(()) * second.scale
    return _accumulated(accumulators.multiply(first.whole(), second.whole()), scale)


def addition(inputs: Sequence[Value], _attributes: Mapping[str, Any]) -> Group | None:
    """Add of two tensors of 8-bit codes."""
    return _pairs(inputs, arithmetic.addition_table, np.add)


def multiplication(inputs: Sequence[Value], _attributes: Mapping[str, Any]) -> Group | None:
    """Mul of two tensors of 8-bit codes."""
    return _pairs(inputs, arithmetic.product_table, np.multiply)


def _pairs(inputs: Sequence[Value], make_table: Callable[..., Array], operation: Callable[..., Any]) -> Group | None:
    first, second = inputs
    if not isinstance(first, Scaled) or not isinstance(second, Scaled) or not (first.single and second.single):
        return None
    if first.codes.dtype != second.codes.dtype or first.codes.itemsize != 1:
        return None
    given = (first.scale.reshape(()), int(first.zero_point.reshape(())),
             second.scale.reshape(()), int(second.zero_point.reshape(())))

    def quantize(scale: Array, zero_point: Array) -> Array:
        return arithmetic.look_up_pairs(make_table(*given, scale, zero_point), first.codes, second.codes)

    return Group(quantize, lambda: operation(first.numbers(), second.numbers()))


def global_average(inputs: Sequence[Value], _attributes: Mapping[str, Any]) -> Group | None:
    """GlobalAveragePool of (N, C, H, W) codes."""
    image = inputs[0]
    if not isinstance(image, Scaled) or not image.single or image.codes.ndim != 4:
        return None
    count = image.codes.shape[2] * image.codes.shape[3]
    sums = image.whole().astype(np.int64).sum(axis=(2, 3), keepdims=True)
    return Group(
        lambda scale, zero_point: arithmetic.global_average(
            sums, count, image.scale.reshape(()), scale, zero_point
        ),
        lambda: image.numbers().astype(np.float64).mean(axis=(2, 3), keepdims=True).astype(np.float32),
        (sums, np.asarray(np.float32(image.scale.reshape(())) / np.float32(count))),
    )


def average(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Group | None:
    """AveragePool of (N, C, H, W) codes."""
    image = inputs[0]
    if not isinstance(image, Scaled) or not image.single or image.codes.ndim != 4:
        return None
    sums, counts = window_sums(image.numbers(), attributes)
    return Group(
        lambda scale, zero_point: arithmetic.average(sums, counts, scale, zero_point),
        lambda: sums / counts,
    )


def window_sums(image: Array, attributes: Mapping[str, Any]) -> tuple[Array, Array]:
    """Sums of an average pool, added in float32 in the order of the window, and how many numbers each has."""
    window = window_of(attributes)
    round_up = bool(attributes.get("ceil_mode", 0))
    sums: Any = np.float32(0)
    for view in window.slices(image, np.float32(0), round_up):
        sums = sums + view
    inside = np.ones((1, 1, *image.shape[2:]), np.float32)
    if attributes.get("count_include_pad", 0):
        inside = np.pad(inside, ((0, 0), (0, 0), window.pads[::2], window.pads[1::2]), constant_values=1)
        window = Window(window.kernel, window.strides, (0, 0, 0, 0), window.dilations)
    counts: Any = np.float32(0)
    for view in window.slices(inside, np.float32(0), round_up):
        counts = counts + view
    return sums, counts


def concatenation(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Group | None:
    """Concat: every input is quantized anew, unless scale and zero point are already the result's."""
    axis = int(attributes["axis"])
    parts = [value for value in inputs if isinstance(value, Scaled) and value.single]
    if len(parts) != len(inputs):
        return None

    def quantize(scale: Array, zero_point: Array) -> Array:
        return np.concatenate([arithmetic.quantize(part.numbers(), scale, zero_point) for part in parts], axis)

    return Group(quantize, lambda: np.concatenate([part.numbers() for part in parts], axis))


def window_of(attributes: Mapping[str, Any], kernel: Sequence[int] = ()) -> Window:
    """The window that a convolution's or pool's attributes describe."""
    size = tuple(attributes.get("kernel_shape", kernel))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ValueError("auto_pad")
    return Window((size[0], size[1]), tuple(attributes.get("strides", (1, 1))), (pads[0], pads[1], pads[2], pads[3]),
                  tuple(attributes.get("dilations", (1, 1))))


GROUPS: dict[str, Callable[[Sequence[Value], Mapping[str, Any]], Group | None]] = {
    "Conv": convolution,
    "Gemm": general_product,
    "MatMul": product,
    "Add": addition,
    "Mul": multiplication,
    "GlobalAveragePool": global_average,
    "AveragePool": average,
    "Concat": concatenation,
}
"""ONNX operators with an integer form."""

EXACT_IN_FLOAT = ("Conv", "Gemm", "MatMul")
"""Groups that stay integer inside even where no QuantizeLinear follows: their sums are exact, then scaled once."""
