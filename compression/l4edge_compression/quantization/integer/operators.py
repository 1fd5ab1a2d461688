"""ONNX operators on plain arrays: what moves codes about, and float32 operators between quantized tensors.

Functions with a series inside (exp, erf, tanh, logarithm, square root, division in softmax and normalization) are
computed in float64 and rounded once; onnxruntime's float32 kernels come within a few units in the last place of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from l4edge_compression.quantization.integer import accumulators
from l4edge_compression.quantization.integer.groups import window_of, window_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Operator = Callable[[Sequence[Any], Mapping[str, Any]], Any]

KINDS = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
"""ONNX element types."""


def _series(function: Callable[[Array], Array]) -> Operator:
    """An elementwise function of one tensor, computed in float64."""
    return lambda inputs, _: function(np.asarray(inputs[0], np.float64)).astype(inputs[0].dtype)


def _plain(function: Callable[..., Any]) -> Operator:
    """A numpy function of all inputs that rounds once by itself."""
    return lambda inputs, _: function(*inputs)


def _division(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    first, second = inputs
    if np.issubdtype(first.dtype, np.integer):
        return np.trunc(first / second).astype(first.dtype)
    return first / second


def axes_of(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Axes from the attribute (before opset 13 or 18) or from the second input."""
    if "axes" in attributes:
        return tuple(attributes["axes"])
    return tuple(int(axis) for axis in inputs[1]) if len(inputs) > 1 and inputs[1] is not None else None


def _reduction(function: Callable[..., Any]) -> Operator:
    def reduce(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
        exact = inputs[0].astype(np.float64) if inputs[0].dtype == np.float32 else inputs[0]
        result = function(exact, axis=axes_of(inputs, attributes), keepdims=bool(attributes.get("keepdims", 1)))
        return np.asarray(result, inputs[0].dtype)

    return reduce


def softmax(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """exp(x - max) / sum of it along an axis."""
    numbers = inputs[0].astype(np.float64)
    axis = int(attributes.get("axis", -1))
    powers = np.exp(numbers - numbers.max(axis=axis, keepdims=True))
    return (powers / powers.sum(axis=axis, keepdims=True)).astype(np.float32)


def layer_normalization(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * factor + shift over the axes from ``axis`` on."""
    numbers = inputs[0].astype(np.float64)
    first = int(attributes.get("axis", -1)) % numbers.ndim
    axes = tuple(range(first, numbers.ndim))
    centred = numbers - numbers.mean(axis=axes, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=axes, keepdims=True) + float(attributes.get("epsilon", 1e-5)))
    result = centred / deviation * inputs[1]
    if len(inputs) > 2 and inputs[2] is not None:
        result = result + inputs[2]
    return result.astype(np.float32)


def _batch_normalization(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    image, gain, shift, mean, variance = (np.asarray(value, np.float64) for value in inputs)
    shape = (-1,) + (1,) * (image.ndim - 2)
    factor = (gain / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))).reshape(shape)
    return ((image - mean.reshape(shape)) * factor + shift.reshape(shape)).astype(np.float32)


def _convolution(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """A convolution in float, for layers that are not quantized."""
    image, weights = inputs[0], inputs[1]
    groups = int(attributes.get("group", 1))
    views = window_of(attributes, weights.shape[2:]).slices(image, np.float32(0))
    rows, columns = views[0].shape[2:]
    matrix = weights.transpose(0, 2, 3, 1).reshape(groups, weights.shape[0] // groups, -1).astype(np.float64)
    patches = np.stack(views, axis=1).astype(np.float64)
    batch, count = patches.shape[:2]
    patches = patches.reshape(batch, count, groups, -1, rows * columns).transpose(0, 2, 1, 3, 4)
    product = matrix @ patches.reshape(batch, groups, -1, rows * columns)
    result = product.reshape(batch, weights.shape[0], rows, columns)
    if len(inputs) > 2 and inputs[2] is not None:
        result = result + inputs[2].reshape(-1, 1, 1)
    return result.astype(np.float32)


def _general_product(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    first = inputs[0].T if attributes.get("transA", 0) else inputs[0]
    second = inputs[1].T if attributes.get("transB", 0) else inputs[1]
    result = float(attributes.get("alpha", 1.0)) * (first.astype(np.float64) @ second.astype(np.float64))
    if len(inputs) > 2 and inputs[2] is not None:
        result = result + float(attributes.get("beta", 1.0)) * inputs[2]
    return result.astype(np.float32)


def _product(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    return (inputs[0].astype(np.float64) @ inputs[1].astype(np.float64)).astype(np.float32)


def _integer_product(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    zeros = [value if value is not None else 0 for value in (*inputs[2:], None, None)][:2]
    factors = [value.astype(np.int64) - zero for value, zero in zip(inputs[:2], zeros, strict=True)]
    return accumulators.multiply(factors[0], factors[1]).astype(np.int32)


def max_pool(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """MaxPool of numbers or of codes; padding never wins."""
    image = inputs[0]
    least = np.iinfo(image.dtype).min if np.issubdtype(image.dtype, np.integer) else -np.inf
    views = window_of(attributes).slices(image, least, bool(attributes.get("ceil_mode", 0)))
    return np.maximum.reduce(views)


def _average_pool(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    sums, counts = window_sums(inputs[0], attributes)
    return sums / counts


def _clip(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    least = attributes.get("min", inputs[1] if len(inputs) > 1 else None)
    most = attributes.get("max", inputs[2] if len(inputs) > 2 else None)
    result = inputs[0]
    result = result if least is None else np.maximum(result, np.asarray(least, result.dtype))
    return result if most is None else np.minimum(result, np.asarray(most, result.dtype))


def _leaky(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    slope = np.float32(attributes.get("alpha", 0.01))
    return np.where(inputs[0] >= 0, inputs[0], inputs[0] * slope)


def _hard_sigmoid(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    slope, offset = np.float32(attributes.get("alpha", 0.2)), np.float32(attributes.get("beta", 0.5))
    return np.clip(inputs[0] * slope + offset, np.float32(0), np.float32(1))


def _hard_swish(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    return inputs[0] * np.clip(inputs[0] * np.float32(1 / 6) + np.float32(0.5), np.float32(0), np.float32(1))


def _gelu(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    numbers = inputs[0].astype(np.float64)
    return (0.5 * numbers * (1 + special.erf(numbers / np.sqrt(2.0)))).astype(np.float32)


def _sigmoid(numbers: Array) -> Array:
    return np.asarray(special.expit(numbers))


FLOAT_OPERATORS: dict[str, Operator] = {
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _division,
    "Pow": lambda inputs, _: np.power(inputs[0].astype(np.float64), inputs[1]).astype(inputs[0].dtype),
    "Neg": _plain(np.negative),
    "Abs": _plain(np.abs),
    "Min": lambda inputs, _: np.minimum.reduce(list(inputs)),
    "Max": lambda inputs, _: np.maximum.reduce(list(inputs)),
    "Round": _plain(np.rint),
    "Floor": _plain(np.floor),
    "Ceil": _plain(np.ceil),
    "Sqrt": _plain(np.sqrt),
    "Reciprocal": lambda inputs, _: np.float32(1) / inputs[0],
    "Exp": _series(np.exp),
    "Log": _series(np.log),
    "Erf": _series(special.erf),
    "Tanh": _series(np.tanh),
    "Sigmoid": _series(_sigmoid),
    "Relu": lambda inputs, _: np.maximum(inputs[0], np.zeros((), inputs[0].dtype)),
    "LeakyRelu": _leaky,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": softmax,
    "LayerNormalization": layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Conv": _convolution,
    "Gemm": _general_product,
    "MatMul": _product,
    "MatMulInteger": _integer_product,
    "MaxPool": max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda inputs, _: inputs[0].astype(np.float64).mean((2, 3), keepdims=True).astype(np.float32),
    "ReduceMean": _reduction(np.mean),
    "ReduceSum": _reduction(np.sum),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
}
"""Operators on numbers; a few, such as MaxPool and Clip, serve codes as well."""
