"""Non-maximum suppression, each class for itself."""

import numpy as np

from l4edge_perception.camera.decoders import Candidates


def suppress(candidates: Candidates, overlap: float, limit: int, pool: int = 512) -> Candidates:
    """The best boxes of each class, best first, none overlapping a better one of its class.

    Args:
        candidates: M boxes.
        overlap: intersection over union above which the lower score goes, 0..1; 1 keeps every box.
        limit: most boxes that come back.
        pool: only that many of the best candidates compete, which bounds the time of a crowded picture.
    """
    order = np.argsort(-candidates.scores, kind="stable")[:pool]
    boxes = candidates.boxes[order]
    class_ids = candidates.class_ids[order]
    kept = []
    alive = np.ones(len(order), bool)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        rest = slice(index + 1, None)
        corner = np.minimum(boxes[rest, 2:], boxes[index, 2:]) - np.maximum(boxes[rest, :2], boxes[index, :2])
        intersection = np.maximum(corner, 0.0).prod(axis=1)
        union = areas[rest] + areas[index] - intersection
        alive[rest] &= (intersection <= overlap * union) | (class_ids[rest] != class_ids[index])
    chosen = order[kept]
    return Candidates(candidates.boxes[chosen], candidates.scores[chosen], candidates.class_ids[chosen])
