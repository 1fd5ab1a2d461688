"""What the safety monitor says: frozen dataclasses, no ROS. Their messages are those of ``l4edge_msgs``.

A certificate holds for the frame it was made for and never for another one. What it assumes travels with it.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Optional, Tuple

import numpy as np

NO_LABEL = 255
"""Where nothing was read."""

Box = Tuple[float, float, float, float]
"""x_min y_min x_max y_max, pixels of the full image, origin at the outer corner of its top-left pixel."""


class Verdict(IntEnum):
    """What is said of a frame or an object; values as in ``l4edge_msgs/ObjectVerdict``."""

    CERTIFIED = 0
    UNCERTIFIED = 1
    ALARM = 2


class Hazard(IntEnum):
    """What a verdict on an object is about; values as in ``l4edge_msgs/ObjectVerdict``."""

    LABEL = 0
    HIDING = 1


class Claim(IntEnum):
    """What a certificate of a frame says; values as in ``l4edge_msgs/SafetyVerdict``."""

    NO_CLAIM = 0
    NO_SINGLE_REGION_CAUSE = 1
    HIDING_OR_ALERT = 2
    RECOVERED = 3


REASONS = (
    "agreed", "disagreed", "low_confidence", "deadline", "size", "margin", "input", "model", "self_test", "fault"
)
"""The one word that goes with a verdict."""


@dataclass(frozen=True)
class WindowVerdict:
    """One mask position whose result differs: where a patch may lie, not that one does.

    Attributes:
        window: of the mask.
        label: index into ``MEANINGS`` for a sign or light, else into ``OBJECT_CLASSES``; with the window masked.
        confidence: of that label, 0..1.
    """

    window: Box
    label: int
    confidence: float


@dataclass(frozen=True)
class ObjectVerdict:
    """What is said of one object.

    Attributes:
        object_id: of the track, or None for an object that only masked images show.
        hazard: what the verdict is about.
        box: of the object.
        class_id: index into ``OBJECT_CLASSES``. score: of the detection, 0..1.
        verdict, reason: see ``REASONS``.
        covered: share of the patch positions that were checked in time, 0..1.
        passes_done, passes_required: of the network, over masked images.
        label: index into ``MEANINGS`` without a mask, or ``NO_LABEL``. confidence: of it, 0..1.
        recovered_label: without what the disagreeing windows hide, or ``NO_LABEL``.
        recovered_certified: whether all pairs of masks agreed on it; otherwise it is a guess.
        largest_patch_px: side of the largest square patch that the certificate holds for; 0: none.
        certified_age_s: since this object last had a certificate; negative: never. History, not a certificate.
        disagreeing: windows whose result differs.
    """

    object_id: Optional[int]
    hazard: Hazard
    box: Box
    class_id: int
    score: float
    verdict: Verdict
    reason: str
    covered: float = 0.0
    passes_done: int = 0
    passes_required: int = 0
    label: int = NO_LABEL
    confidence: float = 0.0
    recovered_label: int = NO_LABEL
    recovered_certified: bool = False
    largest_patch_px: float = 0.0
    certified_age_s: float = -1.0
    disagreeing: Tuple[WindowVerdict, ...] = ()


@dataclass(frozen=True)
class PatchModel:
    """What certificates assume of a patch and of the networks; the same for every frame of a run.

    Attributes:
        count: patches at a time.
        height_px, width_px: largest size, in pixels of ``space``, the tensor that masks act on.
        mask_set: name of the covering set.
        confidence_threshold: a disagreeing mask of lower confidence raises no alarm (tau).
        numeric_margin: a smaller lead of the first over the second logit counts as no decision (eps).
        model_hash, configuration_hash: sha256 of the model's files and of the settings.
    """

    count: int = 1
    height_px: int = 0
    width_px: int = 0
    space: str = ""
    mask_set: str = ""
    confidence_threshold: float = 0.0
    numeric_margin: float = 0.0
    model_hash: str = ""
    configuration_hash: str = ""


@dataclass(frozen=True)
class AlarmCount:
    """Frames with an alarm among the last ones.

    Attributes:
        alarms: of the last ``frames``. needed: for the alarm to be confirmed.
    """

    alarms: int = 0
    needed: int = 0
    frames: int = 0
    confirmed: bool = False


@dataclass(frozen=True)
class FreeSpace:
    """Where on the ground ahead nothing can be hidden by one patch without the monitor noticing.

    Attributes:
        forward_m, left_m: centre of the cell at row 0 and column 0, metres, ``base_link`` at the frame's stamp.
        forward_step_m, left_step_m: from one row, one column to the next.
        certified: (rows, columns) bool; an object standing in a true cell is detected or alerted, whatever one patch
            shows, and no object is seen there.
    """

    forward_m: float = 0.0
    forward_step_m: float = 0.0
    left_m: float = 0.0
    left_step_m: float = 0.0
    certified: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))


@dataclass(frozen=True)
class SafetyVerdict:
    """What the monitor says of one frame.

    Attributes:
        stamp_ns: of the image.
        verdict, reason: of the frame as a whole, see ``REASONS``.
        claim: what a certificate of this frame says.
        covered: share of the patch positions that were checked in time, 0..1.
        passes_done, passes_required: of the networks, over masked images.
        inference_ms: from the start of the work on the frame to its verdict.
        deadline_ms: after the image's arrival, when the work is cut off.
        patch: what is assumed.
        smallest_margin: of this frame's logits; NaN where none was computed. Helps an attacker: keep it on board.
        alarm_count: escalation.
        self_test_passed, self_test_ns: the last self-test, ROS time; 0: none yet.
        objects, free_space: verdicts on their parts.
    """

    stamp_ns: int
    verdict: Verdict
    reason: str
    claim: Claim = Claim.NO_CLAIM
    covered: float = 0.0
    passes_done: int = 0
    passes_required: int = 0
    inference_ms: float = 0.0
    deadline_ms: float = 0.0
    patch: PatchModel = PatchModel()
    smallest_margin: float = float("nan")
    alarm_count: AlarmCount = AlarmCount()
    self_test_passed: bool = False
    self_test_ns: int = 0
    objects: Tuple[ObjectVerdict, ...] = ()
    free_space: FreeSpace = field(default_factory=FreeSpace)


class State(IntEnum):
    """How far the vehicle may go on; values as in ``l4edge_msgs/SafetyStatus``."""

    NOMINAL = 0
    CAUTION = 1
    DEGRADED = 2
    MINIMAL_RISK_MANOEUVRE = 3


@dataclass(frozen=True)
class SafetyStatus:
    """What the vehicle does about its faults and verdicts.

    Attributes:
        stamp_ns: now, on the clock of the sensors' stamps; 0 before the first frame.
        state: the highest that any cause asks for.
        reasons: every cause that holds the state above NOMINAL, with a word why.
        speed_cap: metres per second, infinite in NOMINAL.
        minimum_time_gap: to the vehicle ahead, seconds; 0 in NOMINAL.
        verdict, verdict_reason: what is believed of the newest frame; UNCERTIFIED and "missing" where nothing came.
        suspects: tracks of signs and lights that alarms are about, for as long as alarms hold the state.
    """

    stamp_ns: int
    state: State = State.NOMINAL
    reasons: Tuple[str, ...] = ()
    speed_cap: float = float("inf")
    minimum_time_gap: float = 0.0
    verdict: Verdict = Verdict.UNCERTIFIED
    verdict_reason: str = "missing"
    suspects: Tuple[int, ...] = ()
