"""Which status a stage obeys: the newest, unless it is too old; then the vehicle stops."""

from typing import Optional

from l4edge_perception.safety_types import SafetyStatus, State

SILENT = SafetyStatus(0, State.MINIMAL_RISK_MANOEUVRE, ("supervisor: silent",), 0.0)
NOMINAL = SafetyStatus(0)


class Obedience:
    """Judges the age of statuses by stamps, so that a result does not depend on who is faster.

    Args:
        maximum_age_s: of a status against the frame that is worked on.
        startup_s: how long after the first frame the first status may take.
    """

    def __init__(self, maximum_age_s: float = 0.5, startup_s: float = 5.0) -> None:
        self._maximum_age_ns = maximum_age_s * 1e9
        self._startup_ns = startup_s * 1e9
        self._first_ns: Optional[int] = None
        self._heard = False

    def obeyed(self, status: Optional[SafetyStatus], stamp_ns: int) -> SafetyStatus:
        """The status that holds for the frame of this stamp.

        Args:
            status: the newest one, or None before the first.
        """
        if self._first_ns is None or stamp_ns < self._first_ns:
            self._first_ns = stamp_ns
        if status is not None and abs(stamp_ns - status.stamp_ns) <= self._maximum_age_ns:
            self._heard = True
            return status
        starting = not self._heard and stamp_ns - self._first_ns <= self._startup_ns
        return NOMINAL if starting else SILENT
