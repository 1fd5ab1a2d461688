"""What a level set costs on average: closed-form errors on standard distributions.

For levels ``alpha * q_i`` with boundaries ``t_i`` the error is a sum of partial moments of the distribution between
the boundaries, and these are known in closed form for the normal one. Nothing is sampled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from l4edge_compression.quantization.formats import LevelSet, boundaries

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Distribution = Literal["normal", "half_normal"]


def expected_error(levels: LevelSet, alphas: ArrayLike) -> NDArray[np.float64]:
    """Return the mean squared error of a level set on numbers of standard deviation 1 before taking magnitudes.

    The error of a symmetric set on the normal distribution is that of its magnitudes on the half-normal one, the
    distribution of |x|; so one formula serves weights (signed sets) and activations behind ReLU (unsigned sets).

    Args:
        levels: the set; numbers beyond the largest level are clipped.
        alphas: (n,) where the largest level lies, in standard deviations; above zero.

    Returns:
        (n,) mean of ``(x - alpha * integer / largest)^2`` for x ~ N(0, 1), or |x| with an unsigned set.
    """
    steps = np.atleast_1d(np.asarray(alphas, np.float64)) / levels.largest
    limits = np.array([limit for limit, _ in boundaries(levels)])
    edges = np.concatenate([np.zeros((len(steps), 1)), steps[:, None] * limits], axis=1)
    density = math.sqrt(2 / math.pi) * np.exp(-0.5 * edges**2)
    beyond = special.erfc(edges / math.sqrt(2))  # of |x|; no loss of digits far out, unlike 1 - erf
    # Moments of |x| between one edge and the next; the last cell has no end.
    zeroth = beyond - np.append(beyond[:, 1:], np.zeros((len(steps), 1)), axis=1)
    first = density - np.append(density[:, 1:], np.zeros((len(steps), 1)), axis=1)
    weighted = edges * density
    second = zeroth + weighted - np.append(weighted[:, 1:], np.zeros((len(steps), 1)), axis=1)
    values = steps[:, None] * np.asarray(levels.magnitudes, np.float64)
    return (second - 2 * values * first + values**2 * zeroth).sum(axis=1)


def signal_to_noise_db(error: float, power: float = 1.0) -> float:
    """Return 10 log10(power / error): the signal to quantization noise ratio in decibels."""
    return 10 * math.log10(power / error)


def crossover(low: LevelSet, middle: LevelSet) -> float:
    """Return the alpha / sigma above which the first set has less error on normal rows than the second.

    Both share alpha. For PoT4 against fixed point of 4 bits it is close to 4.8.

    Raises:
        ValueError: the errors do not cross between 1 and 64.
    """
    from scipy import optimize

    def difference(alpha: float) -> float:
        return float(expected_error(low, alpha)[0] - expected_error(middle, alpha)[0])

    grid = np.geomspace(64, 1, 241)
    signs = np.sign(expected_error(low, grid) - expected_error(middle, grid))
    changes = np.flatnonzero((signs[:-1] < 0) & (signs[1:] >= 0))
    if not len(changes):
        raise ValueError(f"{low.name} and {middle.name}: their errors do not cross")
    last = changes[0]
    return float(optimize.brentq(difference, grid[last + 1], grid[last]))
