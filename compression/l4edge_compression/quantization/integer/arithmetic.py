"""The formulas of quantized operators, in float32 with one rounding where the processor rounds once.

They were found by comparing with onnxruntime 1.31.1 on x86 processors with AVX2 or more; docs/integer_semantics.md
lists them. ``round`` is round half to even everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

CODES = 256
"""How many codes an 8-bit tensor has."""


def fused_multiply_add(first: Array, second: Array, third: Array) -> Array:
    """First * second + third in float32, rounded once, as the processor's instruction does it.

    The product of two float32 is exact in float64. The sum need not be, and rounding it twice may err; so the first
    rounding is to odd (Boldo and Melquiond, IEEE Transactions on Computers 2008), after which the second is right.
    """
    product = np.asarray(first, np.float64) * np.asarray(second, np.float64)
    added = np.asarray(third, np.float64)
    total = np.asarray(product + added)
    part = total - product
    error = (product - (total - part)) + (added - part)
    bits = total.view(np.int64)
    inexact_and_even = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(inexact_and_even, np.nextafter(total, toward), total).astype(np.float32)


def saturate(numbers: Array, kind: Any) -> Array:
    """Whole numbers as codes of an integer type; what is beyond its range becomes its end."""
    limits = np.iinfo(kind)
    return np.clip(numbers, limits.min, limits.max).astype(kind)


def quantize(numbers: Array, scale: Array, zero_point: Array) -> Array:
    """QuantizeLinear: round(numbers / scale) + zero_point, a float32 division, saturated to the zero point's type."""
    zero_point = np.asarray(zero_point)
    quotient = np.rint(np.asarray(numbers, np.float32) / np.asarray(scale, np.float32))
    return saturate(quotient + zero_point.astype(np.float32), zero_point.dtype)


def dequantize(codes: Array, scale: Array, zero_point: Array) -> Array:
    """DequantizeLinear: float32(codes - zero_point) * scale."""
    difference = codes.astype(np.int64) - np.asarray(zero_point, np.int64)
    return difference.astype(np.float32) * np.asarray(scale, np.float32)


def requantize(accumulators: Array, input_scale: Array, output_scale: Array, zero_point: Array) -> Array:
    """QLinearConv, QLinearMatMul, QGemm: round(float32(sum) * (input_scale / output_scale)) + zero_point.

    Args:
        accumulators: whole numbers, bias included.
        input_scale: product of the scales of both factors, float32, of a shape that broadcasts.
        output_scale, zero_point: of the result.
    """
    zero_point = np.asarray(zero_point)
    ratio = np.asarray(input_scale, np.float32) / np.asarray(output_scale, np.float32)
    scaled = np.rint(accumulators.astype(np.float32) * ratio)
    return saturate(scaled + zero_point.astype(np.float32), zero_point.dtype)


def addition_table(
    first_scale: Any, first_zero: int, second_scale: Any, second_zero: int, scale: Any, zero_point: Array
) -> Array:
    """QLinearAdd for all pairs of 8-bit codes: round(fma(a, r_a, fma(b, r_b, c))).

    r_a and r_b are the inputs' scales over the output's; c is zero_point - fma(r_a, zero_a, r_b * zero_b). The zero
    point is inside the rounding.

    Returns:
        (256, 256) codes; row the first input's code, column the second's, both as their unsigned bytes.
    """
    zero_point = np.asarray(zero_point)
    first_ratio = np.float32(first_scale) / np.float32(scale)
    second_ratio = np.float32(second_scale) / np.float32(scale)
    shift = fused_multiply_add(first_ratio, np.float32(first_zero), second_ratio * np.float32(second_zero))
    constant = zero_point.astype(np.float32) - shift
    codes = _codes(zero_point.dtype)
    inner = fused_multiply_add(codes, second_ratio, constant)
    return saturate(np.rint(fused_multiply_add(codes[:, None], first_ratio, inner[None, :])), zero_point.dtype)


def product_table(
    first_scale: Any, first_zero: int, second_scale: Any, second_zero: int, scale: Any, zero_point: Array
) -> Array:
    """QLinearMul for all pairs of 8-bit codes: round((a - zero_a) * (b - zero_b) * (s_a * s_b / s_y) + zero_point)."""
    zero_point = np.asarray(zero_point)
    ratio = np.float32(first_scale) * np.float32(second_scale) / np.float32(scale)
    codes = _codes(zero_point.dtype)
    product = (codes - np.float32(first_zero))[:, None] * (codes - np.float32(second_zero))[None, :]
    return saturate(np.rint(product * ratio + zero_point.astype(np.float32)), zero_point.dtype)


def look_up_pairs(table: Array, first: Array, second: Array) -> Array:
    """Entries of a table of pairs for two tensors of codes that broadcast."""
    return table[first.view(np.uint8), second.view(np.uint8)]


def global_average(sums: Array, count: int, input_scale: Any, output_scale: Any, zero_point: Array) -> Array:
    """QLinearGlobalAveragePool: round(float32(sum) * (s_x / (s_y * count))) + zero_point; sums without zero point."""
    divisor = np.float32(output_scale) * np.float32(count)
    return requantize(sums, np.float32(input_scale), divisor, zero_point)


def average(sums: Array, counts: Array, output_scale: Any, zero_point: Array) -> Array:
    """QLinearAveragePool: round(sum / count / s_y + zero_point).

    Args:
        sums: of dequantized numbers, added in float32 in the order of the window.
        counts: how many numbers each sum has, float32.
        output_scale, zero_point: of the result; the zero point is inside the rounding.
    """
    zero_point = np.asarray(zero_point)
    scaled = sums / counts / np.float32(output_scale) + zero_point.astype(np.float32)
    return saturate(np.rint(scaled), zero_point.dtype)


def _codes(kind: Any) -> Array:
    """All codes of an 8-bit type as float32, in the order of their unsigned bytes."""
    return np.arange(CODES, dtype=np.uint8).view(kind).astype(np.float32)
