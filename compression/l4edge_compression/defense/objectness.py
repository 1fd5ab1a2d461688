"""Objectness that no box explains: an alert when a patch hides an object, one small pass per frame.

After DetectorGuard (Xiang and Mittal, CCS 2021). A network whose cells each see a small part of the picture says where
something looks like a road user. Cells that lie in a box of the detector are explained; where many unexplained ones lie
together, an object may be hidden: alert. Only hiding is covered, and nothing is recovered.

What is guaranteed. A patch changes no cell outside its shadow, the cells whose receptive field meets it. Let R be an
object's active cells that lie outside the shadow and in no box of the frame's other objects as they are now. If some
window of cells holds at least ``unexplained`` of R, then for any content of that patch, and whatever boxes the detector
puts out: there is an alert, or a box with its margin covers the centre of a cell of R. Proof: R is active in the
attacked picture, too; if no box covered one of R, all of R were unexplained, and the window alone would alert. QED

The cells must come from a network without global operations, with the receptive field that the package declares.
"""

from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.explaining import areas, intersections
from l4edge_compression.defense.positions import PositionShares, check_patches, shares_of
from l4edge_compression.defense.verdicts import AGREED, DISAGREED, Verdict, Window
from l4edge_compression.defense.windows import axis_shadows
from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import ModelPackage
from l4edge_perception.types import OBJECT_CLASSES, Detections

ROAD_USERS = tuple(OBJECT_CLASSES.index(name) for name in ("car", "truck", "pedestrian", "cyclist"))

SAME_OBJECT = 0.5
"""Intersection over union from which a box is held for the object itself and not for another one."""


@dataclass(frozen=True)
class ObjectnessSettings:
    """When objectness alerts.

    Attributes:
        threshold: from which a cell is active, 0..1. Fixed: one taken from the picture could be moved by the patch.
        window: cells of the sides of the square in which unexplained ones are counted.
        unexplained: so many in a square raise the alert.
        margin: pixels of the network's input by which a box explains more than it covers.
    """

    threshold: float = 0.8
    window: int = 6
    unexplained: int = 14
    margin: float = 8.0

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and self.margin >= 0 and 1 <= self.unexplained <= self.window**2):
            raise InputError(
                f"objectness: threshold {self.threshold} must be in 0..1, margin {self.margin} not negative and "
                f"unexplained {self.unexplained} from 1 to {self.window}²"
            )


@dataclass(frozen=True)
class ObjectnessResult:
    """What objectness says of one frame.

    Attributes:
        verdict, reason: ALARM "disagreed", or CERTIFIED "agreed": all that looks like an object lies in a box.
        active: (H', W') bool, cells that look like an object.
        unexplained: (H', W') bool, those in no box.
        regions: (K, 4) float32, where unexplained cells raise the alert, pixels of the picture.
    """

    verdict: Verdict
    reason: str
    active: np.ndarray
    unexplained: np.ndarray
    regions: np.ndarray

    @property
    def alert(self) -> bool:
        """Whether something may be hidden."""
        return self.verdict == Verdict.ALARM


class Objectness:
    """An objectness package, ready to look at frames. Not to be used by two threads at once."""

    def __init__(self, package: ModelPackage, settings: ObjectnessSettings, threads: int = 1) -> None:
        """Load it.

        Raises:
            InputError: another task, or parameters without stride, receptive_field and offset.
        """
        names = ("stride", "receptive_field", "offset")
        parameters = package.output.parameters
        if package.task != "segmentation" or any(not isinstance(parameters.get(name), int) for name in names):
            raise InputError(f"{package.path}: no objectness package, which is a segmentation with {', '.join(names)}")
        self.settings = settings
        self.stride, self.receptive_field, self.offset = (int(parameters[name]) for name in names)
        self._prepare = Preprocessor(package.input)
        self._session = Session(package, threads=threads)
        self._size = package.input.size
        self._scale, self._shift = np.ones(4), np.zeros(4)
        self._region: Window = (0, 0, 0, 0)

    def inspect(self, pixels: np.ndarray, base: Detections) -> ObjectnessResult:
        """Look for objectness that the boxes of the same frame (pixels of the picture) do not explain.

        Raises:
            InputError: the picture is empty or of another type.
        """
        tensor, placement = self._prepare(pixels)
        self._scale = np.tile(np.asarray(placement.scale, np.float64), 2)
        self._shift = np.tile(np.asarray(placement.offset, np.float64), 2)
        corners = np.array([0, 0, pixels.shape[1], pixels.shape[0]]) * self._scale + self._shift
        x_min, y_min, x_max, y_max = (round(float(corner)) for corner in corners)
        self._region = (x_min, y_min, x_max, y_max)
        scores = self._session.run(tensor)[0][0]
        # Not a number is active: what cannot be read must not hide anything.
        active = ~(scores < self.settings.threshold)
        open_cells = active & ~self._explained(self._users(base), active.shape)
        sums = window_sums(open_cells, self.settings.window)
        rows, columns = np.nonzero(sums >= self.settings.unexplained)
        side = self.settings.window
        boxes = np.stack([columns, rows, columns + side, rows + side], axis=1) * float(self.stride)
        regions = (_joined(boxes) - self._shift) / self._scale
        alert = len(rows) > 0
        return ObjectnessResult(
            Verdict.ALARM if alert else Verdict.CERTIFIED,
            DISAGREED if alert else AGREED,
            active,
            open_cells,
            np.clip(regions, 0, np.tile(pixels.shape[1::-1], 2)).astype(np.float32),
        )

    def certify(
        self, result: ObjectnessResult, boxes: np.ndarray, base: Detections, patches: Sequence[int]
    ) -> PositionShares:
        """At which patch positions hiding each of N objects raises an alert or leaves a box on it.

        Args:
            result: of the frame that was looked at last.
            boxes: (N, 4) of the objects, pixels of the picture.
            base: the frame's detections.
            patches: pixels of the network's input, rising.
        """
        check_patches(patches, self._region)
        placed = np.asarray(boxes, np.float64).reshape(-1, 4) * self._scale + self._shift
        users = self._users(base)
        remaining = []
        for box in placed:
            shared = intersections(box[None], users)[0]
            union = areas(box[None]) + areas(users) - shared
            others = users[shared < SAME_OBJECT * union]
            own = result.active & self._inside(box[None], result.active.shape)
            remaining.append(own & ~self._explained(others, result.active.shape))
        safe = []
        for patch in patches:
            places, shadows = self._shadows(patch, result.active.shape)
            safe.append((patch, places, np.array([self._enough(cells, shadows) for cells in remaining], bool)))
        safe = [(patch, places, inside.reshape(len(placed), len(places))) for patch, places, inside in safe]
        return shares_of(safe, placed, self._region)

    def _users(self, base: Detections) -> np.ndarray:
        """Boxes of road users in pixels of the network's input."""
        return base.boxes[np.isin(base.class_ids, ROAD_USERS)].astype(np.float64) * self._scale + self._shift

    def _inside(self, boxes: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
        """(H', W') bool: cells whose centre lies in one of the boxes."""
        y, x = ((np.arange(count) + 0.5) * self.stride for count in shape)
        rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
        columns = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])
        return np.any(np.logical_and(rows[:, :, None], columns[:, None, :]), axis=0)

    def _explained(self, boxes: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
        margin = self.settings.margin
        return self._inside(boxes + np.array([-margin, -margin, margin, margin]), shape)

    def _shadows(self, patch: int, shape: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
        """(E, 4) rectangles of positions with one shadow each, and the shadows, (E, 4) in cells."""
        runs: List[Any] = []
        for axis in (0, 1):
            start, end = self._region[1 - axis], self._region[3 - axis]
            spans = axis_shadows(
                self._size[axis], patch, self.receptive_field, self.stride, self.offset, shape[axis]
            )[start : end - patch + 1]
            cuts = np.flatnonzero(np.any(spans[1:] != spans[:-1], axis=1)) + 1
            first = np.concatenate([[0], cuts])
            last = np.concatenate([cuts, [len(spans)]])
            runs.append((np.stack([first + start, last + start], axis=1), spans[first]))
        (rows, down), (columns, across) = runs
        pick_row, pick_column = (values.ravel() for values in np.indices((len(rows), len(columns))))
        # x from the columns, y from the rows; first starts, then ends.
        order = [0, 2, 1, 3]
        places = np.concatenate([columns[pick_column], rows[pick_row]], axis=1)[:, order]
        shadows = np.concatenate([across[pick_column], down[pick_row]], axis=1)[:, order]
        return places, shadows

    def _enough(self, cells: np.ndarray, shadows: np.ndarray) -> np.ndarray:
        """(E,) bool: with a shadow taken away, some window still holds enough of the (H', W') cells."""
        whole = bool((window_sums(cells, self.settings.window) >= self.settings.unexplained).any())
        enough = np.full(len(shadows), whole)
        if not whole:
            return enough
        y, x = np.nonzero(cells)
        top, left, bottom, right = y.min(), x.min(), y.max() + 1, x.max() + 1
        touching = (shadows[:, 0] < right) & (shadows[:, 2] > left) & (shadows[:, 1] < bottom) & (shadows[:, 3] > top)
        # Shadows that leave the same of the object are the same.
        clipped = np.clip(shadows[touching], (left, top, left, top), (right, bottom, right, bottom))
        distinct, inverse = np.unique(clipped, axis=0, return_inverse=True)
        cut = np.zeros(len(distinct), bool)
        for index, (x_min, y_min, x_max, y_max) in enumerate(distinct):
            rest = cells[top:bottom, left:right].copy()
            rest[y_min - top : y_max - top, x_min - left : x_max - left] = False
            cut[index] = (window_sums(rest, self.settings.window) >= self.settings.unexplained).any()
        enough[touching] = cut[inverse.reshape(-1)]
        return enough


def window_sums(cells: np.ndarray, side: int) -> np.ndarray:
    """Counts of True in every square of so many cells that begins in the map; beyond its end there are none."""
    height, width = cells.shape
    total = np.zeros((height + side, width + side), np.int64)
    total[1 : height + 1, 1 : width + 1] = cells.cumsum(axis=0).cumsum(axis=1)
    total[height + 1 :] = total[height]
    total[:, width + 1 :] = total[:, width : width + 1]
    sums: np.ndarray = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return sums


def _joined(boxes: np.ndarray) -> np.ndarray:
    """(K, 4) boxes around each group of overlapping ones."""
    groups: List[np.ndarray] = []
    for box in boxes:
        grown, apart = box, []
        for other in groups:
            if (grown[:2] < other[2:]).all() and (other[:2] < grown[2:]).all():
                grown = np.concatenate([np.minimum(grown[:2], other[:2]), np.maximum(grown[2:], other[2:])])
            else:
                apart.append(other)
        groups = [*apart, grown]
    return np.array(groups).reshape(-1, 4)
