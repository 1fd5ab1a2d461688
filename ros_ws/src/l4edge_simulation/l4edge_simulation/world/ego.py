"""The ego vehicle: a kinematic bicycle and the simulated expert's steering. ``base_link`` is at the rear axle."""

from dataclasses import dataclass, replace

import numpy as np

WHEELBASE = 2.8
LENGTH, WIDTH = 4.7, 1.85
REAR_OVERHANG = 1.0
MIDDLE_AHEAD = LENGTH / 2 - REAR_OVERHANG  # of base_link, metres
STEERING_LIMIT = 0.6  # radians at the front wheels
STEERING_RATE = 0.6  # radians per second
ACCELERATION_LIMITS = (-8.0, 4.0)
ACCELERATION_LAG_S = 0.15


@dataclass(frozen=True)
class Bicycle:
    """State of ``base_link``: metres, radians, metres per second, in the ``map`` frame."""

    x: float
    y: float
    yaw: float
    speed: float
    steering: float = 0.0
    acceleration: float = 0.0

    @property
    def yaw_rate(self) -> float:
        """Radians per second."""
        return self.speed * np.tan(self.steering) / WHEELBASE


def advance(state: Bicycle, steering: float, acceleration: float, step: float) -> Bicycle:
    """Drive ``step`` seconds on a steering angle and an acceleration that the actuators follow within their limits."""
    wanted = float(np.clip(steering, -STEERING_LIMIT, STEERING_LIMIT))
    steering = state.steering + float(np.clip(wanted - state.steering, -STEERING_RATE * step, STEERING_RATE * step))
    pulled = float(np.clip(acceleration, *ACCELERATION_LIMITS))
    actual = state.acceleration + (pulled - state.acceleration) * min(1.0, step / ACCELERATION_LAG_S)
    speed = max(0.0, state.speed + actual * step)
    mean = 0.5 * (state.speed + speed)
    turned = mean * np.tan(steering) / WHEELBASE * step
    middle = state.yaw + 0.5 * turned
    return replace(
        state,
        x=state.x + mean * float(np.cos(middle)) * step,
        y=state.y + mean * float(np.sin(middle)) * step,
        yaw=state.yaw + float(turned),
        speed=speed,
        steering=steering,
        acceleration=(speed - state.speed) / step,
    )


def pure_pursuit(state: Bicycle, target_x: float, target_y: float) -> float:
    """Steering angle that leads the rear axle through a target point ahead.

    Coulter: "Implementation of the Pure Pursuit Path Tracking Algorithm", CMU-RI-TR-92-01, 1992.
    """
    dx, dy = target_x - state.x, target_y - state.y
    left = -dx * np.sin(state.yaw) + dy * np.cos(state.yaw)
    return float(np.arctan(2.0 * left * WHEELBASE / max(dx * dx + dy * dy, 1.0)))
