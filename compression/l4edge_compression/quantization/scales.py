"""Scales of rows: where the largest level of each row's format lies.

A row is an output channel of a convolution or an output neuron of a linear layer. Its scale alpha is the value that
the largest integer of its format stands for, so ``step = alpha / largest``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from l4edge_compression.quantization.formats import LevelSet, Rounding, boundaries, project
from l4edge_perception.errors import InputError

Granularity = Literal["row", "layer"]
Method = Literal["absmax", "mse"]

LEAST_SCALE = 2.0**-40
"""The scale of a row of zeros in a format without zero: its levels are nothing beside any real row's."""

CANDIDATES = 64
GREATEST_SHARE = 1.3
"""The largest scale tried, as a share of the largest magnitude: powers of two may do best with it beyond."""

LEAST_SHARE = 0.8
"""The smallest scale tried, as a share of the root mean square; one outlier among many numbers is no reason to stop at
a share of the largest magnitude."""

REFINEMENTS = 4
BOUNDARIES_AT_ONCE = 4_000_000


def as_rows(weight: torch.Tensor, name: str = "weight") -> torch.Tensor:
    """Return a weight as (rows, numbers per row), detached, float32 or float64.

    Raises:
        InputError: the weight is empty, or some of it is not finite.
    """
    rows = weight.detach().reshape(weight.shape[0], -1) if weight.dim() else weight.detach().reshape(1, 1)
    if not rows.numel():
        raise InputError(f"{name}: has no numbers (shape {tuple(weight.shape)}); remove or exclude the layer")
    if rows.dtype not in {torch.float32, torch.float64}:
        rows = rows.float()
    broken = int((~torch.isfinite(rows)).sum())
    if broken:
        raise InputError(
            f"{name}: {broken} of {rows.numel()} weights are not finite; train again, or load another checkpoint"
        )
    return rows


def choose_scales(
    weight: torch.Tensor,
    formats: Sequence[LevelSet],
    assignment: torch.Tensor,
    granularity: Granularity = "row",
    method: Method = "absmax",
    rounding: Rounding = "nearest",
    name: str = "weight",
) -> torch.Tensor:
    """Return alpha for each row of a layer whose rows have different formats.

    Args:
        weight: (rows, ...).
        formats: what ``assignment`` counts through.
        assignment: (rows,) index into ``formats``.
        granularity: one scale for each ``row``, or one for the ``layer``, repeated.
        method: ``absmax``, the largest magnitude (FILM-QNN, section 3.1), or ``mse``, the least squared error.
        rounding: how powers of two round; other formats round to the nearest level.
        name: of the layer, for messages.

    Returns:
        (rows,) of the weight's kind (at least float32), positive.

    Raises:
        InputError: the weight is empty or not finite.
    """
    rows = as_rows(weight, name)
    groups = [
        (levels, torch.nonzero(assignment == index).flatten())
        for index, levels in enumerate(formats)
        if bool((assignment == index).any())
    ]
    if granularity == "layer":
        if method == "absmax":
            alpha = absmax_scales(rows.reshape(1, -1))
        else:
            alpha = _shared_scale([(levels, rows[members].reshape(1, -1)) for levels, members in groups], rounding)
        if not bool(rows.any()):
            alpha = torch.ones_like(alpha)
        return alpha.expand(len(rows)).clone()
    scales = rows.new_empty(len(rows))
    for levels, members in groups:
        chosen = rows[members]
        scales[members] = (
            positive(absmax_scales(chosen), levels) if method == "absmax"
            else least_error_scales(chosen, levels, _rounding_of(levels, rounding))
        )
    return scales


def absmax_scales(rows: torch.Tensor) -> torch.Tensor:
    """Return the largest magnitude of each row: (rows, n) to (rows,)."""
    return rows.abs().amax(dim=1)


def positive(scales: torch.Tensor, levels: LevelSet) -> torch.Tensor:
    """Return scales with those of zero rows made usable: 1 where zero is a level, tiny where it is not."""
    return torch.where(scales > 0, scales, torch.full_like(scales, 1.0 if levels.has_zero else LEAST_SCALE))


def least_error_scales(rows: torch.Tensor, levels: LevelSet, rounding: Rounding = "nearest") -> torch.Tensor:
    """Return for each row the alpha with the least squared error.

    A grid of alphas is tried by sums over each sorted row, which cost as much as the levels, not as the numbers; then
    alpha and the codes are made optimal for each other in turn, which never increases the error.

    Args:
        rows: (rows, n) finite.
        levels: the rows' format.
        rounding: see :func:`~l4edge_compression.quantization.formats.project`.

    Returns:
        (rows,) positive scales.
    """
    largest = absmax_scales(rows)
    sums = RowSums.of(rows)
    grid = _grid(largest, (sums.energy / rows.shape[1]).sqrt())
    scales = grid.gather(1, sums.errors(levels, grid, rounding).argmin(dim=1, keepdim=True)).squeeze(1)
    return positive(torch.where(largest > 0, _refined(rows, levels, scales, rounding), 0), levels)


def squared_errors(
    rows: torch.Tensor, levels: LevelSet, scales: torch.Tensor, rounding: Rounding = "nearest"
) -> torch.Tensor:
    """Return the summed squared error of each row: (rows, n) with scales (rows,) to (rows,), float64."""
    steps = (scales / levels.largest).double()
    codes = project(levels, rows / scales[:, None], rounding).double()
    return ((rows.double() - codes * steps[:, None]) ** 2).sum(dim=1)


@dataclass(frozen=True)
class RowSums:
    """Sorted magnitudes of rows with their running sums, from which the error of any scale follows.

    Attributes:
        magnitudes: (rows, n) ascending.
        first: (rows, n + 1) running sum of the magnitudes, from 0 on.
        energy: (rows,) sum of squares.
    """

    magnitudes: torch.Tensor
    first: torch.Tensor
    energy: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> RowSums:
        """Sort (rows, n) by magnitude."""
        magnitudes = rows.abs().double().sort(dim=1).values
        first = torch.nn.functional.pad(magnitudes.cumsum(dim=1), (1, 0))
        return cls(magnitudes, first, (magnitudes**2).sum(dim=1))

    def errors(self, levels: LevelSet, scales: torch.Tensor, rounding: Rounding = "nearest") -> torch.Tensor:
        """Return the summed squared error of each row at each of its scales: (rows, candidates) to the same shape."""
        steps = scales.double() / levels.largest
        limits = steps.new_tensor([limit for limit, _ in boundaries(levels, rounding)])
        values = steps.new_tensor(levels.magnitudes)
        at_once = max(1, BOUNDARIES_AT_ONCE // (max(1, len(limits)) * len(steps)))
        return torch.cat([self._errors(part, limits, values) for part in steps.split(at_once, dim=1)], dim=1)

    def _errors(self, steps: torch.Tensor, limits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        rows, candidates = steps.shape
        count = self.magnitudes.shape[1]
        edges = (steps[:, :, None] * limits).reshape(rows, -1)
        ends = torch.searchsorted(self.magnitudes, edges).reshape(rows, candidates, -1)
        ends = torch.nn.functional.pad(ends, (1, 0))
        ends = torch.nn.functional.pad(ends, (0, 1), value=count)
        members = ends.diff(dim=2)
        sums = self.first.gather(1, ends.reshape(rows, -1)).reshape(ends.shape).diff(dim=2)
        along = (sums * values).sum(dim=2)
        own = (members * values**2).sum(dim=2)
        return self.energy[:, None] - 2 * steps * along + steps**2 * own


def _rounding_of(levels: LevelSet, rounding: Rounding) -> Rounding:
    return rounding if levels.power_of_two else "nearest"


def _grid(largest: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Return candidates (rows, candidates) for rows of these largest magnitudes and root mean squares.

    They are spaced evenly in proportion; the largest magnitude itself is one.
    """
    most = torch.where(largest > 0, largest, 1).double()
    least = torch.where(largest > 0, deviation.double() * LEAST_SHARE, 0.5)
    exponents = torch.linspace(0, 1, CANDIDATES, dtype=torch.float64, device=largest.device)
    between = (most * GREATEST_SHARE)[:, None] * (least / (most * GREATEST_SHARE))[:, None] ** exponents
    return torch.cat([most[:, None], between], dim=1)


def _refined(rows: torch.Tensor, levels: LevelSet, scales: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    scales = scales.to(rows.dtype)
    least = squared_errors(rows, levels, scales, rounding)
    for _ in range(REFINEMENTS):
        codes = project(levels, rows / scales[:, None], rounding)
        own = (codes.double() ** 2).sum(dim=1)
        along = (codes.double() * rows.double()).sum(dim=1)
        fitted = torch.where(own > 0, along / own.clamp(min=1) * levels.largest, scales.double()).to(rows.dtype)
        errors = squared_errors(rows, levels, torch.where(fitted > 0, fitted, scales), rounding)
        better = (errors < least) & (fitted > 0)
        if not bool(better.any()):
            break
        scales, least = torch.where(better, fitted, scales), torch.where(better, errors, least)
    return scales


def _shared_scale(groups: list[tuple[LevelSet, torch.Tensor]], rounding: Rounding) -> torch.Tensor:
    """Return the one alpha, (1,), with the least error over all groups of rows, each in its own format."""
    sums = [RowSums.of(rows) for _, rows in groups]
    largest = torch.stack([absmax_scales(rows) for _, rows in groups]).amax(dim=0)
    numbers = sum(rows.shape[1] for _, rows in groups)
    grid = _grid(largest, (torch.stack([each.energy for each in sums]).sum(dim=0) / numbers).sqrt())
    errors = torch.zeros_like(grid)
    for (levels, _), each in zip(groups, sums, strict=True):
        errors += each.errors(levels, grid, _rounding_of(levels, rounding))
    return grid.gather(1, errors.argmin(dim=1, keepdim=True)).squeeze(1).to(groups[0][1].dtype)


def learned_scale_start(rows: torch.Tensor, levels: LevelSet) -> torch.Tensor:
    """Return alpha for each row from which to learn: a step of ``2 mean|w| / sqrt(largest)`` (LSQ, section 2.1).

    Esser et al., "Learned Step Size Quantization", ICLR 2020. (rows, n) to (rows,).
    """
    steps = 2 * rows.abs().mean(dim=1) / math.sqrt(levels.largest)
    return positive(steps * levels.largest, levels)


def learned_scale_factor(numbers: int, largest: int, of: Literal["step", "alpha"] = "alpha") -> float:
    """Return the factor on the gradient of a learned scale (LSQ, section 2.2).

    For a step it is ``1 / sqrt(numbers * largest)``, with the count of numbers that share the step. Where alpha =
    step * largest is learned instead, the factor is larger by largest squared, so that a step of gradient descent
    changes the scale by the same share.
    """
    factor = 1 / math.sqrt(numbers * largest)
    return factor if of == "step" else factor * largest**2


def with_gradient_factor(value: torch.Tensor, factor: float | torch.Tensor) -> torch.Tensor:
    """Return the value itself, with its gradient multiplied by a factor (LSQ, appendix A)."""
    scaled = value * factor
    return value.detach() + scaled - scaled.detach()
