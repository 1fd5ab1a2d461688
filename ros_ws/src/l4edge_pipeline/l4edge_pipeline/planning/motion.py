"""The vehicle's state carried on in time, and angles."""

import math
from dataclasses import astuple, replace
from typing import TypeVar

import numpy as np

from l4edge_perception.types import EgoState

Angles = TypeVar("Angles", float, np.ndarray)


def is_finite(ego: EgoState) -> bool:
    """Whether all numbers of ``ego`` can be calculated with."""
    return all(map(math.isfinite, astuple(ego)))


def carried_on(ego: EgoState, seconds: float) -> EgoState:
    """Where the vehicle is ``seconds`` later (or earlier) with the same speed and yaw rate; the stamp stays."""
    middle = ego.yaw + ego.yaw_rate * seconds / 2
    return replace(
        ego,
        x=ego.x + ego.speed * seconds * math.cos(middle),
        y=ego.y + ego.speed * seconds * math.sin(middle),
        yaw=ego.yaw + ego.yaw_rate * seconds,
    )


def wrapped(angles: Angles) -> Angles:
    """The same angles, radians, in -pi to pi."""
    return (angles + np.pi) % (2 * np.pi) - np.pi
