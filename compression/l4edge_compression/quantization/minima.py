"""Local minima of an error over a scale, and the error of samples as a function of the scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from l4edge_compression.quantization.expectation import signal_to_noise_db
from l4edge_compression.quantization.formats import LevelSet, boundaries

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Minimum:
    """A scale at which the error of a format is locally least.

    Attributes:
        alpha: the scale, in standard deviations (of samples in root mean squares).
        error: mean squared error over the mean square.
    """

    alpha: float
    error: float

    @property
    def decibels(self) -> float:
        """Signal to quantization noise ratio in dB."""
        return signal_to_noise_db(self.error)


class SampledError:
    """Mean squared error of samples at given integer steps, from running sums over their sorted magnitudes.

    Args of the constructor: the magnitudes (n,) in any order, the format, and what the error cannot go below.
    """

    def __init__(self, magnitudes: NDArray[np.float64], levels: LevelSet, floor: float = 0.0) -> None:
        self._magnitudes = np.sort(magnitudes)
        self._sums = np.concatenate([[0.0], np.cumsum(self._magnitudes)])
        self._energy = float(np.mean(magnitudes**2)) + floor
        self._limits = np.array([limit for limit, _ in boundaries(levels)])
        self._values = np.asarray(levels.magnitudes, np.float64)

    def __call__(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error (n,) at each of the steps (n,), what the integer 1 stands for."""
        count = len(self._magnitudes)
        ends = np.searchsorted(self._magnitudes, steps[:, None] * self._limits)
        ends = np.pad(ends, ((0, 0), (1, 1)), constant_values=((0, 0), (0, count)))
        along = (np.diff(self._sums[ends], axis=1) * self._values).sum(axis=1)
        own = (np.diff(ends, axis=1) * self._values**2).sum(axis=1)
        return self._energy - (2 * steps * along - steps**2 * own) / count


def local_minima(
    error: Callable[[NDArray[np.float64]], NDArray[np.float64]], least: float, most: float, per_octave: int = 48
) -> tuple[Minimum, ...]:
    """Return the local minima of an error over scales from ``least`` to ``most``, the least error first.

    Minima closer than the grid of ``per_octave`` scales for each doubling count as one. There is at least one: the best
    scale of the grid where none is inside.
    """
    from scipy import optimize

    grid = np.geomspace(least, most, 2 + int(per_octave * np.log2(most / least)))
    errors = error(grid)
    inside = np.flatnonzero((errors[1:-1] < errors[:-2]) & (errors[1:-1] <= errors[2:])) + 1
    minima = []
    for index in inside:
        found = optimize.minimize_scalar(
            lambda alpha: float(error(np.array([alpha]))[0]), bounds=(grid[index - 1], grid[index + 1]),
            method="bounded", options={"xatol": 1e-9},
        )
        better = found.fun <= errors[index]
        minima.append(Minimum(float(found.x if better else grid[index]), float(found.fun if better else errors[index])))
    if not minima:
        best = int(np.argmin(errors))
        return (Minimum(float(grid[best]), float(errors[best])),)
    return tuple(sorted(minima, key=lambda minimum: minimum.error))
