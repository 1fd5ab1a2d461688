"""What the safety monitor says of a frame, and never says too late: plain Python, no middleware.

Everything that goes wrong ends in UNCERTIFIED with a reason. A certificate speaks of this frame alone, of the patch
positions that were checked in time, and of nothing else. docs/safety.md explains what it assumes.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import (
    Claim,
    FreeSpace,
    Hazard,
    ObjectVerdict,
    PatchModel,
    SafetyVerdict,
    Verdict,
)
from l4edge_perception.types import Detections
from l4edge_pipeline.safety.escalation import Pacer
from l4edge_pipeline.safety.hiding import HidingInspector, hidden_verdicts, objectness_verdicts, seen_verdicts
from l4edge_pipeline.safety.scene import Scene, Unfit, usable
from l4edge_pipeline.safety.self_test import SelfTest
from l4edge_pipeline.safety.signs import SignCertifier
from l4edge_pipeline.safety.summing_up import nowhere, too_late, track_names, unread_verdicts, worst
from l4edge_pipeline.safety.suspects import AlarmCounter, ConfirmationConfig, Places

MILLISECOND = 1_000_000
FORGET_S = 10.0
"""After so long without a certificate an object's history is dropped."""


@dataclass(frozen=True)
class MonitorConfig:
    """Parameters of the monitor; launch/config/safety_monitor.param.yaml holds the same and says what they mean."""

    reserve_ms: float = 25.0
    step_ms: float = 10.0
    same_object: float = 0.5
    objects: int = 10
    alarms_needed: int = 4
    alarm_frames: int = 6
    alarm_sign_px: float = 24.0
    alarm_object_px: float = 24.0
    alarm_confidence: float = 0.8
    same_suspect: float = 0.3
    tracked_share: float = 0.4
    alarm_object_score: float = 0.8
    objectness_needed: int = 3
    objectness_frames: int = 4
    self_test_period_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("reserve_ms", "step_ms", "self_test_period_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"safety_monitor.param.yaml: {name} must be above 0")
        if not 0 < self.same_object < 1 or self.objects < 1:
            raise InputError("safety_monitor.param.yaml: same_object must be a share, objects at least 1")
        if not 1 <= self.objectness_needed <= self.objectness_frames:
            raise InputError("safety_monitor.param.yaml: objectness_needed must be from 1 to objectness_frames")
        self.confirmation()

    def confirmation(self) -> ConfirmationConfig:
        """What confirms an alarm."""
        return ConfirmationConfig(
            self.alarms_needed, self.alarm_frames, self.alarm_sign_px, self.alarm_object_px, self.alarm_confidence,
            self.same_suspect, self.tracked_share, self.alarm_object_score,
        )


class Monitor:
    """Examines frames one by one.

    Args:
        signs: certifies signs and lights, or None where there is no certified package: then none of them is certified.
        hiding: looks for hidden objects, or None to leave that out: then nothing is claimed about them.
        self_test: stored crops for ``signs``.
        config: parameters.
        deadline_ms: after a frame's arrival; no certificate leaves later.
        clock: nanoseconds that do not run back. ros_clock: nanoseconds of ROS time.
        refused: why a package could not be loaded; nothing is certified then.

    Attributes:
        finding: what the last test of the monitor itself, or the last fault, has found; empty where all is well.
    """

    def __init__(
        self, signs: Optional[SignCertifier], hiding: Optional[HidingInspector], self_test: Optional[SelfTest],
        config: MonitorConfig, deadline_ms: float, clock: Callable[[], int] = time.monotonic_ns,
        ros_clock: Callable[[], int] = time.time_ns,
        refused: str = "",
    ) -> None:
        self._signs = signs
        self._hiding = hiding
        self._self_test = self_test
        self._config = config
        self._deadline_ms = deadline_ms
        self._clock = clock
        self._ros_clock = ros_clock
        self._alarms = AlarmCounter(config.confirmation())
        self._unexplained = Places(config.objectness_frames, config.same_suspect)
        self._patch = signs.patch if signs else PatchModel()
        self._refused = refused
        self._intact = not refused
        self._passed = False
        self._tested_ns = self._tested_ros_ns = 0
        self._certified: Dict[int, int] = {}
        self.finding = refused

    def check(self) -> None:
        """Test the monitor itself: stored crops and the files of its packages. Sets ``finding``, empty if all is well.

        Takes as long as it takes; not to be called while a frame waits.
        """
        self._tested_ns, self._tested_ros_ns = self._clock(), self._ros_clock()
        self._passed = False
        try:
            if not self.verify_files():
                return
            signs = self._signs
            if signs is not None:
                if self._self_test is None:
                    self.finding = "no stored crops to test the monitor with"
                    return
                self.finding = self._self_test.run(lambda crop: signs.crop_certificate(crop, _always, escalate=False))
            else:
                self.finding = ""
        except Exception as fault:
            self.finding = f"self-test: {type(fault).__name__}: {fault}"
        self._passed = not self.finding

    def check_due(self) -> bool:
        """Whether the last test is old."""
        return self._clock() - self._tested_ns > self._config.self_test_period_s * 1e9

    def verify_files(self) -> bool:
        """Whether the packages' files are still those that were loaded; if not, nothing is certified."""
        parts = [part for part in (self._signs, self._hiding) if part is not None]
        self._intact = not self._refused and all(part.verify() for part in parts)
        if not self._intact:
            self.finding = self._refused or "a file of a model package is not the one that was loaded"
        return self._intact

    def examine(self, scene: Scene) -> SafetyVerdict:
        """The verdict on one frame, at the latest ``reserve_ms`` before the deadline apart from one step's excess."""
        started_ns = self._clock()
        try:
            verdict = self._examine(scene)
        except Unfit as finding:
            verdict = self._uncertified(scene, str(finding))
        except Exception as fault:
            self.finding = f"{type(fault).__name__}: {fault}"
            verdict = self._uncertified(scene, "fault")
        now_ns = self._clock()
        if now_ns - scene.arrived_ns > self._deadline_ms * MILLISECOND:
            verdict = too_late(verdict)
        self._remember(verdict)
        width = math.inf if scene.pixels is None else float(scene.pixels.shape[1])
        return replace(
            verdict,
            inference_ms=(now_ns - started_ns) / MILLISECOND,
            alarm_count=self._alarms.take(verdict.objects, scene.tracks, width),
            objects=tuple(self._with_history(entry, scene.stamp_ns) for entry in verdict.objects),
        )

    def _uncertified(self, scene: Scene, reason: str) -> SafetyVerdict:
        return SafetyVerdict(
            stamp_ns=scene.stamp_ns, verdict=Verdict.UNCERTIFIED, reason=reason, deadline_ms=self._deadline_ms,
            patch=self._patch, self_test_passed=self._passed, self_test_ns=self._tested_ros_ns,
        )

    def _examine(self, scene: Scene) -> SafetyVerdict:
        if not self._intact:
            raise Unfit("model")
        if not self._passed:
            raise Unfit("self_test")
        pixels, detections = usable(scene)
        cutoff_ns = scene.arrived_ns + int((self._deadline_ms - self._config.reserve_ms) * MILLISECOND)
        pacer = Pacer(cutoff_ns, int(self._config.step_ms * MILLISECOND), self._clock)
        names = track_names(detections, scene.tracks, self._config.same_object)
        objects, smallest = self._labels(pixels, detections, names, pacer)
        # What is too small for a certificate is said to be so, and is no reason to say anything of the whole frame.
        labels = [entry for entry in objects if self._signs is None or not self._signs.too_small(entry.box)]
        free, claim = FreeSpace(), Claim.NO_SINGLE_REGION_CAUSE
        shares = [entry.covered for entry in labels]
        passes = [(entry.passes_done, entry.passes_required) for entry in labels]
        verdicts = [(entry.verdict, entry.reason) for entry in labels]
        if self._hiding is not None:
            pacer.begin()
            found, looked, free = self._hiding.inspect(pixels, detections, scene.camera, pacer.more_time)
            claim = Claim.HIDING_OR_ALERT if free.certified.any() else claim
            unexplained = self._lasting(objectness_verdicts(looked))
            objects += unexplained + hidden_verdicts(found) + seen_verdicts(found, names, self._config.objects)
            verdicts += [(entry.verdict, entry.reason) for entry in unexplained]
            shares.append(float(np.clip(found.covered, 0.0, 1.0)))
            passes.append((found.passes, found.passes_required))
            verdicts.append((Verdict(int(found.verdict)), found.reason))
        verdict, reason = worst(verdicts)
        if any(done < required for done, required in passes):
            free = nowhere(free)  # a frame that was cut short claims nothing beyond its finished parts
        if verdict == Verdict.ALARM and any(entry.recovered_certified for entry in labels):
            claim = Claim.RECOVERED
        elif verdict != Verdict.CERTIFIED:
            claim = Claim.NO_CLAIM
        return replace(
            self._uncertified(scene, reason),
            verdict=verdict,
            claim=claim,
            covered=min(shares, default=1.0),
            passes_done=sum(done for done, _ in passes),
            passes_required=sum(required for _, required in passes),
            smallest_margin=smallest,
            objects=tuple(objects),
            free_space=free,
        )

    def _labels(
        self, pixels: np.ndarray, detections: Detections, names: List[Optional[int]], pacer: Pacer
    ) -> Tuple[List[ObjectVerdict], float]:
        """Verdicts on what signs and lights say, the tallest first, and the smallest margin of their logits."""
        found, margins = [], [float("inf")]
        signs = self._signs
        if signs is None:
            return unread_verdicts(detections, names), float("nan")
        for row in signs.readable(detections).tolist():
            verdict, certificate = signs.certify(pixels, detections, row, names[row], pacer.more_time)
            found.append(verdict)
            if certificate.passes:
                margins.append(certificate.margin)
        smallest = min(margins)
        return found, smallest if np.isfinite(smallest) else float("nan")

    def _lasting(self, unexplained: List[ObjectVerdict]) -> List[ObjectVerdict]:
        """What objectness objects to: an alarm only where it has done so for some frames, else not certified.

        One network's word about one frame is wrong too often to slow a vehicle down; what is hidden stays hidden.
        """
        needed = self._config.objectness_needed
        return [
            entry if count >= needed else replace(entry, verdict=Verdict.UNCERTIFIED, reason="low_confidence")
            for entry, count in zip(unexplained, self._unexplained.take(unexplained))
        ]

    def _remember(self, verdict: SafetyVerdict) -> None:
        for entry in verdict.objects:
            if entry.object_id is not None and entry.hazard == Hazard.LABEL and entry.verdict == Verdict.CERTIFIED:
                self._certified[entry.object_id] = verdict.stamp_ns
        oldest = verdict.stamp_ns - int(FORGET_S * 1e9)
        self._certified = {name: stamp for name, stamp in self._certified.items() if stamp > oldest}

    def _with_history(self, entry: ObjectVerdict, stamp_ns: int) -> ObjectVerdict:
        if entry.object_id is None or entry.hazard != Hazard.LABEL or entry.object_id not in self._certified:
            return entry
        return replace(entry, certified_age_s=(stamp_ns - self._certified[entry.object_id]) * 1e-9)


def _always() -> bool:
    return True
