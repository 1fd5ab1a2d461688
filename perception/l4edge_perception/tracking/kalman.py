"""A constant-velocity Kalman filter for many objects at once.

An object has P pairs of coordinates, each coordinate with a velocity. The two of a pair may depend on each other, as
the two of a place on the ground do; pairs do not. So a pair's state is four numbers: position and position, velocity
and velocity. The states of N objects are two arrays: the means, (4, P, N), and the covariances, (4, 4, P, N). With the
objects last, every operation below runs over all pairs of all objects at once, and a 2 x 2 matrix is inverted by its
formula.

The process noise is white acceleration in continuous time (Bar-Shalom, Li, Kirubarajan: Estimation with Applications
to Tracking and Navigation, section 6.2.2). Its variance grows with seconds, not with steps: a tracker at 10 Hz and one
at 30 Hz believe the same.
"""

from typing import Tuple

import numpy as np

UNKNOWN = 1e9
"""Variance of a position of which nothing is known."""

_ADJUGATE_SIGNS = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None, None]


def start(measured: np.ndarray, noise: np.ndarray, speed_std: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Means and covariances of objects seen for the first time, at rest as far as one knows.

    Args:
        measured: (2, P, N) positions.
        noise: (2, 2, P, N) covariances of the measurements.
        speed_std: (P, N) velocities to expect along both axes of a pair (standard deviation), per second.
    """
    means = np.zeros((4, *speed_std.shape))
    means[:2] = measured
    covariances = np.zeros((4, 4, *speed_std.shape))
    covariances[:2, :2] = noise
    covariances[2, 2] = covariances[3, 3] = speed_std * speed_std
    return means, covariances


def predict(means: np.ndarray, covariances: np.ndarray, seconds: float, wander: np.ndarray) -> None:
    """Move all objects ahead in time, in place.

    Args:
        means: (4, P, N).
        covariances: (4, 4, P, N).
        seconds: how far.
        wander: (P, N) how much velocities change by chance within one second along both axes of a pair (standard
            deviation).
    """
    cube, square = seconds**3 / 3.0, seconds**2 / 2.0
    growth = np.array(
        ((cube, 0.0, square, 0.0), (0.0, cube, 0.0, square), (square, 0.0, seconds, 0.0), (0.0, square, 0.0, seconds))
    )
    means[:2] += seconds * means[2:]
    covariances[:2] += seconds * covariances[2:]
    covariances[:, :2] += seconds * covariances[:, 2:]
    covariances += growth[:, :, None, None] * (wander * wander)


def correct(
    means: np.ndarray, covariances: np.ndarray, measured: np.ndarray, noise: np.ndarray, known: np.ndarray
) -> None:
    """Let one measured position for each pair of each object correct it, in place.

    Args:
        means: (4, P, N).
        covariances: (4, 4, P, N).
        measured: (2, P, N) positions, finite; what a pair holds that was not measured does not matter.
        noise: (2, 2, P, N) covariances of the measurements, finite.
        known: (P, N) bool, which pairs were measured; the others stay as they are.
    """
    spread = covariances[:2, :2] + noise
    determinant = spread[0, 0] * spread[1, 1] - spread[0, 1] * spread[1, 0]
    inverse = spread[::-1, ::-1] * (_ADJUGATE_SIGNS * (known / determinant))
    gains = _product(covariances[:, :2], inverse)
    means += _product(gains, (measured - means[:2])[:, None])[:, 0]
    covariances -= _product(gains, covariances[:2])


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Matrix products of (A, 2, P, N) and (2, B, P, N): (A, B, P, N)."""
    product = first[:, :1] * second[:1]
    product += first[:, 1:] * second[1:]
    return product
