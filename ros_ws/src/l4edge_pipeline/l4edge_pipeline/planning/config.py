"""The planner's numbers."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Tuple

from l4edge_perception.errors import InputError


def check_positive(config: object, file_name: str) -> None:
    """Raise an ``InputError`` naming ``file_name`` unless each number of ``config`` is finite and above zero."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{file_name}: {field.name} is {value}; give a number above 0")


@dataclass(frozen=True)
class PlannerConfig:
    """Parameters of the planner; launch/config/planning.param.yaml holds the same and says what each one means."""

    horizon_s: float = 6.0
    step_s: float = 0.1
    fine_s: float = 1.0
    coarse_step_s: float = 0.25
    maximum_odometry_age_s: float = 0.3
    maximum_route_distance_m: float = 4.0
    maximum_heading_error_rad: float = 1.0

    front_m: float = 3.7
    rear_m: float = 0.9
    camera_m: float = 1.6
    width_m: float = 1.9

    maximum_speed_mps: float = 30.0
    maximum_acceleration_mps2: float = 1.5
    comfortable_deceleration_mps2: float = 2.5
    emergency_deceleration_mps2: float = 6.0
    comfortable_jerk_mps3: float = 2.5
    emergency_jerk_mps3: float = 30.0

    lateral_acceleration_mps2: float = 2.0
    anticipated_deceleration_mps2: float = 1.5
    speed_response_s: float = 1.0
    curvature_window_m: float = 6.0

    return_time_s: float = 2.5
    return_distance_m: float = 10.0
    return_acceleration_mps2: float = 1.0
    maximum_curvature_1pm: float = 0.2

    time_gap_s: float = 1.5
    standstill_gap_m: float = 4.0
    coolness: float = 0.99
    standing_speed_mps: float = 0.5
    restart_distance_m: float = 1.0
    settling_deceleration_mps2: float = 0.8

    object_range_m: float = 150.0
    vehicle_margin_m: float = 0.3
    vulnerable_margin_m: float = 0.6
    vehicle_horizon_s: float = 2.0
    vulnerable_horizon_s: float = 3.0
    lateral_speed_noise_mps: float = 0.3
    passing_margin_s: float = 1.0
    unseen_growth_mps: float = 0.5
    unseen_growth_limit_m: float = 1.0

    signal_range_m: float = 70.0
    signal_right_m: float = 9.0
    signal_left_m: float = 3.5
    signal_age_s: float = 0.3
    signal_memory_s: float = 1.5
    signal_hidden_m: float = 9.0
    stop_sign_probability: float = 0.9
    stop_sign_aspect: float = 0.82
    stop_before_sign_m: float = 1.0
    stop_sign_reach_m: float = 2.0
    stop_sign_wait_s: float = 1.5
    light_probability: float = 0.8
    stop_before_light_m: float = 5.0
    light_patience_s: float = 30.0

    safe_stop_deceleration_mps2: float = 2.0
    safe_stop_search_m: float = 60.0
    safe_stop_curvature_1pm: float = 0.02
    safe_stop_junction_m: float = 20.0

    plan_memory_s: float = 0.5
    plan_deviation_mps: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "planning.param.yaml")
        if self.comfortable_deceleration_mps2 >= self.emergency_deceleration_mps2:
            raise InputError(
                "planning.param.yaml: comfortable_deceleration_mps2 is not below emergency_deceleration_mps2; lower it"
            )
        if self.safe_stop_deceleration_mps2 > self.comfortable_deceleration_mps2:
            raise InputError(
                "planning.param.yaml: safe_stop_deceleration_mps2 is above comfortable_deceleration_mps2; lower it"
            )
        if self.coolness > 1:
            raise InputError(f"planning.param.yaml: coolness is {self.coolness}; give at most 1")
        if self.horizon_s < 2 * self.step_s:
            raise InputError("planning.param.yaml: horizon_s is below two times step_s; raise it")

    @cached_property
    def times(self) -> Tuple[float, ...]:
        """Seconds from the plan's start to each of its points, the start included."""
        fine = round(min(self.fine_s, self.horizon_s) / self.step_s)
        coarse = max(round((self.horizon_s - fine * self.step_s) / self.coarse_step_s), 0)
        end = fine * self.step_s
        return (
            *(index * self.step_s for index in range(fine + 1)),
            *(end + index * self.coarse_step_s for index in range(1, coarse + 1)),
        )
