"""A constant-velocity Kalman filter for many objects at once.

Every object has C coordinates, each with a velocity. A state is two arrays: the means, (N, 2, C) with positions and
velocities, and the covariance's three blocks, (N, 3, C, C): position with position, position with velocity, velocity
with velocity. One call moves or corrects all N objects with a handful of array operations.

The process noise is white acceleration in continuous time (Bar-Shalom, Li, Kirubarajan: Estimation with Applications
to Tracking and Navigation, section 6.2.2). Its variance grows with seconds, not with steps: a tracker at 10 Hz and one
at 30 Hz believe the same.
"""

from typing import Tuple

import numpy as np

UNKNOWN = 1e9
"""Variance of a coordinate of which nothing is known, or that was not measured."""


def start(measured: np.ndarray, noise: np.ndarray, speed_std: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Means and covariances of objects seen for the first time, at rest as far as one knows.

    Args:
        measured: (N, C) positions.
        noise: (N, C, C) covariances of the measurements.
        speed_std: (N, C) velocities to expect (standard deviation), per second.
    """
    count, coordinates = measured.shape
    means = np.zeros((count, 2, coordinates))
    means[:, 0] = measured
    covariances = np.zeros((count, 3, coordinates, coordinates))
    covariances[:, 0] = noise
    covariances[:, 2] = (speed_std * speed_std)[:, None, :] * np.eye(coordinates)
    return means, covariances


def predict(
    means: np.ndarray, covariances: np.ndarray, seconds: float, wander: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Move all objects ahead in time.

    Args:
        means: (N, 2, C).
        covariances: (N, 3, C, C).
        seconds: how far.
        wander: (N, C) how much a velocity changes by chance within one second (standard deviation).
    """
    ahead, spread = means.copy(), covariances.copy()
    ahead[:, 0] += seconds * means[:, 1]
    cross, velocity = covariances[:, 1], covariances[:, 2]
    spread[:, 0] += seconds * (cross + cross.swapaxes(1, 2)) + seconds**2 * velocity
    spread[:, 1] += seconds * velocity
    growth = np.array([seconds**3 / 3.0, seconds**2 / 2.0, seconds])
    diagonals = spread.diagonal(axis1=2, axis2=3)
    diagonals.setflags(write=True)
    diagonals += growth[:, None] * (wander * wander)[:, None, :]
    return ahead, spread


def correct(
    means: np.ndarray, covariances: np.ndarray, measured: np.ndarray, noise: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Let one measured position per object correct it.

    Args:
        means: (N, 2, C).
        covariances: (N, 3, C, C).
        measured: (N, C) positions; what a coordinate holds that was not measured does not matter.
        noise: (N, C, C) covariances of the measurements, ``UNKNOWN`` where a coordinate was not measured.
    """
    position, cross = covariances[:, 0], covariances[:, 1]
    # Gain of the position and of the velocity, one above the other: (N, 2, C, C).
    gains = np.stack((position, cross.swapaxes(1, 2)), axis=1) @ np.linalg.inv(position + noise)[:, None]
    surprise = (measured - means[:, 0])[:, None, :, None]
    spread = covariances.copy()
    spread[:, :2] -= gains[:, :1] @ covariances[:, :2]
    spread[:, 2] -= gains[:, 1] @ cross
    return means + (gains @ surprise)[..., 0], spread
