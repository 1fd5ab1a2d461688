"""The scale alpha of each row of a weight whose rows have different formats, by any of the rules."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from l4edge_compression.quantization.formats import LevelSet, Rounding
from l4edge_compression.quantization.scales import as_rows, choose_scales, positive

ScaleRule = Literal["absmax", "mse", "learned", "mean", "aligned"]
"""Largest magnitude; least squared error; learned by gradient; mean magnitude (binary); ESB's aligner."""


def row_scales(
    weight: Tensor,
    formats: tuple[LevelSet, ...],
    assignment: Tensor,
    rule: ScaleRule,
    granularity: Literal["layer", "row"],
    rounding: Rounding = "nearest",
    aligned: float | None = None,
    name: str = "weight",
) -> Tensor:
    """Return (O,) float32 the value of the largest level in each row.

    Args:
        weight: (O, ...).
        formats, assignment: the formats, and (O,) which of them each row has.
        rule: how to choose; ``learned`` starts at the least squared error, and so does ``aligned`` without a number.
        granularity: one alpha for the layer (repeated), or one per row.
        rounding: of sets of powers of two.
        aligned: for the rule of that name, the largest level in standard deviations of the tensor or row.
        name: of the layer, for messages.

    Raises:
        InputError: the weight is empty or not finite.
    """
    if rule == "mean":
        rows = as_rows(weight, name).abs().mean(1)
        rows = rows.mean().expand_as(rows) if granularity == "layer" else rows
        return positive(rows, formats[0]).float()
    if rule == "aligned" and aligned is not None:
        rows = as_rows(weight, name)
        spread = rows.std(correction=0).expand(len(rows)) if granularity == "layer" else rows.std(1, correction=0)
        return positive(spread * aligned, formats[0]).float()
    method: Literal["absmax", "mse"] = "absmax" if rule == "absmax" else "mse"
    return choose_scales(weight, formats, assignment.to(torch.long), granularity, method, rounding, name).float()
