"""The scale alpha of each row of a weight whose rows have different formats, by any of the rules."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from l4edge_compression.quantization.esb import Reference, aligned_scales, named_format
from l4edge_compression.quantization.formats import LevelSet, Rounding
from l4edge_compression.quantization.scales import as_rows, choose_scales, positive

ScaleRule = Literal["absmax", "mse", "learned", "mean", "aligned"]
"""Largest magnitude; least squared error; learned by gradient; mean magnitude (binary); ESB's aligner."""

_FINE_BITS = 7
"""From here on the least error lies next to the largest magnitude, and the search costs more than it gains."""


def row_scales(
    weight: Tensor,
    formats: tuple[LevelSet, ...],
    assignment: Tensor,
    rule: ScaleRule,
    granularity: Literal["layer", "row"],
    rounding: Rounding = "nearest",
    reference: Reference = "normal",
    name: str = "weight",
) -> Tensor:
    """Return (O,) float32 the value of the largest level in each row.

    Args:
        weight: (O, ...).
        formats, assignment: the formats, and (O,) which of them each row has.
        rule: how to choose; ``learned`` starts at the least squared error, ``aligned`` is for ESB formats only.
        granularity: one alpha for the layer (repeated), or one per row.
        rounding: of sets of powers of two.
        reference: what the rule ``aligned`` aligns with.
        name: of the layer, for messages.

    Raises:
        InputError: the weight is empty or not finite.
    """
    if rule == "mean":
        rows = as_rows(weight, name).abs().mean(1)
        rows = rows.mean().expand_as(rows) if granularity == "layer" else rows
        return positive(rows, formats[0]).float()
    if rule == "aligned":
        rows = as_rows(weight, name)
        whole = rows.reshape(1, -1) if granularity == "layer" else rows
        return aligned_scales(whole, named_format(formats[0].name), reference).expand(len(rows)).float()
    fine = min(levels.bits for levels in formats) >= _FINE_BITS
    method: Literal["absmax", "mse"] = "absmax" if rule == "absmax" or fine else "mse"
    return choose_scales(weight, formats, assignment.to(torch.long), granularity, method, rounding, name).float()
