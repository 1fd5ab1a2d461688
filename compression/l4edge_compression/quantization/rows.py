"""Which row of a layer gets which number format: RMSMP's and ILMPQ's assignment.

In every layer, the same shares of rows get a low format (powers of two), a middle one (fixed point of 4 bits) and a
high one (fixed point of 8 bits). RMSMP (Chang et al., ICCV 2021): the rows that matter most get the high format; of the
others, those of low variance get powers of two. How counts are rounded and how few rows are treated is this project's
own choice; so is :func:`row_spreads`, which keeps the rule meaningful where every row has its own scale.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Literal

import torch

from l4edge_compression.quantization.expectation import crossover
from l4edge_compression.quantization.formats import level_set
from l4edge_compression.quantization.scales import as_rows
from l4edge_perception.errors import InputError

LOW, MIDDLE, HIGH = 0, 1, 2
"""What an assignment holds: index into (low, middle, high) formats."""

TOLERANCE = 1e-6
Rule = Literal["ratio", "crossover"]
Shares = tuple[float, float, float]


class ScaleBlindWarning(UserWarning):
    """The variance rule was asked for where a row's variance says nothing of how well a format fits it."""


def shares_of(ratio: Sequence[float], where: str = "ratio") -> Shares:
    """Return a ratio (low, middle, high) as shares that sum to 1.

    Args:
        ratio: three numbers that sum to 100 (percent) or to 1.
        where: the field's name, for messages.

    Raises:
        InputError: not three finite numbers from 0 on, or another sum.
    """
    given = list(ratio)
    if len(given) != 3 or any(not isinstance(share, int | float) or isinstance(share, bool) for share in given):
        raise InputError(f"{where}: {given} is not three numbers; give the shares of (low, middle, high) rows")
    if any(not math.isfinite(share) or share < 0 for share in given):
        raise InputError(f"{where}: {given} has a share that is negative or not finite; shares are from 0 on")
    total = math.fsum(given)
    for whole in (1.0, 100.0):
        if abs(total - whole) <= TOLERANCE * whole:
            low, middle, high = (share / total for share in given)
            return low, middle, high
    raise InputError(f"{where}: {given} sums to {total:g}; make it 100 (percent) or 1")


def row_counts(
    rows: int, ratio: Sequence[float], strict: bool = False, where: str = "ratio"
) -> tuple[int, int, int]:
    """Return how many rows of a layer get the low, the middle and the high format; together all of them.

    The high format gets its share rounded (halves up) but at least one row, then the low format its share rounded, but
    no more than are left; the middle one gets what is left. A layer with so few rows that a share comes to less than
    half a row loses that share (but not the high one), unless ``strict``. 64 rows at 65:30:5 give (42, 19, 3).

    Raises:
        InputError: the ratio is unusable, there are no rows, or ``strict`` and a share above 0 comes to less than half
            a row or to none.
    """
    low, middle, high = shares_of(ratio, where)
    if rows < 1:
        raise InputError(f"{where}: a layer of {rows} rows cannot be shared out; exclude it")
    highs = max(1, _rounded(high * rows)) if high > 0 else 0
    # With no middle share the low one takes all the rest, not its own rounding.
    lows = rows - highs if middle == 0 and low > 0 else min(_rounded(low * rows), rows - highs)
    if middle == 0 and low == 0:
        highs = rows
    counts = (lows, rows - lows - highs, highs)
    if strict:
        for name, share, count in zip(("low", "middle", "high"), (low, middle, high), counts, strict=True):
            if share > 0 and (count == 0 or share * rows < 0.5):
                raise InputError(
                    f"{where}: {rows} rows are too few for a share of {share:.3g} {name} rows; "
                    "exclude the layer, or allow few rows"
                )
    return counts


def _rounded(number: float) -> int:
    # 1e-9: shares are quotients, and what was meant as a half shall be one.
    return math.floor(number + 0.5 + 1e-9)


def row_spreads(weight: torch.Tensor, scales: torch.Tensor | None = None, name: str = "weight") -> torch.Tensor:
    """Return the standard deviation of each row, in units of its scale where scales are given.

    With one scale for the layer both give the same order, that of the variances. With a scale for each row only the
    latter says which rows suit powers of two: it does not change when a row is multiplied by a number.

    Args:
        weight: (rows, ...).
        scales: (rows,) alpha of each row, or None.
        name: of the layer, for messages.

    Returns:
        (rows,) float64.

    Raises:
        InputError: the weight is empty or not finite.
    """
    spreads = as_rows(weight, name).double().std(dim=1, correction=0)
    return spreads if scales is None else spreads / scales.double()


def warn_if_scale_blind(granularity: str, where: str = "granularity") -> None:
    """Warn when rows are to be chosen by plain variance although each has a scale of its own."""
    if granularity == "row":
        warnings.warn(
            f"{where}: with a scale for each row, a row's variance does not say which format fits it; "
            "share the scale in the layer, or choose by spreads in units of the scale",
            ScaleBlindWarning, stacklevel=3,
        )


def assign_rows(
    scores: torch.Tensor,
    spreads: torch.Tensor,
    ratio: Sequence[float],
    rule: Rule = "ratio",
    scales: torch.Tensor | None = None,
    strict: bool = False,
    where: str = "ratio",
) -> torch.Tensor:
    """Return which format each row of a layer gets.

    Args:
        scores: (rows,) what a row's precision is worth; the highest get the high format.
        spreads: (rows,) from :func:`row_spreads`; of the other rows, those of the least spread get the low format.
        ratio: shares of (low, middle, high) rows.
        rule: ``ratio`` fills the shares; ``crossover`` gives the low format to exactly those rows in which powers of
            two have less error than fixed point, wherever that ends, and keeps the ratio of high rows alone.
        scales: (rows,) alpha, for ``crossover`` with spreads that are not yet in units of the scale.
        strict: see :func:`row_counts`.
        where: the layer's name, for messages.

    Returns:
        (rows,) int64 of :data:`LOW`, :data:`MIDDLE`, :data:`HIGH`. Of equal rows the first come first: among high
        rows, then among low ones.

    Raises:
        InputError: unusable ratio, scores or spreads that are not finite or not one for each row.
    """
    count = len(scores)
    lows, _, highs = row_counts(count, ratio, strict, where)
    for name, values in (("scores", scores), ("spreads", spreads)):
        if values.shape != (count,) or not bool(torch.isfinite(values).all()):
            raise InputError(f"{where}: {name} of rows must be {count} finite numbers; check the weights and the data")
    spreads = spreads.to(scores.device)
    assignment = torch.full((count,), MIDDLE, dtype=torch.int64, device=scores.device)
    order = torch.sort(scores.double(), descending=True, stable=True).indices
    assignment[order[:highs]] = HIGH
    rest = order[highs:].sort().values
    if rule == "crossover":
        relative = spreads.double() if scales is None else spreads.double() / scales.to(spreads)
        assignment[rest[prefers_power_of_two(relative[rest])]] = LOW
    else:
        assignment[rest[torch.sort(spreads[rest].double(), stable=True).indices[:lows]]] = LOW
    return assignment


@functools.lru_cache(maxsize=8)
def power_of_two_threshold(low: str = "pot4", middle: str = "fixed4") -> float:
    """Return the alpha / sigma above which a normal row has less error in powers of two than in fixed point."""
    return crossover(level_set(low), level_set(middle))


def prefers_power_of_two(relative_spreads: torch.Tensor, low: str = "pot4", middle: str = "fixed4") -> torch.Tensor:
    """Return for each row whether powers of two fit better: whether alpha / sigma is above the threshold.

    Args:
        relative_spreads: sigma / alpha.
        low: format of powers of two.
        middle: format of fixed point.

    Returns:
        Booleans of the same shape.
    """
    return relative_spreads.double() * power_of_two_threshold(low, middle) < 1
