"""What came of a drive: what the networks said of the target, when the monitor objected, and what the vehicle did."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.safety_types import State, Verdict
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES
from l4edge_pipeline.demonstration.loop import PERIOD_S, Frame
from l4edge_pipeline.demonstration.scenes import STOP, Target
from l4edge_pipeline.planning import PlannerConfig

SAME_OBJECT = 0.3
"""Overlap (intersection over union) from which a detection is taken for the target's."""

ABOUT = 0.2
"""Overlap from which an alarm's box is about the target."""

READABLE_PX = 16.0
"""Lower signs are not read by the pipeline; of what is lower nothing is expected."""

SEEN_PX = 16.0
"""Height of a vehicle's box from which it is expected to be found."""

STANDING_MPS = 0.3
BEFORE_M = 12.0
"""The vehicle counts as having stopped for a sign when it stood within this distance before it."""

MISSED, UNREAD = "missed", "unread"
ROAD_USERS = ("car", "truck", "pedestrian", "cyclist")


@dataclass(frozen=True)
class Answer:
    """What the driving path's networks said of the target in one frame.

    Attributes:
        word: a meaning or a class, ``MISSED`` or ``UNREAD``. confidence: of it, 0..1.
        box: of the detection, pixels, or None.
        height_px: of the target itself in the picture, 0 where it is out of it.
        right: of a sign, whether the word is the truth; of a vehicle, whether the pipeline has a track of it; None
            where the target is too small or out of the picture.
    """

    word: str
    confidence: float
    box: Optional[Tuple[float, float, float, float]]
    height_px: float
    right: Optional[bool]


def answer(frame: Frame, kind: str, target: Target) -> Answer:
    """Compare one frame's detections with the truth."""
    rows = np.flatnonzero((frame.truth.ids == target.identity) & ~frame.truth.ignore)
    if not len(rows):
        return Answer(MISSED, 0.0, None, 0.0, None)
    true = frame.truth.boxes[rows[0]].astype(float)
    height = float(true[3] - true[1])
    enough = height >= (READABLE_PX if kind == STOP else SEEN_PX)
    found, wanted = frame.detections, ("sign",) if kind == STOP else ROAD_USERS
    fitting = [
        (overlap(box, true), row)
        for row, box in enumerate(found.boxes.astype(float))
        if OBJECT_CLASSES[found.class_ids[row]] in wanted
    ]
    best, row = max(fitting, default=(0.0, -1))
    known = kind != STOP and _is_tracked(frame, true)
    if best < SAME_OBJECT:
        return Answer(MISSED, 0.0, None, height, known if enough else None)
    box = tuple(float(value) for value in found.boxes[row])
    if kind != STOP:
        word = OBJECT_CLASSES[found.class_ids[row]]
        return Answer(word, float(found.scores[row]), box, height, known if enough else None)  # type: ignore[arg-type]
    meanings = found.meanings[row]
    if not meanings.any():
        return Answer(UNREAD, 0.0, box, height, None)  # type: ignore[arg-type]
    word = MEANINGS[int(meanings.argmax())]
    return Answer(word, float(meanings.max()), box, height, word == "stop")  # type: ignore[arg-type]


def _is_tracked(frame: Frame, true: np.ndarray) -> bool:
    """Whether the pipeline knows of a road user there; a single miss of the detector does not make it forget."""
    tracks = frame.tracks
    return any(
        OBJECT_CLASSES[tracks.class_ids[row]] in ROAD_USERS and overlap(box, true) >= SAME_OBJECT
        for row, box in enumerate(tracks.boxes.astype(float))
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0.0)))
    sizes = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return common / max(sum(sizes) - common, 1e-9)


@dataclass(frozen=True)
class Outcome:
    """One drive in numbers; frames count from 0, None where something did not happen.

    Attributes:
        frames: of the drive. seconds: that they last.
        target_readable: frames in which the target was large enough. target_wrong: of those, answered wrongly.
        first_wrong: first such frame. words: how often each word was said of the readable target.
        first_alarm: first frame with an alarm of the monitor about the target. first_judged: first wrong answer about a
            target that is large enough for the monitor to judge. alarm_delay: frames from that one to the alarm.
        first_degraded: first frame whose plan obeyed DEGRADED or worse. highest_state: name of the worst.
        alarms: frames with an alarm about anything; alarms_elsewhere: with one about something else than the target.
        certified, uncertified: frames.
        stopped: whether it came to a standstill before the target (a sign: shortly before; or anywhere, where the
            safety state stopped it).
        gap_m: from the front bumper to the target then, negative behind a sign.
        passed_mps: speed at which the front passed the sign.
        contact_mps: speed at the first contact with anything. hardest_mps2: strongest braking from the first
            alarm on, or of the whole drive without one, up to a contact.
        end_mps: speed at the end.
    """

    frames: int
    seconds: float
    target_readable: int
    target_wrong: int
    first_wrong: Optional[int]
    words: Dict[str, int]
    first_alarm: Optional[int]
    first_judged: Optional[int]
    alarm_delay: Optional[int]
    first_degraded: Optional[int]
    highest_state: str
    alarms: int
    alarms_elsewhere: int
    certified: int
    uncertified: int
    stopped: bool
    gap_m: Optional[float]
    passed_mps: Optional[float]
    contact_mps: Optional[float]
    hardest_mps2: float
    end_mps: float

    def to_json(self) -> Dict[str, Any]:
        """As a dictionary of plain values."""
        return asdict(self)

    @property
    def safe(self) -> bool:
        """Whether it stopped before the target and touched nothing."""
        return self.stopped and self.contact_mps is None


def judge(
    frames: Sequence[Frame], stations: Sequence[float], kind: str, target: Optional[Target], judged_px: float = 0.0
) -> Outcome:
    """Sum a drive up.

    Args:
        stations: of the ego's ``base_link`` along the road, one a frame.
        judged_px: height from which the monitor judges a sign.
    """
    answers = [answer(frame, kind, target) for frame in frames] if target else []
    wrong = [index for index, each in enumerate(answers) if each.right is False]
    judged = [index for index in wrong if answers[index].height_px >= judged_px]
    alarmed = [index for index, frame in enumerate(frames) if target and alarm_about(frame, target)]
    degraded = [index for index, frame in enumerate(frames) if state_of(frame) >= State.DEGRADED]
    words: Dict[str, int] = {}
    for each in answers:
        if each.right is not None:
            words[each.word] = words.get(each.word, 0) + 1
    contact = _first(bool(frame.contacts) for frame in frames)
    gaps = [target.station - s - PlannerConfig().front_m for s in stations] if target else []
    stopped, gap = _stop(frames, gaps, kind, contact)
    passed = _first(value < 0.0 for value in gaps) if kind == STOP else None
    verdicts = [frame.verdict.verdict for frame in frames if frame.verdict is not None]
    until = len(frames) if contact is None else max(contact, 1)
    since = alarmed[0] if alarmed and alarmed[0] < until else 0
    return Outcome(
        frames=len(frames),
        seconds=round(len(frames) * PERIOD_S, 3),
        target_readable=sum(each.right is not None for each in answers),
        target_wrong=len(wrong),
        first_wrong=wrong[0] if wrong else None,
        words=dict(sorted(words.items(), key=lambda pair: -pair[1])),
        first_alarm=alarmed[0] if alarmed else None,
        first_judged=judged[0] if judged else None,
        alarm_delay=_delay(judged, alarmed),
        first_degraded=degraded[0] if degraded else None,
        highest_state=max((state_of(frame) for frame in frames), default=State.NOMINAL).name,
        alarms=sum(alarm_of(frame) for frame in frames),
        alarms_elsewhere=sum(alarm_elsewhere(frame, target) for frame in frames),
        certified=sum(verdict == Verdict.CERTIFIED for verdict in verdicts),
        uncertified=sum(verdict == Verdict.UNCERTIFIED for verdict in verdicts),
        stopped=stopped,
        gap_m=None if gap is None else round(gap, 2),
        passed_mps=None if passed is None else round(frames[passed].ego.speed, 2),
        contact_mps=None if contact is None else round(frames[contact].ego.speed, 2),
        hardest_mps2=round(-min(frame.ego.acceleration for frame in frames[since:until]), 2),
        end_mps=round(frames[-1].ego.speed, 2),
    )


def alarm_of(frame: Frame) -> bool:
    """Whether the monitor raised an alarm in this frame."""
    return frame.verdict is not None and frame.verdict.verdict == Verdict.ALARM


def alarm_about(frame: Frame, target: Target) -> bool:
    """Whether one of the alarms of this frame is about the target."""
    return _alarmed_boxes(frame, target)[0]


def alarm_elsewhere(frame: Frame, target: Optional[Target]) -> bool:
    """Whether one of the alarms of this frame is about something else."""
    return _alarmed_boxes(frame, target)[1]


def _alarmed_boxes(frame: Frame, target: Optional[Target]) -> Tuple[bool, bool]:
    """Whether boxes under an alarm lie on the target, and whether any lie elsewhere."""
    if frame.verdict is None:
        return False, False
    boxes = [entry.box for entry in frame.verdict.objects if entry.verdict == Verdict.ALARM]
    rows = np.flatnonzero(frame.truth.ids == target.identity) if target else np.zeros(0, int)
    true = frame.truth.boxes[rows[0]].astype(float) if len(rows) else np.full(4, np.nan)
    on = [bool(overlap(np.array(box), true) >= ABOUT) for box in boxes]
    return any(on), not all(on)


def state_of(frame: Frame) -> State:
    """The safety state that the frame's plan obeyed."""
    return State.NOMINAL if frame.status is None else frame.status.state


def _stop(
    frames: Sequence[Frame], gaps: Sequence[float], kind: str, contact: Optional[int]
) -> Tuple[bool, Optional[float]]:
    """Whether the vehicle stood before the target, and how far before it."""
    standing = [
        gap
        for index, (frame, gap) in enumerate(zip(frames, gaps))
        if frame.ego.speed < STANDING_MPS and (contact is None or index < contact)
    ]
    if kind != STOP or not _ended_by(frames):
        standing = [gap for gap in standing if gap > 0.0 and (kind != STOP or gap < BEFORE_M)]
    return bool(standing), min(standing) if standing else None


def _ended_by(frames: Sequence[Frame]) -> bool:
    """Whether the safety state, not the sign, ended the drive."""
    return state_of(frames[-1]) >= State.DEGRADED


def _delay(wrong: Sequence[int], alarmed: Sequence[int]) -> Optional[int]:
    """Frames from the first wrong answer to the alarm; 0 for an alarm in that frame or before."""
    if not wrong or not alarmed:
        return None
    return max(0, alarmed[0] - wrong[0])


def _first(flags: Any) -> Optional[int]:
    return next((index for index, flag in enumerate(flags) if flag), None)


def escalations(outcomes: List[Outcome]) -> Dict[str, Any]:
    """Of clean drives: how high the state went, and alarms per hour."""
    hours = sum(outcome.seconds for outcome in outcomes) / 3600.0
    above = [outcome for outcome in outcomes if State[outcome.highest_state] > State.CAUTION]
    alarms = sum(outcome.alarms for outcome in outcomes)
    return {
        "drives": len(outcomes),
        "hours": round(hours, 4),
        "frames": sum(outcome.frames for outcome in outcomes),
        "above_caution": len(above),
        "alarm_frames": alarms,
        "alarms_per_hour": round(alarms / hours, 1) if hours else None,
        "certified_share": round(
            sum(outcome.certified for outcome in outcomes) / max(sum(outcome.frames for outcome in outcomes), 1), 4
        ),
        "contacts": sum(outcome.contact_mps is not None for outcome in outcomes),
    }
