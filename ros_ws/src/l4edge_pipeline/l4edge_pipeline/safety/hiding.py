"""Looks for objects that one patch hides, and says where on the ground none can be hidden unnoticed.

Only masks make ground free: some view erases the patch, wherever it is, and shows enough of an object standing there.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

import numpy as np

from l4edge_compression.defense.detectors import MaskedDetector
from l4edge_compression.defense.explaining import ObjectMaskSettings
from l4edge_compression.defense.free_space import Cells, ground_cells
from l4edge_compression.defense.objectness import Objectness, ObjectnessResult, ObjectnessSettings
from l4edge_compression.defense.objects import Inspection, ObjectMasks
from l4edge_compression.defense.positions import CLOSE, FAR, OVER
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError
from l4edge_perception.packages import ModelPackage
from l4edge_perception.safety_types import FreeSpace, Hazard, ObjectVerdict, Verdict, WindowVerdict
from l4edge_perception.types import CameraModel, Detections
from l4edge_pipeline.safety.suspects import UNKNOWN_CLASS

CERTIFIED_CLASSES = (FAR, CLOSE)
"""Places of a patch, relative to an object, that its certificate is made out for: not on top of it."""

EVERYWHERE = (FAR, CLOSE, OVER)
"""Places of a patch that free ground is certified against. An object is not taken to look like one everywhere: what
objectness does not object to is not free for that reason."""


@dataclass(frozen=True)
class FreeSpaceConfig:
    """The grid on the ground ahead, ``base_link``, and the smallest object that must not be hidden on it.

    Attributes:
        nearest_m, farthest_m: centres of the first and the last row, forward.
        row_m: from one row to the next.
        half_width_m: centres of the outermost columns, to the left and to the right.
        column_m: from one column to the next.
        object_width_m, object_height_m: of the smallest object.
    """

    nearest_m: float = 8.0
    farthest_m: float = 40.0
    row_m: float = 4.0
    half_width_m: float = 4.0
    column_m: float = 2.0
    object_width_m: float = 1.6
    object_height_m: float = 1.4

    def __post_init__(self) -> None:
        if not (0 < self.nearest_m < self.farthest_m and self.row_m > 0 and self.column_m > 0):
            raise InputError("free space: nearest_m, farthest_m, row_m and column_m must be positive and in order")

    def rows(self) -> np.ndarray:
        """Forward, metres."""
        return np.arange(self.nearest_m, self.farthest_m + 1e-6, self.row_m)

    def columns(self) -> np.ndarray:
        """Left, metres."""
        return np.arange(-self.half_width_m, self.half_width_m + 1e-6, self.column_m)


class HidingInspector:
    """Masks over a detector package. Not to be used by two threads at once.

    Args:
        package: of a detector, the monitor's own session of it.
        level: of the package; the cheapest will do, since what matters is whether anything is seen at all.
        settings: of the masks.
        grid: of the free space.
        objectness: package whose cells see a small part of the picture each, or None. Looked at first; it raises
            alarms and certifies nothing.
    """

    def __init__(
        self, package: ModelPackage, level: Optional[str], settings: ObjectMaskSettings, grid: FreeSpaceConfig,
        threads: int = 1, objectness: Optional[ModelPackage] = None,
    ) -> None:
        self._level = package.level(level)
        self._package = package
        detector = Detector(package, self._level.name, threads)
        detector.detect(np.zeros((64, 64, 3), np.uint8), 0)
        self._masks = ObjectMasks(MaskedDetector(detector), settings)
        self._grid = grid
        self._objectness = Objectness(objectness, ObjectnessSettings(), threads) if objectness else None
        self._objectness_package = objectness
        self._cells: Optional[Cells] = None
        self._camera: Optional[CameraModel] = None
        self.settings = settings

    @property
    def digest(self) -> str:
        """The sha256 that the package states for the graph in use."""
        return self._level.sha256

    def verify(self) -> bool:
        """Whether the graphs on disk are still the ones that the packages state."""
        graphs = [(self._package, self._level)]
        if self._objectness_package is not None:
            graphs.append((self._objectness_package, self._objectness_package.level()))
        try:
            return all(
                hashlib.sha256((package.path / level.graph).read_bytes()).hexdigest() == level.sha256
                for package, level in graphs
            )
        except OSError:
            return False

    def inspect(
        self, pixels: np.ndarray, detections: Detections, camera: Optional[CameraModel], more_time: Callable[[], bool]
    ) -> Tuple[Inspection, Optional[ObjectnessResult], FreeSpace]:
        """Look at one frame for as long as there is time.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            detections: what the pipeline has seen in it.
            camera: without one, no ground is claimed free.
            more_time: asked before every pass.
        """
        looked = None
        if self._objectness is not None and more_time():
            looked = self._objectness.inspect(pixels, detections)
        if camera is not self._camera:
            self._camera = camera
            self._cells = None if camera is None else ground_cells(
                camera, self._grid.rows(), self._grid.columns(), self._grid.object_width_m, self._grid.object_height_m
            )
        found = self._masks.inspect(pixels, detections, more_time, self._cells, EVERYWHERE)
        return found, looked, self._free_space(found, looked is not None and looked.alert)

    def _free_space(self, found: Inspection, alert: bool) -> FreeSpace:
        """What the masks certify at every place of the patch: beside the object, close to it and over it."""
        cells, grid = self._cells, self._grid
        if cells is None or found.free is None:
            return FreeSpace()
        # An alarm says that something in the frame is not as it looks; nothing is claimed beside it.
        alarmed = alert or int(found.verdict) == Verdict.ALARM
        free = np.zeros(len(cells.boxes), bool) if alarmed else found.free
        return FreeSpace(
            grid.nearest_m, grid.row_m, -grid.half_width_m, grid.column_m, cells.grid(free).astype(bool)
        )


def objectness_verdicts(looked: Optional[ObjectnessResult]) -> List[ObjectVerdict]:
    """An alarm for each place that looks like an object and lies in no box."""
    if looked is None:
        return []
    return [
        ObjectVerdict(
            object_id=None, hazard=Hazard.HIDING, box=_box(region), class_id=UNKNOWN_CLASS, score=0.0,
            verdict=Verdict.ALARM, reason="disagreed", covered=1.0, passes_done=1, passes_required=1,
        )
        for region in looked.regions
    ]


def hidden_verdicts(found: Inspection) -> List[ObjectVerdict]:
    """An alarm for each object that only masked images show."""
    return [
        ObjectVerdict(
            object_id=None,
            hazard=Hazard.HIDING,
            box=_box(box),
            class_id=int(class_id),
            score=float(score),
            verdict=Verdict.ALARM,
            reason="disagreed",
            covered=_share(found),
            passes_done=found.passes,
            passes_required=found.passes_required,
            disagreeing=(WindowVerdict(_box(witness), int(class_id), float(score)),),
        )
        for box, class_id, score, witness in zip(
            found.hidden.boxes, found.hidden.class_ids, found.hidden.scores, found.witnesses
        )
    ]


def seen_verdicts(found: Inspection, identifiers: List[Optional[int]], limit: int) -> List[ObjectVerdict]:
    """Whether each detected object would stay detected whatever a patch beside it shows, best detections first.

    Args:
        identifiers: track of each detection, or None.
        limit: of verdicts.
    """
    largest = found.objects.largest(CERTIFIED_CLASSES)
    verdicts = found.object_verdicts(CERTIFIED_CLASSES)
    base = found.base
    return [
        ObjectVerdict(
            object_id=identifiers[row],
            hazard=Hazard.HIDING,
            box=_box(base.boxes[row]),
            class_id=int(base.class_ids[row]),
            score=float(base.scores[row]),
            verdict=Verdict(int(verdicts[row][0])),
            reason=verdicts[row][1],
            covered=_share(found),
            passes_done=found.passes,
            passes_required=found.passes_required,
            largest_patch_px=float(largest[row]),
        )
        for row in np.argsort(-base.scores, kind="stable")[:limit].tolist()
    ]


def _share(found: Inspection) -> float:
    return float(np.clip(found.covered, 0.0, 1.0))


def _box(corners: Any) -> Tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = (float(value) for value in corners)
    return x_min, y_min, x_max, y_max
