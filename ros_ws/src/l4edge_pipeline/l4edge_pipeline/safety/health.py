"""What is known of stages, camera, localization and monitor, and what each asks for: frozen states, pure steps.

All moments are nanoseconds of one clock that does not run back, taken when a message was seen; stamps are those of the
sensors.
"""

import math
from dataclasses import dataclass, replace
from typing import Optional, Tuple

from l4edge_perception.safety_types import Hazard, SafetyVerdict, State, Verdict
from l4edge_perception.types import EgoState
from l4edge_pipeline.planning.motion import carried_on, is_finite
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.states import ALARM, LOCALIZATION, MONITOR, SENSOR, UNCERTIFIED, Demand

MISSING = "missing"
MONITOR_FAULTS = frozenset({"deadline", "input", "model", "self_test", "fault", MISSING})
"""Reasons of an uncertified verdict that tell of the monitor, not of what it looked at."""

_ANOTHER_RECORDING_NS = 1_000_000_000  # stamps that run back by more start anew


@dataclass(frozen=True)
class StageWatch:
    """One stage, by its stage records.

    Attributes:
        name: as in stages.yaml.
        done_ns: when the last result was seen, or None.
        late: of the last passes, whether each was late, superseded or dropped.
    """

    name: str
    done_ns: Optional[int] = None
    late: Tuple[bool, ...] = ()

    def ended(self, processed: bool, late: bool, now_ns: int, config: SupervisorConfig) -> "StageWatch":
        """One pass has ended: with a result or without, in time or not."""
        done_ns = now_ns if processed else self.done_ns
        return StageWatch(self.name, done_ns, (*self.late, late or not processed)[-config.late_window :])

    def demand(self, fed_since_ns: Optional[int], now_ns: int, config: SupervisorConfig) -> Optional[Demand]:
        """What the stage asks for.

        Args:
            fed_since_ns: since when it is given frames without a gap, or None while it is not.
        """
        cause = "stage " + self.name
        if fed_since_ns is not None:
            patience_s = config.startup_s if self.done_ns is None else config.silence_s
            if now_ns - max(self.done_ns or 0, fed_since_ns) > patience_s * 1e9:
                return Demand(cause, State.MINIMAL_RISK_MANOEUVRE, "silent")
        count = sum(self.late)
        if count >= config.late_caution:
            state = State.DEGRADED if count >= config.late_degraded else State.CAUTION
            return Demand(cause, state, "late")
        return None


@dataclass(frozen=True)
class SensorWatch:
    """The camera, by the frames that came through the first stage.

    Attributes:
        stamp_ns: of the newest frame, 0 before the first.
        seen_ns: when it was seen. since_ns: of the first one after the last gap.
        period_ns: between two frames, as the table of stages says.
    """

    period_ns: int
    stamp_ns: int = 0
    seen_ns: Optional[int] = None
    since_ns: Optional[int] = None

    def frame(self, stamp_ns: int, now_ns: int, config: SupervisorConfig) -> "SensorWatch":
        """A frame came; one whose stamp does not rise is none, unless a recording starts again."""
        if self.stamp_ns - _ANOTHER_RECORDING_NS < stamp_ns <= self.stamp_ns:
            return self
        since_ns = self.since_ns if self.alive(now_ns, config) else now_ns
        return SensorWatch(self.period_ns, stamp_ns, now_ns, since_ns)

    def alive(self, now_ns: int, config: SupervisorConfig) -> bool:
        """Whether frames come."""
        return self.seen_ns is not None and now_ns - self.seen_ns <= config.silence_s * 1e9

    def stamp_now(self, now_ns: int) -> int:
        """Now, on the sensor's clock; 0 before the first frame."""
        return 0 if self.seen_ns is None else self.stamp_ns + max(now_ns - self.seen_ns, 0)

    def demand(self, now_ns: int, config: SupervisorConfig) -> Optional[Demand]:
        """What the camera asks for; nothing before its first frame, when nobody drives."""
        if self.seen_ns is None or now_ns - self.seen_ns <= config.sensor_caution_s * 1e9:
            return None
        state = State.CAUTION if self.alive(now_ns, config) else State.MINIMAL_RISK_MANOEUVRE
        return Demand(SENSOR, state, "silent")


@dataclass(frozen=True)
class LocalizationWatch:
    """The odometry.

    Attributes:
        ego: the last one that is finite, or None. seen_ns: when it was seen.
        broken, jumped: whether the newest message was not finite, or told of a place that no motion leads to.
    """

    ego: Optional[EgoState] = None
    seen_ns: Optional[int] = None
    broken: bool = False
    jumped: bool = False

    def heard(self, ego: Optional[EgoState], now_ns: int, config: SupervisorConfig) -> "LocalizationWatch":
        """A message came; None: it cannot be read."""
        if ego is None or not is_finite(ego):
            return replace(self, broken=True, jumped=False)
        return LocalizationWatch(ego, now_ns, False, self.ego is not None and _jumps(self.ego, ego, config))

    def demand(self, sensor: SensorWatch, now_ns: int, config: SupervisorConfig) -> Optional[Demand]:
        """What localization asks for; nothing while no frame comes, since nothing is placed then."""
        if sensor.since_ns is None or not sensor.alive(now_ns, config):
            return None
        if self.ego is None or self.seen_ns is None:
            never = now_ns - sensor.since_ns > config.startup_s * 1e9
            return Demand(LOCALIZATION, State.MINIMAL_RISK_MANOEUVRE, MISSING) if never else None
        behind_ns = sensor.stamp_ns - self.ego.stamp_ns
        age_s = max(now_ns - max(self.seen_ns, sensor.since_ns), behind_ns) * 1e-9
        if age_s > config.odometry_silence_s:
            word = "not finite" if self.broken else "old"
            return Demand(LOCALIZATION, State.MINIMAL_RISK_MANOEUVRE, word)
        if self.jumped:
            return Demand(LOCALIZATION, State.DEGRADED, "jump")
        if self.broken or age_s > config.odometry_caution_s:
            return Demand(LOCALIZATION, State.CAUTION, "not finite" if self.broken else "old")
        return None


def _jumps(before: EgoState, after: EgoState, config: SupervisorConfig) -> bool:
    """Whether ``after`` is further from where ``before`` leads than its speed and turning explain."""
    seconds = (after.stamp_ns - before.stamp_ns) * 1e-9
    if not 0.0 < seconds <= 1.0:
        return False  # nothing to compare, or another recording
    expected = carried_on(before, seconds)
    away = math.hypot(after.x - expected.x, after.y - expected.y)
    turned = abs(math.remainder(after.yaw - expected.yaw, 2 * math.pi))
    # The speed may change by what brakes and engine can do, at most.
    return away > config.jump_m + 5.0 * seconds**2 or turned > config.jump_rad + 2.0 * seconds**2


@dataclass(frozen=True)
class VerdictWatch:
    """The monitor, by its verdicts.

    Attributes:
        verdict: the newest, or None. seen_ns: when it was seen.
        broken: whether what came after it could not be read.
        bad_since_ns, faulty_since_ns: since when nothing was certified, and since when for want of a working monitor.
        alarms: of the last frames, whether each raised an alarm that the monitor has not counted itself.
        confirmed_since_ns: since when alarms are confirmed.
        suspects: tracks of signs and lights that alarms have been about, until :meth:`cleared`.
    """

    verdict: Optional[SafetyVerdict] = None
    seen_ns: Optional[int] = None
    broken: bool = False
    bad_since_ns: Optional[int] = None
    faulty_since_ns: Optional[int] = None
    alarms: Tuple[bool, ...] = ()
    confirmed_since_ns: Optional[int] = None
    suspects: Tuple[int, ...] = ()

    def heard(self, verdict: Optional[SafetyVerdict], now_ns: int, config: SupervisorConfig) -> "VerdictWatch":
        """A message came; None: it cannot be read. One that is not newer than the last says nothing."""
        if verdict is None:
            return replace(self, broken=True)
        if self.verdict is not None:
            behind_ns = self.verdict.stamp_ns - verdict.stamp_ns
            if 0 <= behind_ns < _ANOTHER_RECORDING_NS:
                return self
        # A monitor that counts the alarms of each object knows better than the number of frames with any alarm.
        uncounted = raises_alarm(verdict) and verdict.alarm_count.needed == 0
        alarms = (*self.alarms, uncounted)[-config.alarm_window :]
        confirmed = verdict.alarm_count.confirmed or sum(alarms) >= config.alarm_count
        since_ns = (self.confirmed_since_ns or now_ns) if confirmed else None
        return replace(
            self, verdict=verdict, seen_ns=now_ns, broken=False, alarms=alarms, confirmed_since_ns=since_ns,
            suspects=tuple(sorted({*self.suspects, *_suspects(verdict)})),
        )  # fmt: skip

    def cleared(self) -> "VerdictWatch":
        """The watch when no alarm holds the state any more."""
        return replace(self, suspects=()) if self.suspects else self

    def believed(self, sensor: SensorWatch, now_ns: int, config: SupervisorConfig) -> Tuple[Verdict, str]:
        """What holds of the newest frame: a verdict that is broken, late or missing is none.

        It must stay in time until the next look, so that none is believed for longer than the periods allowed.
        """
        if self.verdict is None or self.seen_ns is None:
            return Verdict.UNCERTIFIED, MISSING
        if self.broken:
            return Verdict.UNCERTIFIED, "fault"
        allowed_ns = config.verdict_periods * sensor.period_ns
        old = now_ns - self.seen_ns + config.period_s * 1e9 > allowed_ns
        # A frame may be there before the verdict on the one before it; half a period is what stamps may vary by.
        behind = sensor.stamp_ns - self.verdict.stamp_ns > allowed_ns + sensor.period_ns / 2
        if old or behind:
            return Verdict.UNCERTIFIED, MISSING
        return (Verdict.ALARM if raises_alarm(self.verdict) else self.verdict.verdict), self.verdict.reason

    def at(self, sensor: SensorWatch, now_ns: int, config: SupervisorConfig) -> "VerdictWatch":
        """The watch with its runs of uncertified frames carried on to now."""
        verdict, reason = self.believed(sensor, now_ns, config)
        driving = sensor.since_ns is not None
        bad = driving and verdict == Verdict.UNCERTIFIED
        faulty = bad and reason in MONITOR_FAULTS
        return replace(
            self,
            bad_since_ns=(self.bad_since_ns or now_ns) if bad else None,
            faulty_since_ns=(self.faulty_since_ns or now_ns) if faulty else None,
        )

    def demands(self, sensor: SensorWatch, now_ns: int, config: SupervisorConfig) -> Tuple[Demand, ...]:
        """What the monitor asks for. To be asked of :meth:`at`."""
        verdict, reason = self.believed(sensor, now_ns, config)
        result = []
        if verdict == Verdict.ALARM:
            result.append(Demand(ALARM, *self._alarm(now_ns, config)))
        if self.faulty_since_ns is not None and sensor.since_ns is not None:
            faulty_s = (now_ns - self.faulty_since_ns) * 1e-9
            patience_s = config.monitor_degraded_s if self.seen_ns is not None else config.startup_s
            if faulty_s > patience_s:
                result.append(Demand(MONITOR, State.DEGRADED, reason))
            elif faulty_s > config.uncertified_caution_s:
                result.append(Demand(MONITOR, State.CAUTION, reason))
        elif self.bad_since_ns is not None and (now_ns - self.bad_since_ns) * 1e-9 > config.uncertified_caution_s:
            result.append(Demand(UNCERTIFIED, State.CAUTION, reason))
        return tuple(result)

    def _alarm(self, now_ns: int, config: SupervisorConfig) -> Tuple[State, str]:
        if self.confirmed_since_ns is None:
            return State.CAUTION, "raised"
        if (now_ns - self.confirmed_since_ns) * 1e-9 > config.alarm_manoeuvre_s:
            return State.MINIMAL_RISK_MANOEUVRE, "lasting"
        return State.DEGRADED, "confirmed"


def raises_alarm(verdict: SafetyVerdict) -> bool:
    """Whether the frame, or one of its objects, is under an alarm."""
    return verdict.verdict == Verdict.ALARM or any(entry.verdict == Verdict.ALARM for entry in verdict.objects)


def _suspects(verdict: SafetyVerdict) -> Tuple[int, ...]:
    """Tracks of the signs and lights under an alarm, where an alarm is one that counts towards being confirmed."""
    if verdict.alarm_count.needed and not verdict.alarm_count.alarms:
        return ()
    return tuple(
        entry.object_id
        for entry in verdict.objects
        if entry.verdict == Verdict.ALARM and entry.hazard == Hazard.LABEL and entry.object_id is not None
    )
