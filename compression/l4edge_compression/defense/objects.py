"""Masks for detectors: objects that a patch hides are found again, and a certificate says where that is sure.

After ObjectSeeker (Xiang et al., IEEE S&P 2023). The picture is looked at again with everything on one side of a line
erased, for several lines. A patch that lies in the erased half has no say in what is seen there. Boxes of these masked
views that no box of the whole picture explains are hidden objects. Erasing the windows of a covering set instead is the
project's own variant, for a patch of known size: the rule and the proof are the same.

What is guaranteed. Let o be an object and W a mask in whose view a box b of o's group is seen with

    |b and o| - (1 - explained) |b|  >=  covered |o|                                                             (1)

Then for any content of any patch inside W, and whatever the detector says of the whole picture, the defence puts out a
box of that group that covers at least the share ``covered`` of o. Proof: erasing W erases the patch, so b is seen in
the attacked picture, too. Either b is put out, and covers more than (1) asks. Or a box k that is put out explains it,
|k and b| >= explained |b|; then |k and o| >= |k and b and o| >= |b and o| + |k and b| - |b|, which is (1). Boxes of
other views, which may show the patch, can be put out in b's place only by explaining it in the same sense. QED

Whether b is there is asked of the detections themselves: a rule that looks at the place of boxes and lines alone would
certify objects that no masked view shows. A box of another object may explain b; so that a certificate is not empty,
b must besides not be explained by the boxes of the frame's other objects as they are now. The guarantee speaks of
hiding only: it does not stop boxes that are made up, wrong classes within a group, or boxes that are too large.
"""

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np

from l4edge_compression.defense.detectors import MaskedDetector, PictureDetector, View
from l4edge_compression.defense.explaining import ObjectMaskSettings, gather, guaranteed, touched, unexplained
from l4edge_compression.defense.free_space import Cells, visible_shares
from l4edge_compression.defense.positions import (
    CLOSE,
    FAR,
    OVER,
    Masks,
    PositionShares,
    check_patches,
    covering_windows,
    finished_share,
    half_planes,
    position_shares,
)
from l4edge_compression.defense.verdicts import (
    AGREED,
    DEADLINE,
    DISAGREED,
    LOW_CONFIDENCE,
    SIZE,
    MoreTime,
    Verdict,
    Window,
    always,
)
from l4edge_perception.camera.decoders import Candidates
from l4edge_perception.errors import InputError
from l4edge_perception.types import Detections


@dataclass(frozen=True)
class Inspection:
    """What masks say of one frame. N objects, C cells, H hidden objects.

    Attributes:
        verdict, reason: ALARM "disagreed" when something is hidden; UNCERTIFIED "deadline" when not all views were
            looked at; else CERTIFIED "agreed": every masked view is explained by the frame's own boxes.
        base: the frame's own objects, as given.
        hidden: objects of masked views that nothing explains, pixels of the picture.
        witnesses: (H, 4) float32, what was erased when each was seen: one patch that hides it lies inside. Pixels of
            the picture.
        objects: where each of ``base`` stays in the output whatever a patch shows.
        cells: the same for cells, or None where none were asked for.
        free: (C,) bool, cells that are certified at the largest patch, for the classes of positions asked for, and
            that no base or hidden box touches.
        covered: share of the positions of the largest patch whose views are all done.
        passes, passes_required: masked views looked at, and all of them.
    """

    verdict: Verdict
    reason: str
    base: Detections
    hidden: Detections
    witnesses: np.ndarray
    objects: PositionShares
    cells: Optional[PositionShares]
    free: Optional[np.ndarray]
    covered: float
    passes: int
    passes_required: int

    def object_verdicts(self, classes: Sequence[int] = (FAR, CLOSE, OVER)) -> List[Tuple[Verdict, str]]:
        """Verdict and reason of each object of ``base`` for the largest patch at all positions of these classes.

        "size": the object is smaller than two patches, so that hardly a view leaves enough of it. "low_confidence": no
        view that erases such a patch shows the object surely enough, or another object's box would explain it.
        """
        largest = self.objects.patches[-1]
        certified = np.all(self.objects.certified[:, -1, list(classes)], axis=1)
        sides = (self.base.boxes[:, 2:] - self.base.boxes[:, :2]).max(axis=1, initial=0)
        cut = self.passes < self.passes_required
        return [
            (Verdict.CERTIFIED, AGREED)
            if good
            else (Verdict.UNCERTIFIED, DEADLINE if cut else SIZE if side < 2 * largest else LOW_CONFIDENCE)
            for good, side in zip(certified, sides)
        ]


class ObjectMasks:
    """Looks at frames with masks. Not to be used by two threads at once."""

    def __init__(self, detector: Union[MaskedDetector, PictureDetector], settings: ObjectMaskSettings) -> None:
        self.settings = settings
        self._detector = detector
        self._last_cells: Tuple[Any, ...] = (None, None, 0, None)

    def inspect(
        self,
        pixels: np.ndarray,
        base: Optional[Detections] = None,
        more_time: MoreTime = always,
        cells: Optional[Cells] = None,
        free_classes: Sequence[int] = (FAR, CLOSE, OVER),
    ) -> Inspection:
        """Look at one frame until it is done or the time is.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            base: what was detected in this frame, pixels of the picture; None to look for it, one pass more.
            more_time: asked before each masked view; False ends the inspection. Nothing is certified for want of time.
            cells: free-space cells to speak of, or None.
            free_classes: classes of patch positions that a free cell must be certified for.

        Raises:
            InputError: the picture is empty or of another type, or a patch is larger than it.
        """
        view = self._detector.view(pixels)
        masks = make_masks(view.region, self.settings)
        if base is None:
            base = to_detections(view, view.look(), 0)
        seen: List[Candidates] = []
        for window in masks.windows:
            if not more_time():
                break
            seen.append(view.look(tuple(window.tolist())))
        done = np.arange(len(masks.windows)) < len(seen)
        looked = masks.some(done)
        masked = gather(seen, looked.windows, self.settings)
        boxes = view.to_input(base.boxes)
        kept = unexplained(masked, boxes, base.class_ids, self.settings)
        hidden = Candidates(masked.boxes[kept], masked.scores[kept], masked.class_ids[kept])
        shown = to_detections(view, hidden, base.stamp_ns)
        good = guaranteed(masked, len(seen), boxes, base.class_ids, boxes, base.class_ids, self.settings)
        shares = free = None
        if cells is not None:
            assumed = view.to_input(cells.boxes)
            shares = self._cell_shares(cells, assumed, looked)
            empty = ~touched(assumed, np.concatenate([boxes, hidden.boxes]))
            free = cells.in_sight & empty & shares.certified[:, -1, list(free_classes)].all(axis=1)
        complete = len(seen) == len(masks.windows)
        agreed = (Verdict.CERTIFIED, AGREED) if complete else (Verdict.UNCERTIFIED, DEADLINE)
        verdict, reason = (Verdict.ALARM, DISAGREED) if len(kept) else agreed
        return Inspection(
            verdict=verdict,
            reason=reason,
            base=base,
            hidden=shown,
            witnesses=view.to_picture(masks.windows[masked.views[kept]]),
            objects=position_shares(looked, good, boxes, self.settings.patches),
            cells=shares,
            free=free,
            covered=finished_share(masks, done, self.settings.patches[-1]),
            passes=len(seen),
            passes_required=len(masks.windows),
        )


    def _cell_shares(self, cells: Cells, assumed: np.ndarray, looked: Masks) -> PositionShares:
        """Kept from frame to frame: it depends on nothing that is in the picture."""
        known, region, passes, shares = self._last_cells
        if known is not cells or region != looked.region or passes != len(looked.windows):
            visible = visible_shares(assumed, looked) >= self.settings.visible
            shares = position_shares(looked, visible, assumed, self.settings.patches)
            self._last_cells = (cells, looked.region, len(looked.windows), shares)
        return shares


def make_masks(region: Window, settings: ObjectMaskSettings) -> Masks:
    """The half planes and windows of the settings on a picture that lies there in the network's input.

    Raises:
        InputError: no mask at all, or a patch larger than the picture.
    """
    patches = check_patches(settings.patches, region)
    lines = half_planes(region, settings.columns, settings.rows)
    windows = covering_windows(region, patches[-1], settings.window_columns, settings.window_rows)
    masks = Masks(region, np.concatenate([windows.windows, lines.windows]))
    if not len(masks.windows):
        raise InputError("object masks: neither lines nor windows; set columns and rows")
    return masks


def certify_objects(
    masks: Masks,
    seen: Sequence[Candidates],
    objects: Tuple[np.ndarray, np.ndarray],
    base: Tuple[np.ndarray, np.ndarray],
    settings: ObjectMaskSettings,
) -> PositionShares:
    """The certificate of known objects, for tables.

    Args:
        masks: M masks.
        seen: what each of them showed, pixels of the network's input.
        objects: boxes (N, 4), pixels of the network's input, and class ids (N,) of what is there.
        base: boxes and class ids of what the whole picture showed.
        settings: lines and windows are not read.
    """
    good = guaranteed(gather(seen, masks.windows, settings), len(seen), *objects, *base, settings)
    return position_shares(masks, good, objects[0], settings.patches)


def to_detections(view: View, found: Candidates, stamp_ns: int) -> Detections:
    """Boxes of the network's input as detections in the picture."""
    return Detections(
        stamp_ns,
        view.to_picture(found.boxes),
        np.asarray(found.scores, np.float32),
        np.asarray(found.class_ids, np.int32),
    )


