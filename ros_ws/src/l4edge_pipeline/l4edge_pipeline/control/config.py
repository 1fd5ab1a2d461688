"""The controller's numbers."""

from dataclasses import dataclass

from l4edge_pipeline.planning.config import check_positive


@dataclass(frozen=True)
class ControllerConfig:
    """Parameters of the controller; launch/config/control.param.yaml holds the same and says what each one means."""

    period_s: float = 0.1
    wheelbase_m: float = 2.8
    maximum_steering_rad: float = 0.6
    maximum_steering_rate_radps: float = 0.6
    actuation_delay_s: float = 0.1
    lookahead_time_s: float = 0.8
    minimum_lookahead_m: float = 4.0
    curvature_window_m: float = 1.0

    speed_gain_1ps: float = 0.6
    integral_gain_1ps2: float = 0.1
    integral_limit_mps2: float = 0.5
    maximum_acceleration_mps2: float = 2.0
    maximum_deceleration_mps2: float = 6.0
    maximum_jerk_mps3: float = 30.0
    standing_speed_mps: float = 0.3
    holding_deceleration_mps2: float = 1.0
    moving_off_time_s: float = 0.8

    maximum_trajectory_age_s: float = 0.5
    maximum_odometry_age_s: float = 0.5
    maximum_path_distance_m: float = 2.0
    safe_stop_deceleration_mps2: float = 2.5

    def __post_init__(self) -> None:
        check_positive(self, "control.param.yaml")
