"""What of the objects in a row of pictures masks and objectness certify, counted."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l4edge_compression.defense.detectors import MaskedDetector, View
from l4edge_compression.defense.explaining import GROUPS, ObjectMaskSettings, areas, gather, intersections, unexplained
from l4edge_compression.defense.objectness import ROAD_USERS, Objectness
from l4edge_compression.defense.objects import certify_objects, make_masks, to_detections
from l4edge_compression.defense.positions import POSITION_CLASSES, PositionShares
from l4edge_compression.tasks import evenly
from l4edge_perception.camera.decoders import Candidates
from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import FrameEvent
from l4edge_perception.recordings.media import open_video
from l4edge_perception.training.dataset import read_image, read_split

LARGE = 48
"""Pixels of the network's input: the longer side of objects that are listed separately."""

MASKS = {
    "lines 1": {"columns": 1, "rows": 1, "erased": 0.3},
    "lines 2": {"columns": 2, "rows": 2, "erased": 0.3},
    "lines 5": {"columns": 5, "rows": 5, "erased": 0.3},
    "windows 4 x 3": {"columns": 0, "rows": 0, "window_columns": 4, "window_rows": 3, "erased": 0.7},
    "windows 6 x 4": {"columns": 0, "rows": 0, "window_columns": 6, "window_rows": 4, "erased": 0.7},
}
"""Lines per axis (4 passes each) and windows across and down."""

PATCHES = (16, 32)


def make_variants(scores: Sequence[float]) -> dict[str, ObjectMaskSettings]:
    """Every set of masks at every lowest score of a masked box."""
    return {
        f"{name}, {score:g}": ObjectMaskSettings(patches=PATCHES, masked_score=score, **chosen)  # type: ignore[arg-type]
        for name, chosen in MASKS.items()
        for score in scores
    }


@dataclass(frozen=True)
class Scene:
    """One picture and the objects that are to be certified in it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        boxes: (N, 4) of objects that count, pixels of the picture; None where the detector itself has to say.
        class_ids: (N,).
        everything: (K, 4), also what does not count (too small, hardly visible): a hidden object found there is real.
    """

    pixels: np.ndarray
    boxes: np.ndarray | None
    class_ids: np.ndarray | None
    everything: np.ndarray | None


class Tally:
    """Sums over frames of what one variant certifies."""

    def __init__(self, patches: Sequence[int]) -> None:
        self._patches = tuple(patches)
        self._frames = self._alarmed = self._hidden = self._real = 0
        self._counts = {name: np.zeros((len(patches), 3)) for name in ("all", "large")}
        self._shares = np.zeros((len(patches), 3))
        self._objects = {"all": 0, "large": 0}

    def frame(self, hidden: np.ndarray, everything: np.ndarray | None) -> None:
        """Count the hidden objects (H, 4) that a frame without a patch gives."""
        self._frames += 1
        self._alarmed += len(hidden) > 0
        self._hidden += len(hidden)
        if everything is not None:
            self._real += int((intersections(hidden, everything) > 0.5 * areas(hidden)[:, None]).any(axis=1).sum())

    def alarm(self, alarmed: bool) -> None:
        """Count an alert without boxes."""
        self._frames += 1
        self._alarmed += alarmed

    def objects(self, shares: PositionShares, large: np.ndarray) -> None:
        """Count a frame's objects."""
        for name, chosen in (("all", np.ones(len(shares), bool)), ("large", large)):
            self._counts[name] += shares.certified[chosen].sum(axis=0)
            self._objects[name] += int(chosen.sum())
        self._shares += shares.shares.sum(axis=0)

    def to_json(self) -> dict[str, Any]:
        """Shares, rounded."""
        return {
            "frames": self._frames,
            "frames_alarmed": rounded(self._alarmed / max(self._frames, 1)),
            "hidden_per_frame": rounded(self._hidden / max(self._frames, 1)),
            "hidden_that_are_real": rounded(self._real / self._hidden) if self._hidden else None,
            "objects": self._objects,
            "certified": {
                name: self._by_class(values / max(self._objects[name], 1)) for name, values in self._counts.items()
            },
            "positions": self._by_class(self._shares / max(self._objects["all"], 1)),
        }

    def _by_class(self, values: np.ndarray) -> dict[str, dict[str, float]]:
        return {
            str(patch): dict(zip(POSITION_CLASSES, (rounded(value) for value in row), strict=True))
            for patch, row in zip(self._patches, values, strict=True)
        }


def rounded(value: float) -> float:
    """Four digits are more than any of these shares has."""
    return round(float(value), 4)


def read_scenes(dataset: Path | None, video: Path | None, count: int) -> Iterator[Scene]:
    """Pictures with what is there, or from a video without."""
    if dataset is not None:
        for frame in evenly(read_split(dataset, "test"), count):
            truth = frame.truth
            kept = ~truth.ignore
            yield Scene(read_image(frame.path), truth.boxes[kept], truth.class_ids[kept], truth.boxes)
        return
    if video is None:
        raise InputError("certified objects: neither --data nor --video is given")
    recording = open_video(video)
    wanted = set(np.linspace(0, recording.frame_count - 1, count).astype(int).tolist())
    for event in recording.read():
        if isinstance(event, FrameEvent) and event.sequence in wanted:
            yield Scene(event.image.decode(), None, None, None)


def judge(
    detector: MaskedDetector,
    scenes: Iterator[Scene],
    objectness: Objectness | None,
    reference_score: float,
    variants: Mapping[str, ObjectMaskSettings],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Look at every scene with every variant's masks and count.

    Args:
        detector: the defended one.
        scenes: pictures.
        objectness: judged beside the masks, or None.
        reference_score: lowest score of a detection that counts as an object where nobody knows what is there.
        variants: name and settings of the masks.
        report: called with a line every ten frames.

    Returns:
        Counts of all objects; what stands under "objectness" counts road users alone, the undefended recall, too.
    """
    tallies = {name: Tally(settings.patches) for name, settings in variants.items()}
    guard = Tally(PATCHES)
    found = objects = frames = users_found = 0
    times: list[float] = []
    for scene in scenes:
        frames += 1
        view = detector.view(scene.pixels)
        base = view.look()
        boxes, class_ids = reference(view, scene, base, reference_score)
        large = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= LARGE
        everything = None if scene.everything is None else view.to_input(scene.everything)
        objects += len(boxes)
        sighted = detected(boxes, class_ids, base)
        found += int(sighted.sum())
        looks: dict[tuple[int, ...], Candidates] = {}
        for name, settings in variants.items():
            masks = make_masks(view.region, settings)
            for window in masks.windows.tolist():
                if tuple(window) not in looks:
                    started = time.perf_counter()
                    looks[tuple(window)] = view.look(tuple(window))
                    times.append(time.perf_counter() - started)
            seen = [looks[tuple(window)] for window in masks.windows.tolist()]
            masked = gather(seen, masks.windows, settings)
            kept = unexplained(masked, base.boxes, base.class_ids, settings)
            tallies[name].frame(masked.boxes[kept], everything)
            known = (base.boxes, base.class_ids)
            tallies[name].objects(certify_objects(masks, seen, (boxes, class_ids), known, settings), large)
        if objectness is not None:
            shown = to_detections(view, base, 0)
            result = objectness.inspect(scene.pixels, shown)
            users = np.isin(class_ids, ROAD_USERS)
            users_found += int(sighted[users].sum())
            guard.alarm(result.alert)
            guard.objects(objectness.certify(result, view.to_picture(boxes[users]), shown, PATCHES), large[users])
        if frames % 10 == 0:
            report(f"{frames} frames, {objects} objects")
    watched = None
    if objectness is not None:
        watched = guard.to_json()
        watched["undefended_recall"] = rounded(users_found / max(watched["objects"]["all"], 1))
    return {
        "frames": frames,
        "objects": objects,
        "undefended_recall": rounded(found / max(objects, 1)),
        "fastest_pass_ms": round(1000 * min(times), 1) if times else None,
        "variants": {
            name: {"passes": passes(settings), **tallies[name].to_json()} for name, settings in variants.items()
        },
        "objectness": watched,
    }


def passes(settings: ObjectMaskSettings) -> int:
    """Masked views of a frame."""
    return 2 * (settings.columns + settings.rows) + settings.window_columns * settings.window_rows


def reference(view: View, scene: Scene, base: Candidates, score: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (pixels of the network's input) and classes of what is to be certified."""
    if scene.boxes is not None and scene.class_ids is not None:
        return view.to_input(scene.boxes), np.asarray(scene.class_ids, np.int64)
    sure = base.scores >= score
    return base.boxes[sure].astype(np.float64), np.asarray(base.class_ids[sure], np.int64)


def detected(boxes: np.ndarray, class_ids: np.ndarray, base: Candidates) -> np.ndarray:
    """(N,) bool: objects on which a box of their group sits, at an intersection over union of 0.5."""
    shared = intersections(boxes, base.boxes)
    union = areas(boxes)[:, None] + areas(base.boxes) - shared
    groups = np.array(GROUPS)
    same = np.equal.outer(groups[class_ids], groups[np.asarray(base.class_ids, np.int64)])
    return np.any(np.logical_and(same, shared >= 0.5 * union), axis=1)
