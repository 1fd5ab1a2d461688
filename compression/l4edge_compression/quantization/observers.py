"""Ranges of activations, watched batch by batch without storing any of them.

A histogram between powers of two takes the values in; when a batch exceeds it, neighbouring bins are merged, so what
was counted stays exact. Scales are then searched on the histogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from l4edge_perception.errors import InputError

Calibration = Literal["mse", "percentile", "absmax"]

HALF_BINS = 4096
"""Bins on either side of zero: 16 or more for each of 256 levels."""

PERCENTILE = 0.999
"""Part of the values that the calibration ``percentile`` keeps inside the range (on each side)."""

_CANDIDATES = 64
_FINEST_SEARCH_BITS = 10  # steps of more bits are narrower than a bin: nothing to be searched


@dataclass(frozen=True)
class Grid:
    """Codes 0..top stand for ``scale * (code - zero_point)``."""

    scale: float
    zero_point: int
    top: int


class RangeObserver:
    """What has been seen of one tensor.

    Attributes:
        low, high: least and greatest value so far.
        count: number of values.
        positive_count, positive_squares: number of values above zero, sum of their squares.
        integral: whether all were whole numbers from 0 to 255, as pixels are.
        histogram: (2 * HALF_BINS,) counts between -limit and limit.
        limit: a power of two.
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.count = 0
        self.positive_count = 0
        self.positive_squares = 0.0
        self.integral = True
        self.limit = 0.0
        self.histogram = torch.zeros(2 * HALF_BINS, dtype=torch.float64)

    @property
    def root_mean_square(self) -> float:
        """Of all values above zero: behind a ReLU, the deviation of the half-normal distribution."""
        return math.sqrt(self.positive_squares / max(self.positive_count, 1))

    def update(self, values: Tensor, name: str = "activation") -> None:
        """Take in one batch, any shape.

        Raises:
            InputError: a value is not finite.
        """
        values = values.detach().float()
        if values.numel() == 0:
            return
        low, high = (float(value) for value in values.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(f"{name}: calibration met values that are not finite; check the weights and the data")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += values.numel()
        self.positive_count += int((values > 0).sum())
        self.positive_squares += float((values if low >= 0 else values.clamp(min=0)).norm()) ** 2
        if self.integral:
            self.integral = low >= 0 and high <= 255 and bool((values == values.round()).all())
        greatest = max(-low, high)
        if greatest > 0:
            self._widen(greatest)
            counts = torch.histc(values, 2 * HALF_BINS, -self.limit, self.limit)
            self.histogram += counts.cpu().double()

    def _widen(self, greatest: float) -> None:
        wanted = 2.0 ** math.ceil(math.log2(greatest))
        if self.limit == 0:
            self.limit = wanted
        while self.limit < greatest:
            merged = self.histogram.view(HALF_BINS, 2).sum(1)
            self.histogram = torch.zeros_like(self.histogram)
            self.histogram[HALF_BINS // 2 : HALF_BINS // 2 + HALF_BINS] = merged
            self.limit *= 2

    def bins(self) -> tuple[Tensor, Tensor]:
        """Return (n,) centres and (n,) counts of the bins that hold something."""
        width = self.limit / HALF_BINS
        centres = (torch.arange(2 * HALF_BINS, dtype=torch.float64) - HALF_BINS + 0.5) * width
        filled = self.histogram > 0
        return centres[filled].float(), self.histogram[filled].float()

    def grid(self, bits: int, calibration: Calibration, symmetric: bool = False) -> Grid:
        """Return the grid of 2^bits codes that fits what was seen.

        Args:
            bits: of a code, 1 to 16.
            calibration: ``absmax`` keeps everything inside, ``percentile`` all but a thousandth on either side, ``mse``
                searches the range of least squared error.
            symmetric: put zero in the middle of the codes.

        Raises:
            InputError: nothing was seen.
        """
        if self.count == 0:
            raise InputError("calibration: no data reached an activation; give at least one batch that is not empty")
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if calibration == "percentile":
            low, high = self._percentile(low, high)
        if symmetric:
            low, high = -max(-low, high), max(-low, high)
        if calibration == "mse" and bits <= _FINEST_SEARCH_BITS and high > low:
            return self._search(low, high, bits, symmetric)
        scales, zero_points = _affine(torch.tensor([low]), torch.tensor([high]), bits, symmetric)
        return Grid(float(scales[0]), int(zero_points[0]), 2**bits - 1)

    def _percentile(self, low: float, high: float) -> tuple[float, float]:
        centres, counts = self.bins()
        if not len(centres):
            return low, high
        share = counts.double().cumsum(0) / counts.sum()
        upper = float(centres[int((share < PERCENTILE).sum().clamp(max=len(centres) - 1))])
        lower = float(centres[int((share <= 1 - PERCENTILE).sum().clamp(max=len(centres) - 1))])
        return max(low, min(lower, 0.0)), min(high, max(upper, 0.0))

    def _search(self, low: float, high: float, bits: int, symmetric: bool) -> Grid:
        centres, counts = self.bins()
        shares = torch.linspace(1.0 / _CANDIDATES, 1.0, _CANDIDATES).clamp(min=0.05)
        lows, highs = torch.full_like(shares, low), high * shares
        if symmetric:
            lows = -highs
        best = _least_error(lows, highs, bits, symmetric, centres, counts)
        if low < 0 and not symmetric:
            # First both ends shrink alike, then each on its own, twice.
            best = _least_error(low * shares, high * shares, bits, symmetric, centres, counts)
            for _ in range(2):
                best = _least_error(low * shares, best[1].expand_as(shares), bits, symmetric, centres, counts)
                best = _least_error(best[0].expand_as(shares), high * shares, bits, symmetric, centres, counts)
        scales, zero_points = _affine(best[0][None], best[1][None], bits, symmetric)
        return Grid(float(scales[0]), int(zero_points[0]), 2**bits - 1)

    def table_scale(self, table: Tensor, start: float) -> float:
        """Return the scale of least squared error for unsigned codes that a table maps to the levels kept.

        Args:
            table: (top + 1,) level of each code.
            start: a scale; a quarter to four times of it is searched.
        """
        centres, counts = self.bins()
        if not len(centres):
            return start
        scales = start * torch.logspace(-2, 2, 4 * _CANDIDATES + 1, base=2.0)
        codes = (centres / scales[:, None]).round_().clamp_(0, len(table) - 1).long()
        errors = ((table.float()[codes] * scales[:, None] - centres) ** 2 * counts).sum(1)
        return float(scales[errors.argmin()])


def _affine(lows: Tensor, highs: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return (n,) scales and (n,) zero points of ranges around zero."""
    top = 2**bits - 1
    if symmetric:
        middle = 2 ** (bits - 1)
        scales = highs / max(middle - 1, 1)
        zero_points = torch.full_like(scales, middle)
    else:
        scales = (highs - lows) / top
        zero_points = (-lows / scales).round_().clamp_(0, top)
    empty = scales <= 0
    return scales.masked_fill(empty, 1.0), zero_points.masked_fill(empty, 0.0)


def _least_error(
    lows: Tensor, highs: Tensor, bits: int, symmetric: bool, centres: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    scales, zero_points = (value[:, None] for value in _affine(lows, highs, bits, symmetric))
    rounded = (centres / scales).round_()
    kept = torch.minimum(torch.maximum(rounded, -zero_points), 2**bits - 1 - zero_points)
    best = int(((kept * scales - centres) ** 2 * counts).sum(1).argmin())
    return lows[best], highs[best]
