"""The scale alpha of each row of a weight whose rows have different formats."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from l4edge_compression.quantization.formats import LevelSet, Rounding, project

ScaleRule = Literal["absmax", "mse", "learned", "mean", "aligned"]
"""Largest magnitude; least squared error; learned by gradient; mean magnitude (binary); ESB's aligner."""

_SHARES = 80


def row_scales(
    weight: Tensor,
    formats: tuple[LevelSet, ...],
    assignment: Tensor,
    rule: ScaleRule,
    granularity: Literal["layer", "row"],
    rounding: Rounding = "nearest",
) -> Tensor:
    """Return (O,) the value of the largest level in each row; 1 where all weights are zero.

    Args:
        weight: (O, ...).
        formats, assignment: the formats, and (O,) which of them each row has.
        rule: how to choose; ``learned`` is not one of the choices here.
        granularity: one alpha for the layer (repeated), or one per row.
        rounding: of sets of powers of two.
    """
    rows = weight.detach().flatten(1).float()
    largest = rows.abs().amax(1)
    if granularity == "layer":
        largest = largest.max().expand_as(largest)
    if rule == "mean":
        alpha = rows.abs().mean(1)
        alpha = alpha.mean().expand_as(alpha) if granularity == "layer" else alpha
    elif rule == "absmax":
        alpha = largest
    elif rule == "mse":
        alpha = _least_error(rows, formats, assignment, largest, granularity, rounding)
    else:
        raise ValueError(rule)
    return torch.where(alpha > 0, alpha, torch.ones_like(alpha))


def _least_error(
    rows: Tensor,
    formats: tuple[LevelSet, ...],
    assignment: Tensor,
    largest: Tensor,
    granularity: Literal["layer", "row"],
    rounding: Rounding,
) -> Tensor:
    shares = torch.linspace(0.05, 1.0, _SHARES, device=rows.device)
    safe = largest.clamp(min=1e-12)
    errors = torch.zeros(_SHARES, len(rows), device=rows.device)
    for index, levels in enumerate(formats):
        chosen = (assignment == index).nonzero().squeeze(1)
        if not len(chosen):
            continue
        kind: Rounding = rounding if levels.power_of_two and not levels.uniform else "nearest"
        part, scale = rows[chosen], safe[chosen]
        for number, share in enumerate(shares.tolist()):
            alpha = (scale * share)[:, None]
            kept = project(levels, part / alpha, kind) * (alpha / levels.largest)
            errors[number, chosen] = (kept - part).square_().sum(1)
    if granularity == "layer":
        errors = errors.sum(1, keepdim=True).expand_as(errors)
    return largest * shares[errors.argmin(0)]
