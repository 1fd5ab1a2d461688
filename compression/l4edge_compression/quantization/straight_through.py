"""Forward on integers, backward straight through inside the range.

Learned scales as in LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def column(rows: Tensor, like: Tensor) -> Tensor:
    """(O,) as (O, 1, ...) with as many dimensions as ``like``."""
    return rows.reshape(-1, *[1] * (like.dim() - 1))


class Rows(torch.autograd.Function):
    """Weights to levels, computed before; gradients straight through where ``|weight| <= limit``."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, scale: Tensor, levels: Tensor, limit: Tensor, layer_wide: bool, factor: float
    ) -> Tensor:
        """Return the levels; (O, ...) as the weight. ``factor`` multiplies the scale's gradient."""
        ctx.save_for_backward(weight, scale, levels, limit)
        ctx.layer_wide, ctx.factor = layer_wide, factor
        return levels.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and scale."""
        weight, scale, levels, limit = ctx.saved_tensors
        passed = gradients[0] * (weight.abs() <= limit)
        if not ctx.needs_input_grad[1]:
            return passed, None, None, None, None, None
        per_row = ((gradients[0] * levels - passed * weight) / column(scale, weight)).flatten(1).sum(1)
        if ctx.layer_wide:
            per_row = per_row.sum().expand_as(per_row)
        return passed, per_row * ctx.factor, None, None, None, None


class Codes(torch.autograd.Function):
    """Activations to ``scale * clamp(round(x / scale), low, high)``, a learned scale's gradient with it."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scale: Tensor, low: int, high: int, table: Tensor | None, factor: float
    ) -> Tensor:
        """Any shape to the same, codes between low and high."""
        kept = values.div(scale).round_().clamp_(low, high)
        if table is not None:
            kept = table[kept.long()].to(values.dtype)
        output = kept.mul_(scale)
        ctx.save_for_backward(values, scale, output)
        ctx.bounds, ctx.factor = (low, high), factor
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of values and scale."""
        values, scale, output = ctx.saved_tensors
        (gradient,) = gradients
        low, high = ((bound + side) * float(scale) for bound, side in zip(ctx.bounds, (-0.5, 0.5), strict=True))
        passed = torch.ops.aten.hardtanh_backward(gradient, values, low, high)
        if not ctx.needs_input_grad[1]:
            return passed, None, None, None, None, None
        # d(output)/d(scale) is (output - x) / scale inside the range and output / scale outside: two dot products.
        slope = _dot(gradient, output) - _dot(passed, values)
        return passed, slope / scale * ctx.factor, None, None, None, None


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Sum of products, without copies where both lie channels last in memory: copying took a third of the training."""
    if one.dim() == 4 and all(part.is_contiguous(memory_format=torch.channels_last) for part in (one, other)):
        one, other = one.permute(0, 2, 3, 1), other.permute(0, 2, 3, 1)
    return torch.dot(one.flatten(), other.flatten())
