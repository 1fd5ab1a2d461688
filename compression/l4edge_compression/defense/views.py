"""One tensor seen with parts of it hidden, and what a network says of each such view.

Views that come out equal are predicted once. That covers the lossless skip (a window without kept cells leaves the
whole view), windows that hide the same cells, and pairs of windows in either order.
"""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.selection import Selector
from l4edge_compression.defense.verdicts import NO_LABEL, MoreTime, always
from l4edge_perception.errors import InputError

Classify = Callable[[np.ndarray], np.ndarray]
"""(B, ...) tensors to (B, classes) logits."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of M views of one image; the first is the whole image, the others follow the windows.

    Attributes:
        labels: (M,) int64 class indices, ``NO_LABEL`` where not done or where a logit is not finite.
        confidences: (M,) float64 softmax probabilities of the labels.
        margins: (M,) float64 largest logit less the second largest.
        done: (M,) bool predicted in time.
        sure: (M,) bool no cell was so close to the rule's boundary that numerics could have decided about it.
        passes: predictions run for this image so far.
        passes_required: of these views, as many are different.
    """

    labels: np.ndarray
    confidences: np.ndarray
    margins: np.ndarray
    done: np.ndarray
    sure: np.ndarray
    passes: int
    passes_required: int

    @property
    def finite(self) -> bool:
        """Whether every logit so far was a number."""
        return bool((self.labels[self.done] != NO_LABEL).all())


class Views:
    """One image's tensor and the predictions made of it so far."""

    def __init__(
        self,
        tensor: np.ndarray,
        channels_last: bool,
        fill: np.ndarray,
        select: Optional[Selector] = None,
        least_gap: float = 0.0,
        share: bool = True,
    ) -> None:
        """Nothing is predicted yet.

        Args:
            tensor: (H, W, C) if ``channels_last``, else (C, H, W).
            fill: what hidden places hold; broadcasts to ``tensor``.
            select: chooses what is kept of what is not hidden; None keeps all.
            least_gap: saliency that a selection must be clear by to be ``sure``.
            share: predict equal views once. False is for showing that it makes no difference.
        """
        self.tensor = tensor
        self.passes = 0
        self._channels_last = channels_last
        self._fill = fill
        self._select = select
        self._least_gap = least_gap
        self._share = share
        self._known: Dict[bytes, Tuple[int, float, float]] = {}

    def kept(self, erased: np.ndarray) -> np.ndarray:
        """(M, H, W) bool cells that views with these hidden ones keep: first hide, then select."""
        return ~erased if self._select is None else self._select.keep(erased)

    def sure(self, erased: np.ndarray) -> np.ndarray:
        """(M,) bool whether the selection is clear."""
        if self._select is None or self._least_gap <= 0:
            return np.ones(len(erased), bool)
        return self._select.gap(erased) >= self._least_gap

    def keys(self, kept: np.ndarray) -> List[bytes]:
        """What tells different views apart."""
        rows = np.packbits(kept.reshape(len(kept), -1), axis=1)
        if self._share:
            return [row.tobytes() for row in rows]
        return [row.tobytes() + index.to_bytes(4, "little") for index, row in enumerate(rows)]

    def fill_in(self, target: np.ndarray, kept: np.ndarray) -> None:
        """Write the view that keeps ``kept``, (H, W) bool, into ``target``, of the tensor's shape."""
        target[...] = self._fill
        np.copyto(target, self.tensor, where=kept[..., None] if self._channels_last else kept)

    def unknown(self, keys: Sequence[bytes]) -> List[int]:
        """Rows whose views have to be predicted, each view once, in order."""
        seen = set(self._known)
        rows = []
        for row, key in enumerate(keys):
            if key not in seen:
                seen.add(key)
                rows.append(row)
        return rows

    def learn(self, key: bytes, label: int, confidence: float, margin: float) -> None:
        """Take in one prediction."""
        self._known[key] = (label, confidence, margin)
        self.passes += 1

    def gather(self, keys: Sequence[bytes], sure: np.ndarray) -> Predictions:
        """The predictions of these views as far as they are known."""
        missing = (NO_LABEL, 0.0, 0.0)
        rows = [self._known.get(key, missing) for key in keys]
        columns = list(zip(*rows))
        return Predictions(
            labels=np.array(columns[0], np.int64),
            confidences=np.array(columns[1], np.float64),
            margins=np.array(columns[2], np.float64),
            done=np.array([key in self._known for key in keys]),
            sure=sure,
            passes=self.passes,
            passes_required=len(set(keys)),
        )


def predict(
    views: Sequence[Views],
    erased: np.ndarray,
    classify: Classify,
    batch: int,
    more_time: MoreTime = always,
    expected: Optional[int] = None,
) -> List[Predictions]:
    """Predict every image with each of the masks hidden, in batches that may mix images.

    Args:
        views: one per image, their tensors of one shape and dtype.
        erased: (M, H, W) bool hidden cells per mask.
        classify: the network.
        batch: most views of one call.
        more_time: asked before every call; False leaves the rest undone.
        expected: stop after a call that gave another label than this one.
    """
    kept = [view.kept(erased) for view in views]
    keys = [view.keys(rows) for view, rows in zip(views, kept)]
    todo = [(image, row) for image, view in enumerate(views) for row in view.unknown(keys[image])]
    buffer = np.empty((min(batch, len(todo)), *views[0].tensor.shape), views[0].tensor.dtype) if todo else None
    for begin in range(0, len(todo), batch):
        if not more_time():
            break
        part = todo[begin : begin + batch]
        assert buffer is not None  # noqa: S101 - for the type checker
        for slot, (image, row) in zip(buffer, part):
            views[image].fill_in(slot, kept[image][row])
        labels, confidences, margins = read_logits(classify(buffer[: len(part)]), len(part))
        for index, (image, row) in enumerate(part):
            views[image].learn(keys[image][row], int(labels[index]), float(confidences[index]), float(margins[index]))
        if expected is not None and (labels != expected).any():
            break
    return [view.gather(key, view.sure(erased)) for view, key in zip(views, keys)]


def read_logits(logits: np.ndarray, count: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, their softmax probabilities and their lead over the second, each (count,), of (count, classes) logits.

    A row with a logit that is not finite has ``NO_LABEL``, 0 and 0.

    Raises:
        InputError: another shape, or fewer than two classes.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] < 2:
        raise InputError(
            f"network: logits of {count} views must be ({count}, 2 or more classes), are {logits.shape}; "
            "export it with a batch of any size"
        )
    finite = np.isfinite(logits).all(axis=1)
    logits = np.where(finite[:, None], logits, 0.0).astype(np.float64)
    labels = logits.argmax(axis=1)
    top = np.partition(logits, -2, axis=1)
    confidences = 1.0 / np.exp(logits - top[:, -1:]).sum(axis=1)
    return (
        np.where(finite, labels, NO_LABEL),
        np.where(finite, confidences, 0.0),
        np.where(finite, top[:, -1] - top[:, -2], 0.0),
    )
