"""Average precision of detections against ground truth, by the COCO rules (pycocotools).

Objects marked ``ignore`` are neither to be found nor to be counted as false. COCO's crowd flag alone does not give
that: at strict overlaps a box a little larger than an ignored object would be a false alarm. So boxes that lie mostly
on an ignored object of their class, and on no object that counts, are left out before the evaluation.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES, Detections, GroundTruth


@dataclass(frozen=True)
class AveragePrecision:
    """Precision averaged over recall, 0..1; NaN for a class without objects.

    Attributes:
        ap50: at an overlap of 0.5, mean over the classes that occur.
        ap: mean over overlaps 0.5, 0.55 ... 0.95 and the classes that occur.
        ap50_by_class, ap_by_class: the same per class name.
        images, objects: how many images and counted objects were judged.
    """

    ap50: float
    ap: float
    ap50_by_class: Dict[str, float]
    ap_by_class: Dict[str, float]
    images: int
    objects: int


def average_precision(
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    classes: Sequence[str] = OBJECT_CLASSES,
) -> AveragePrecision:
    """Judge the detections of each image against what was there; both lists in the same order.

    An ignored object whose class id is negative is a region in which no class counts.

    Raises:
        InputError: the lists differ in length or stamps, or pycocotools is missing.
    """
    if len(detections) != len(truths):
        raise InputError(f"{len(detections)} images with detections but {len(truths)} with truth")
    for found, truth in zip(detections, truths):
        if found.stamp_ns != truth.stamp_ns:
            raise InputError(f"detections of stamp {found.stamp_ns} meet truth of {truth.stamp_ns}")
    if not truths:
        raise InputError("average precision of no images")
    precision = _coco_precision(detections, truths, classes)
    by_class_50 = {}
    by_class = {}
    for index, name in enumerate(classes):
        values = precision[:, :, index]
        by_class_50[name] = float(values[0].mean()) if values[0].max() >= 0 else float("nan")
        by_class[name] = float(values.mean()) if values.max() >= 0 else float("nan")
    return AveragePrecision(
        ap50=_mean(by_class_50),
        ap=_mean(by_class),
        ap50_by_class=by_class_50,
        ap_by_class=by_class,
        images=len(truths),
        objects=int(sum(np.count_nonzero(~truth.ignore) for truth in truths)),
    )


def without_ignored(found: Detections, truth: GroundTruth) -> Detections:
    """Detections less those that lie mostly (half of their area) on an ignored object and on none that counts."""
    inside = _intersections(found.boxes, truth.boxes)
    areas = _areas(found.boxes)[:, None]
    same = (truth.class_ids[None, :] == found.class_ids[:, None]) | (truth.class_ids[None, :] < 0)
    on_ignored = (same & truth.ignore & (inside >= 0.5 * areas)).any(axis=1)
    union = areas + _areas(truth.boxes) - inside
    on_counted = (same & ~truth.ignore & (inside >= 0.5 * union)).any(axis=1)
    return found.select(~on_ignored | on_counted)


def judged(found: Detections, truth: GroundTruth, overlap: float = 0.5) -> Tuple[Detections, np.ndarray]:
    """Detections that count, and which of them are right, (N,) bool.

    Best first, each takes the object of its class that it overlaps most, at least by ``overlap``; what finds none
    left is wrong, a second box on the same object as well.
    """
    found = without_ignored(found, truth)
    inside = _intersections(found.boxes, truth.boxes)
    overlaps = inside / np.maximum(_areas(found.boxes)[:, None] + _areas(truth.boxes) - inside, 1e-9)
    overlaps[(truth.class_ids[None, :] != found.class_ids[:, None]) | truth.ignore] = 0.0
    right = np.zeros(len(found), bool)
    for index in np.argsort(-found.scores, kind="stable"):
        best = overlaps[index].max(initial=0.0)
        if best >= overlap:
            right[index] = True
            overlaps[:, overlaps[index].argmax()] = 0.0
    return found, right


def calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """How far scores are from probabilities: the mean gap between both over bins of the score, weighted by count."""
    if len(scores) == 0:
        return float("nan")
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=scores - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(scores))


def _coco_precision(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: Sequence[str]
) -> np.ndarray:
    """(10 overlaps, 101 recalls, classes), -1 for a class without objects."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError("average precision needs pycocotools: pip install 'l4edge[report]'") from error
    annotations: List[dict] = []
    results: List[dict] = []
    for image, (found, truth) in enumerate(zip(detections, truths), start=1):
        for box, class_id, ignore in zip(truth.boxes, truth.class_ids, truth.ignore):
            meant = [int(class_id)] if class_id >= 0 else range(len(classes))
            annotations.extend(
                _entry(image, category, box, id=len(annotations) + 1 + offset, iscrowd=int(ignore))
                for offset, category in enumerate(meant)
            )
        counted = without_ignored(found, truth)
        for box, class_id, score in zip(counted.boxes, counted.class_ids, counted.scores):
            results.append(_entry(image, int(class_id), box, id=len(results) + 1, score=float(score)))
    images = [{"id": image} for image in range(1, len(truths) + 1)]
    categories = [{"id": index} for index in range(len(classes))]
    with contextlib.redirect_stdout(io.StringIO()):
        tables = [COCO(), COCO()]
        for table, entries in zip(tables, (annotations, results)):
            table.dataset = {"images": images, "categories": categories, "annotations": entries}
            table.createIndex()
        evaluation = COCOeval(tables[0], tables[1], "bbox")
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


def _entry(image: int, category: int, box: np.ndarray, **more: object) -> dict:
    x, y, right, bottom = (float(value) for value in box)
    entry = {"image_id": image, "category_id": category, "bbox": [x, y, right - x, bottom - y]}
    entry.update(area=(right - x) * (bottom - y), **more)
    return entry


def _intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    corner = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    return np.maximum(corner, 0).prod(axis=2)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _mean(by_class: Dict[str, float]) -> float:
    values = [value for value in by_class.values() if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")
