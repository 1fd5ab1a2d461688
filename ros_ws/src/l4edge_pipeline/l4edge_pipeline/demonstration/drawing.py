"""Pictures of the page: what the camera saw, what the network said of the target, and which windows disagreed."""

from typing import Any, List, Optional, Tuple

import cv2
import numpy as np

from l4edge_perception.safety_types import Hazard, ObjectVerdict, State, Verdict
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES
from l4edge_pipeline.demonstration.loop import PERIOD_S, Frame
from l4edge_pipeline.demonstration.outcomes import MISSED, Answer, state_of
from l4edge_pipeline.demonstration.scenes import Target
from l4edge_pipeline.report import canvas
from l4edge_pipeline.report.canvas import Colour

RED, GREEN, AMBER, GREY, WHITE = (255, 84, 84), (96, 222, 130), (255, 190, 60), (150, 158, 170), (255, 255, 255)
STATE_COLOURS = {
    State.NOMINAL: GREEN, State.CAUTION: AMBER, State.DEGRADED: (255, 140, 60), State.MINIMAL_RISK_MANOEUVRE: RED,
}
STRIP_HEIGHT, INSET_PX, INSET_GAP_PX, INSET_LEAST_PX = 28, 168, 6, 24
WINDOWS_DRAWN = 6


def decoded(frame: Frame) -> np.ndarray:
    """(H, W, 3) uint8 red green blue."""
    picture: Any = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture[..., ::-1])


def draw(frame: Frame, index: int, said: Answer, target: Target) -> bytes:
    """One annotated frame as a JPEG file."""
    image = decoded(frame)
    picture = image.copy()
    for box in frame.detections.boxes:
        cv2.rectangle(picture, *_corners(box), GREY, 1)
    true = _true_box(frame, target)
    _draw_windows(picture, frame)
    if true is not None:
        _draw_target(picture, true, said)
        _add_inset(picture, image, true)
    strip = _strip(picture.shape[1], frame, index)
    encoded = cv2.imencode(".jpg", np.vstack([picture, strip])[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 84])[1]
    return bytes(encoded.tobytes())


def _true_box(frame: Frame, target: Target) -> Optional[np.ndarray]:
    rows = np.flatnonzero(frame.truth.ids == target.identity)
    return frame.truth.boxes[rows[0]] if len(rows) else None


def _corners(box: np.ndarray) -> Tuple[Tuple[int, int], Tuple[int, int]]:
    x_min, y_min, x_max, y_max = (round(float(value)) for value in box)
    return (x_min, y_min), (x_max, y_max)


def _draw_target(picture: np.ndarray, true: np.ndarray, said: Answer) -> None:
    colour = {True: GREEN, False: RED, None: GREY}[said.right]
    words = said.word if said.word == MISSED else f"{said.word} {said.confidence:.2f}"
    corners = _corners(true)
    if said.box is None:
        canvas.dashed_rectangle(picture, corners, colour)
    else:
        corners = _corners(np.array(said.box))
        cv2.rectangle(picture, *corners, colour, 2)
    canvas.tag(picture, words, corners, colour, [(*corners[0], *corners[1])])


def _draw_windows(picture: np.ndarray, frame: Frame) -> None:
    """The windows in which the monitor's answer changes, and what it then sees."""
    if frame.verdict is None:
        return
    for entry in frame.verdict.objects:
        if entry.verdict != Verdict.ALARM:
            continue
        for window in entry.disagreeing[:WINDOWS_DRAWN]:
            canvas.dashed_rectangle(picture, _corners(np.array(window.window)), AMBER, 3)
        words = f"monitor: {_found(entry)}"
        corners = _corners(np.array(entry.box))
        canvas.dashed_rectangle(picture, corners, AMBER)
        canvas.tag(picture, words, (corners[0], corners[1]), AMBER, [(*corners[0], corners[1][0], corners[1][1] + 1)])


def _found(entry: ObjectVerdict) -> str:
    """What the monitor makes of an object under an alarm, in two words."""
    if entry.hazard == Hazard.HIDING:
        known = 0 <= entry.class_id < len(OBJECT_CLASSES)
        return (OBJECT_CLASSES[entry.class_id] if known else "something") + " hidden"
    if 0 <= entry.recovered_label < len(MEANINGS):
        return MEANINGS[entry.recovered_label]
    return "windows disagree"


def _add_inset(picture: np.ndarray, image: np.ndarray, true: np.ndarray) -> None:
    """The target enlarged, in the corner of the picture that is farther from it."""
    size = min(INSET_PX, image.shape[0] // 2)
    edge = max(true[2] - true[0], true[3] - true[1], INSET_LEAST_PX) * 1.25
    left, top = 0.5 * (true[0] + true[2] - edge), 0.5 * (true[1] + true[3] - edge)
    scale = edge / size
    matrix = np.array([[scale, 0.0, left + 0.5 * scale - 0.5], [0.0, scale, top + 0.5 * scale - 0.5]])
    inset = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    x = INSET_GAP_PX if 0.5 * (true[0] + true[2]) > image.shape[1] / 2 else image.shape[1] - size - INSET_GAP_PX
    picture[INSET_GAP_PX : INSET_GAP_PX + size, x : x + size] = inset
    cv2.rectangle(picture, (x, INSET_GAP_PX), (x + size, INSET_GAP_PX + size), WHITE, 1)


def _strip(width: int, frame: Frame, index: int) -> np.ndarray:
    strip = np.full((STRIP_HEIGHT, width, 3), (22, 26, 33), np.uint8)
    words: List[Tuple[str, Colour]] = [
        (f"{index * PERIOD_S:.1f} s", GREY),
        (f"{frame.ego.speed:.1f} m/s", WHITE),
        (f"plan: {frame.trajectory.reason}", WHITE),
    ]
    if frame.contacts:
        words.append(("CONTACT", RED))
    if frame.verdict is not None:
        colour = {Verdict.CERTIFIED: GREEN, Verdict.UNCERTIFIED: GREY, Verdict.ALARM: AMBER}[frame.verdict.verdict]
        words.append((f"{frame.verdict.verdict.name.lower()}: {frame.verdict.reason}", colour))
    if frame.status is not None:
        words.append((state_of(frame).name.replace("_", " "), STATE_COLOURS[state_of(frame)]))
    place = 8
    for text, colour in words:
        place = canvas.text(strip, text, (place, STRIP_HEIGHT - 10), colour, 0.42) + 16
    return strip
