"""A statically quantized graph in torch: whole numbers between quantizers, float32 elsewhere.

Products and sums of codes are exact (whole numbers in float64), and what follows them keeps to the formulas of
docs/integer_semantics.md, so that convolutions, products and additions give the codes that onnxruntime gives. Float
operators between quantizers (softmax, normalization) are those of torch; they can differ from onnxruntime's in the last
bit, and a code behind them by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from l4edge_compression.defense.attacks.graphs import OPERATIONS, GraphNetwork, Operation
from l4edge_compression.quantization.integer import arithmetic

EIGHT_BITS = (torch.uint8, torch.int8)


@dataclass(frozen=True)
class Scaled:
    """A dequantized tensor, (codes - zero) * scale; scale and zero are one number or one per index of ``axis``."""

    codes: Tensor
    scale: Tensor
    zero: Tensor
    axis: int

    @property
    def single(self) -> bool:
        """Whether one scale holds for the whole tensor."""
        return self.scale.numel() == 1

    def along(self, values: Tensor) -> Tensor:
        """Scale or zero in a shape that broadcasts over the codes."""
        shape = [1] * self.codes.ndim
        if not self.single:
            shape[self.axis] = -1
        return values.reshape(shape)

    def whole(self) -> Tensor:
        """Codes less the zero point, as float64, which holds every sum of them."""
        return self.codes.double() - self.along(self.zero).double()

    def numbers(self) -> Tensor:
        """The float32 numbers."""
        return self.whole().float() * self.along(self.scale)


@dataclass(frozen=True)
class Sums:
    """Exact sums of products of codes (float64), of which one unit is worth ``scale`` (broadcasts)."""

    sums: Tensor
    scale: Tensor

    def numbers(self) -> Tensor:
        """The float32 numbers."""
        return self.sums.float() * self.scale

    def quantized(self, scale: Tensor, zero: Tensor) -> Tensor:
        """Codes of another scale."""
        return _saturated(torch.round(self.sums.float() * (self.scale / scale)) + zero, zero.dtype)


@dataclass(frozen=True)
class Added:
    """Two tensors of codes to be added."""

    first: Scaled
    second: Scaled

    def numbers(self) -> Tensor:
        """The float32 numbers."""
        return self.first.numbers() + self.second.numbers()

    def quantized(self, scale: Tensor, zero: Tensor) -> Tensor:
        """Codes of another scale, from a table of all pairs of codes."""
        parts = [(each.scale.reshape(()).numpy(), int(each.zero.reshape(()))) for each in (self.first, self.second)]
        table = torch.from_numpy(arithmetic.addition_table(*parts[0], *parts[1], scale.numpy(), zero.numpy()))
        first, second = (each.codes.view(torch.uint8).long() for each in (self.first, self.second))
        return table[first, second]


def numbers(value: Any) -> Any:
    """Any value as a plain tensor; what is none stays."""
    return value.numbers() if isinstance(value, (Scaled, Sums, Added)) else value


class IntegerNetwork(GraphNetwork):
    """A graph with QuantizeLinear and DequantizeLinear, run on torch as the integers that it stands for.

    Args:
        graph: content of an ONNX file, quantized by ``onnxruntime.quantization.quantize_static`` as QDQ.

    Raises:
        InputError: it holds an operation that is not known here.
    """

    @property
    def operations(self) -> dict[str, Operation]:
        """What can be read: what GraphNetwork reads, on numbers, and quantized operators."""
        return {**{name: _plain(operation) for name, operation in OPERATIONS.items()}, **QUANTIZED}

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The graph's inputs, in order, to its output or outputs, float32."""
        found = super().forward(*tensors)
        return tuple(numbers(each) for each in found) if isinstance(found, tuple) else numbers(found)


def _plain(operation: Operation) -> Operation:
    return lambda given, how: operation([numbers(each) for each in given], how)


def _saturated(values: Tensor, kind: torch.dtype) -> Tensor:
    limits = torch.iinfo(kind)
    return values.clamp(limits.min, limits.max).to(kind)


def _dequantized(given: Sequence[Any], how: dict[str, Any]) -> Scaled:
    codes, scale = given[0], given[1]
    zero = given[2] if len(given) > 2 else torch.zeros_like(scale, dtype=codes.dtype)
    return Scaled(codes, scale, zero, int(how.get("axis", 1)) % max(codes.ndim, 1))


def _quantized(given: Sequence[Any], _how: dict[str, Any]) -> Tensor:
    value, scale, zero = given
    if isinstance(value, (Sums, Added)):
        return value.quantized(scale, zero)
    return _saturated(torch.round(numbers(value) / scale) + zero, zero.dtype)


def _whole_bias(bias: Any, scale: Tensor) -> Tensor | None:
    """The int32 codes of a bias if it counts in the units of the sums, else None."""
    fits = isinstance(bias, Scaled) and bias.codes.dtype == torch.int32 and torch.equal(
        bias.scale.reshape(-1), scale.reshape(-1)
    )
    return bias.whole() if fits else None


def _factors(given: Sequence[Any]) -> tuple[Scaled, Scaled] | None:
    first, second = given[:2]
    both = isinstance(first, Scaled) and isinstance(second, Scaled)
    return (first, second) if both and first.single else None


def _convolution(given: Sequence[Any], how: dict[str, Any]) -> Any:
    factors = _factors(given)
    if factors is None or not (factors[1].single or factors[1].axis == 0):
        return _plain(OPERATIONS["Conv"])(given, how)
    image, weight = factors
    scale = image.scale.reshape(()) * weight.scale.reshape(-1)
    bias = None
    if len(given) > 2:
        bias = _whole_bias(given[2], scale)
        if bias is None:
            return _plain(OPERATIONS["Conv"])(given, how)
    sums = OPERATIONS["Conv"]([image.whole(), weight.whole(), bias], how)
    return Sums(sums, scale.reshape(-1, 1, 1))


def _general_product(given: Sequence[Any], how: dict[str, Any]) -> Any:
    factors = _factors(given)
    transposed = bool(how.get("transB", 0))
    other = how.get("alpha", 1.0) != 1.0 or how.get("beta", 1.0) != 1.0 or how.get("transA", 0)
    if factors is None or other or not (factors[1].single or factors[1].axis == (0 if transposed else 1)):
        return _plain(OPERATIONS["Gemm"])(given, how)
    scale = factors[0].scale.reshape(()) * factors[1].scale.reshape(-1)
    bias = _whole_bias(given[2], scale) if len(given) > 2 else torch.zeros(())
    if bias is None:
        return _plain(OPERATIONS["Gemm"])(given, how)
    weight = factors[1].whole()
    return Sums(factors[0].whole() @ (weight.T if transposed else weight) + bias, scale)


def _product(given: Sequence[Any], how: dict[str, Any]) -> Any:
    factors = _factors(given)
    if factors is None or not (factors[1].single or factors[1].axis == factors[1].codes.ndim - 1):
        return _plain(OPERATIONS["MatMul"])(given, how)
    scale = factors[0].scale.reshape(()) * factors[1].scale.reshape(-1)
    return Sums(factors[0].whole() @ factors[1].whole(), scale)


def _addition(given: Sequence[Any], how: dict[str, Any]) -> Any:
    factors = _factors(given)
    alike = factors is not None and factors[1].single and factors[0].codes.dtype == factors[1].codes.dtype
    if factors is None or not alike or factors[0].codes.dtype not in EIGHT_BITS:
        return _plain(OPERATIONS["Add"])(given, how)
    return Added(*factors)


def _moved(name: str) -> Callable[[Sequence[Any], dict[str, Any]], Any]:
    """An operation that keeps codes what they are."""

    def move(given: Sequence[Any], how: dict[str, Any]) -> Any:
        value = given[0]
        if isinstance(value, Scaled) and value.single:
            return Scaled(OPERATIONS[name]([value.codes, *given[1:]], how), value.scale, value.zero, 0)
        return _plain(OPERATIONS[name])(given, how)

    return move


def _rectified(given: Sequence[Any], how: dict[str, Any]) -> Any:
    value = given[0]
    if isinstance(value, Sums):
        return Sums(functional.relu(value.sums), value.scale)
    if isinstance(value, Scaled) and value.single:
        return Scaled(torch.maximum(value.codes, value.zero.reshape(())), value.scale, value.zero, 0)
    return _plain(OPERATIONS["Relu"])(given, how)


QUANTIZED: dict[str, Operation] = {
    "Add": _addition,
    "Conv": _convolution,
    "DequantizeLinear": _dequantized,
    "Flatten": _moved("Flatten"),
    "Gemm": _general_product,
    "MatMul": _product,
    "QuantizeLinear": _quantized,
    "Relu": _rectified,
    "Reshape": _moved("Reshape"),
    "Transpose": _moved("Transpose"),
}
"""Operators that keep to whole numbers where they can, by the operator's name in ONNX."""
