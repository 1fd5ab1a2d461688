"""A constant-velocity Kalman filter for many objects at once.

An object has P pairs of coordinates, each coordinate with a velocity. The two of a pair may depend on each other, as
the two of a place on the ground do; pairs do not. So a pair's state is four numbers: position and position, velocity
and velocity. The states of N objects are one array, (4, 5, P, N): ``[:, 0]`` are the means and ``[:, 1:]`` the
covariances, since what moves or corrects a column of the covariance does the same to the mean. Measurements are alike,
(2, 3, P, N): ``[:, 0]`` are positions and ``[:, 1:]`` their covariances. With the objects last, every operation below
runs over all pairs of all objects at once, and a 2 x 2 matrix is inverted by its formula.

The process noise is white acceleration in continuous time (Bar-Shalom, Li, Kirubarajan: Estimation with Applications
to Tracking and Navigation, section 6.2.2). Its variance grows with seconds, not with steps: a tracker at 10 Hz and one
at 30 Hz believe the same.
"""

import numpy as np

UNKNOWN = 1e9
"""Variance of a position of which nothing is known."""

_ADJUGATE_SIGNS = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None, None]


def start(state: np.ndarray, seen: np.ndarray, speed_std: np.ndarray) -> None:
    """Fill in the state of objects seen for the first time, at rest as far as one knows.

    Args:
        state: (4, 5, P, N) zeros.
        seen: (2, 3, P, N) measurements.
        speed_std: (P, N) velocities to expect along both axes of a pair (standard deviation), per second.
    """
    state[:2, :3] = seen
    state[2, 3] = state[3, 4] = speed_std * speed_std


def predict(state: np.ndarray, seconds: float, wander: np.ndarray) -> None:
    """Move all objects ahead in time, in place.

    Args:
        state: (4, 5, P, N).
        seconds: how far.
        wander: (P, N) how much velocities change by chance within one second along both axes of a pair (standard
            deviation).
    """
    cube, square = seconds**3 / 3.0, seconds**2 / 2.0
    growth = np.array(
        ((cube, 0.0, square, 0.0), (0.0, cube, 0.0, square), (square, 0.0, seconds, 0.0), (0.0, square, 0.0, seconds))
    )
    state[:2] += seconds * state[2:]
    state[:, 1:3] += seconds * state[:, 3:]
    state[:, 1:] += growth[:, :, None, None] * (wander * wander)


def correct(state: np.ndarray, seen: np.ndarray, known: np.ndarray) -> None:
    """Let one measured position for each pair of each object correct it, in place.

    Args:
        state: (4, 5, P, N).
        seen: (2, 3, P, N) measurements, finite; what a pair holds that was not measured does not matter.
        known: (P, N) bool, which pairs were measured; the others stay as they are.
    """
    spread = state[:2, 1:3] + seen[:, 1:]
    determinant = spread[0, 0] * spread[1, 1] - spread[0, 1] * spread[1, 0]
    inverse = spread[::-1, ::-1] * (_ADJUGATE_SIGNS * (known / determinant))
    gains = _product(state[:, 1:3], inverse)
    surplus = state[:2].copy()
    surplus[:, 0] -= seen[:, 0]
    state -= _product(gains, surplus)


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Matrix products of (A, 2, P, N) and (2, B, P, N): (A, B, P, N)."""
    product = first[:, :1] * second[:1]
    product += first[:, 1:] * second[1:]
    return product
