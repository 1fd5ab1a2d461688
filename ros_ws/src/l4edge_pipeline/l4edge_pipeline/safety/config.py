"""The supervisor's numbers."""

from dataclasses import dataclass
from typing import Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import State
from l4edge_pipeline.planning.config import check_positive


@dataclass(frozen=True)
class SupervisorConfig:
    """Parameters of the supervisor; launch/config/safety_supervisor.param.yaml holds the same and explains each."""

    period_s: float = 0.05
    startup_s: float = 20.0

    caution_speed_mps: float = 8.0
    caution_time_gap_s: float = 2.5
    degraded_speed_mps: float = 5.0

    verdict_periods: float = 2.0
    uncertified_caution_s: float = 1.0
    monitor_degraded_s: float = 5.0
    alarm_count: int = 6
    alarm_window: int = 10
    alarm_manoeuvre_s: float = 8.0

    silence_s: float = 0.5
    late_window: int = 10
    late_caution: int = 4
    late_degraded: int = 8
    sensor_caution_s: float = 0.3

    odometry_caution_s: float = 0.3
    odometry_silence_s: float = 0.5
    jump_m: float = 1.0
    jump_rad: float = 0.2
    standing_speed_mps: float = 0.3

    caution_frames: int = 20
    caution_s: float = 3.0
    degraded_frames: int = 30
    degraded_s: float = 5.0
    manoeuvre_frames: int = 50
    manoeuvre_s: float = 10.0

    def __post_init__(self) -> None:
        check_positive(self, "safety_supervisor.param.yaml")
        for low, high in (
            ("alarm_count", "alarm_window"), ("late_caution", "late_degraded"), ("late_degraded", "late_window"),
            ("sensor_caution_s", "silence_s"), ("odometry_caution_s", "odometry_silence_s"),
            ("degraded_speed_mps", "caution_speed_mps"),
        ):  # fmt: skip
            if getattr(self, low) > getattr(self, high):
                raise InputError(f"safety_supervisor.param.yaml: {low} is above {high}; lower it")

    def hysteresis(self, state: State) -> Tuple[int, int]:
        """What must go by before a cause leaves ``state``: clean frames, and nanoseconds since it last asked for it."""
        frames, seconds = {
            State.CAUTION: (self.caution_frames, self.caution_s),
            State.DEGRADED: (self.degraded_frames, self.degraded_s),
            State.MINIMAL_RISK_MANOEUVRE: (self.manoeuvre_frames, self.manoeuvre_s),
        }[state]
        return frames, round(seconds * 1e9)
