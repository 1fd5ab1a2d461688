"""Non-maximum suppression, each class for itself."""

import cv2
import numpy as np

from l4edge_perception.camera.decoders import Candidates


def suppress(candidates: Candidates, overlap: float, limit: int, pool: int = 512) -> Candidates:
    """The best boxes of each class, best first, none overlapping a better one of its class.

    Args:
        candidates: M boxes with positive scores.
        overlap: intersection over union above which the lower score goes, 0..1; 1 keeps every box.
        limit: most boxes that come back.
        pool: only that many of the best candidates compete, which bounds the time of a crowded picture.
    """
    if len(candidates.scores) == 0:
        return candidates
    # One pass for all classes: each is moved to a place of its own. The step is no larger than it must be, since
    # single precision is coarser far from zero.
    step = candidates.boxes.max() - candidates.boxes.min() + 1
    moved = candidates.boxes + (candidates.class_ids * step).astype(np.float32)[:, None]
    moved[:, 2:] -= moved[:, :2]
    kept = cv2.dnn.NMSBoxes(moved.tolist(), candidates.scores.tolist(), 0.0, overlap, top_k=pool)
    # OpenCV before 4.5.4 gives a column.
    best = np.array(kept, np.int64).reshape(-1)[:limit]
    return Candidates(*(values[best] for values in candidates))
