"""Decisions from predictions under covering windows: detection with one mask, recovery with two.

Detection: if every window leaves the label as it is, clearly and with confidence, then a copy of the image that differs
inside one patch gets the same label or an alarm. docs/certification.md has the theorem and its proof.
Recovery: double masking of PatchCleanser (Xiang et al. 2022, arXiv 2108.09135, section 3.3).
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import List, Optional, Sequence, Union

import numpy as np

from l4edge_compression.defense.judging import check_thresholds, judge, judge_pairs
from l4edge_compression.defense.verdicts import (
    AGREED,
    DEADLINE,
    DISAGREED,
    INPUT,
    NO_LABEL,
    SIZE,
    Certificate,
    MoreTime,
    Recovery,
    Verdict,
    WindowResult,
    always,
    uncertified,
)
from l4edge_compression.defense.views import Classify, Predictions, Views, predict
from l4edge_compression.defense.windows import CoveringSet, Pair
from l4edge_perception.errors import InputError

IMAGES_AT_ONCE = 64
"""Images whose views share batches offline."""

PAIRS_AT_ONCE = 4096
"""Masks of pairs that are held at once."""


class Certifier(ABC):
    """Certifies images with one covering set; offline tables and the monitor run the same code."""

    def __init__(
        self, classify: Classify, covering: CoveringSet, size: Pair, layout: str, confidence: float, margin: float,
        batch: int,
    ) -> None:
        """Prepare the masks.

        Args:
            classify: the network behind the masks.
            covering: windows.
            size: of the images, (H, W).
            layout: of the images, "HWC" or "CHW".
            confidence: probability that an agreeing window must exceed and a disagreeing one needs to raise an alarm.
            margin: least difference of the two largest logits, more than twice what numerics can change.
            batch: most views of one call of the network.

        Raises:
            InputError: a value outside its range, or windows that hide the whole tensor.
        """
        check_thresholds(confidence, margin, layout, batch)
        self.covering = covering
        self.confidence = confidence
        self.margin = margin
        self.batch = batch
        self._classify = classify
        self._size = size
        self._layout = layout
        self._erased = covering.erased()
        if self._erased.all(axis=(1, 2)).any():
            raise InputError(
                f"windows: a patch of {covering.patch[0]} x {covering.patch[1]} in {covering.counts[0]} x "
                f"{covering.counts[1]} windows hides the whole image; take a smaller patch or more windows"
            )
        none = np.zeros((1, *covering.cells), bool)
        self._one_mask = np.concatenate([none, self._erased])

    @abstractmethod
    def _open(self, images: np.ndarray) -> List[Optional[Views]]:
        """Views of (B, ...) images; None for one whose tensor is not finite."""

    def certify(self, image: np.ndarray, more_time: MoreTime = always, escalate: bool = False) -> Certificate:
        """Detection certificate of one image.

        Args:
            image: without a batch axis, in the layout and of the size given at the start.
            more_time: asked before each call of a network. What was not predicted in time is not certified.
            escalate: after an alarm go on with second masks for as long as there is time.
        """
        reason = self._unfit(image)
        if reason or not more_time():
            return uncertified(reason or DEADLINE, windows=len(self.covering))
        views = self._open(image[None])[0]
        if views is None:
            return uncertified(INPUT, windows=len(self.covering))
        seen = predict([views], self._one_mask, self._classify, self.batch, more_time)[0]
        certificate = self.decide(seen)
        if escalate and certificate.verdict == Verdict.ALARM and seen.done.all():
            return self._escalated(certificate, views, more_time)
        return certificate

    def certify_batch(self, images: Union[np.ndarray, Sequence[np.ndarray]]) -> List[Certificate]:
        """Detection certificates of (B, ...) images, for tables made offline."""
        none = uncertified(INPUT, windows=len(self.covering))
        return [none if seen is None else self.decide(seen) for seen in self.predict(images)]

    def predict(self, images: Union[np.ndarray, Sequence[np.ndarray]]) -> List[Optional[Predictions]]:
        """Predictions of (B, ...) images, to be decided on with several thresholds; None for an unfit image."""
        found: List[Optional[Predictions]] = []
        for begin in range(0, len(images), IMAGES_AT_ONCE):
            part = images[begin : begin + IMAGES_AT_ONCE]
            fit = [index for index, image in enumerate(part) if not self._unfit(image)]
            opened = self._open(np.stack([part[index] for index in fit])) if fit else []
            usable = [(index, views) for index, views in zip(fit, opened) if views is not None]
            results: List[Optional[Predictions]] = [None] * len(part)
            if usable:
                seen = predict([views for _, views in usable], self._one_mask, self._classify, self.batch)
                for (index, _), predictions in zip(usable, seen):
                    results[index] = predictions
            found.extend(results)
        return found

    def decide(
        self, seen: Predictions, confidence: Optional[float] = None, margin: Optional[float] = None
    ) -> Certificate:
        """The certificate that follows from predictions, with other thresholds than the own if given."""
        confidence = self.confidence if confidence is None else confidence
        margin = self.margin if margin is None else margin
        verdict, reason = judge(seen, confidence, margin)
        label = int(seen.labels[0]) if seen.finite else NO_LABEL
        differing = np.flatnonzero(seen.done[1:] & (seen.labels[1:] != seen.labels[0]) & (label != NO_LABEL))
        disagreeing = tuple(
            WindowResult(self.covering.pixels(index), int(seen.labels[1 + index]), float(seen.confidences[1 + index]))
            for index in differing.tolist()
        )
        others = {result.label for result in disagreeing}
        return Certificate(
            verdict=verdict,
            reason=reason,
            label=label,
            recovered_label=others.pop() if len(others) == 1 else None,
            covered=self.covering.covered(seen.done[1:]),
            passes=seen.passes,
            passes_required=seen.passes_required,
            margin=float(seen.margins[seen.done].min()) if seen.done.any() else 0.0,
            disagreeing=disagreeing,
            windows=len(self.covering),
            least_confidence=float(seen.confidences[seen.done].min()) if seen.done.any() else 0.0,
        )

    def undefended(self, images: np.ndarray) -> np.ndarray:
        """(B,) int64 labels of the whole images through the same network, ``NO_LABEL`` for unfit ones."""
        labels = np.full(len(images), NO_LABEL, np.int64)
        fit = [index for index, image in enumerate(images) if not self._unfit(image)]
        for begin in range(0, len(fit), IMAGES_AT_ONCE):
            part = fit[begin : begin + IMAGES_AT_ONCE]
            opened = self._open(np.stack([images[index] for index in part]))
            usable = [(index, views) for index, views in zip(part, opened) if views is not None]
            if usable:
                seen = predict([views for _, views in usable], self._one_mask[:1], self._classify, self.batch)
                labels[[index for index, _ in usable]] = [predictions.labels[0] for predictions in seen]
        return labels

    def recover(self, image: np.ndarray, more_time: MoreTime = always) -> Recovery:
        """What double masking answers for one image; see :meth:`certify` for the arguments."""
        views = None if self._unfit(image) or not more_time() else self._open(image[None])[0]
        if views is None:
            return Recovery(NO_LABEL, False, False, False, 0)
        return self._recover(views, more_time)

    def certify_recovery(self, image: np.ndarray, more_time: MoreTime = always) -> Certificate:
        """Recovery certificate of one image: CERTIFIED if every pair of windows leaves the label as it is.

        Then :meth:`recover` gives this label for every copy of the image that differs inside one patch. Disagreement
        is no alarm here: the verdict is UNCERTIFIED, and the label what :meth:`recover` gives. ``covered`` is the share
        of positions in windows of which all pairs were predicted.
        """
        count = len(self.covering)
        reason = self._unfit(image)
        if reason or not more_time():
            return uncertified(reason or DEADLINE, windows=count)
        views = self._open(image[None])[0]
        if views is None:
            return uncertified(INPUT, windows=count)
        recovery = self._recover(views, more_time)
        pairs = np.stack(np.triu_indices(count, k=0), axis=1)
        done = np.zeros(count, bool)
        smallest, reason = 0.0, DISAGREED if recovery.finished else DEADLINE
        required = views.passes
        one = predict([views], self._erased, self._classify, self.batch, _never)[0]
        if not one.finite:
            reason = INPUT
        elif one.done.all() and (one.labels == one.labels[0]).all():
            seen = self._all_pairs(views, pairs, int(one.labels[0]), more_time)
            reason = judge_pairs(seen, self.margin)
            required = seen.passes_required
            undone = np.bincount(pairs[~seen.done].reshape(-1), minlength=count)
            done = undone == 0
            smallest = float(seen.margins[seen.done].min())
        verdict = Verdict.CERTIFIED if reason == AGREED else Verdict.UNCERTIFIED
        return Certificate(
            verdict, reason, recovery.label, recovery.label if recovery.finished else None,
            self.covering.covered(done), views.passes, required, smallest, (), count,
            recovery.unanimous and recovery.finished,
        )

    def _all_pairs(self, views: Views, pairs: np.ndarray, label: int, more_time: MoreTime) -> Predictions:
        """Predictions of all pairs as far as time and agreement with ``label`` last."""
        parts: List[Predictions] = []
        going = True
        for begin in range(0, len(pairs), PAIRS_AT_ONCE):
            first, second = pairs[begin : begin + PAIRS_AT_ONCE].T
            erased = self._erased[first] | self._erased[second]
            parts += predict(
                [views], erased, self._classify, self.batch, more_time if going else _never, expected=label
            )
            going = bool(parts[-1].done.all() and (parts[-1].labels == label).all())
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("labels", "confidences", "margins", "done", "sure")
        }
        return Predictions(
            passes=views.passes, passes_required=sum(part.passes_required for part in parts), **joined
        )

    def _recover(self, views: Views, more_time: MoreTime) -> Recovery:
        """PatchCleanser's three cases. Masks seen before cost nothing."""
        one = predict([views], self._erased, self._classify, self.batch, more_time)[0]
        if not one.done.all() or not one.finite:
            return Recovery(NO_LABEL, False, False, False, views.passes)
        counted = np.bincount(one.labels)
        majority = int(counted.argmax())
        if counted[majority] == len(one.labels):
            return Recovery(majority, True, False, True, views.passes)
        for index in np.flatnonzero(one.labels != majority):
            label = int(one.labels[index])
            second = predict(
                [views], self._erased | self._erased[index], self._classify, self.batch, more_time, expected=label
            )[0]
            if (second.labels[second.done] != label).any():
                continue
            if not second.done.all():
                return Recovery(NO_LABEL, False, False, False, views.passes)
            return Recovery(label, True, False, True, views.passes)
        return Recovery(majority, False, False, True, views.passes)

    def _escalated(self, certificate: Certificate, views: Views, more_time: MoreTime) -> Certificate:
        """The alarm with what double masking says of it, if there is time for that."""
        recovery = self._recover(views, more_time)
        if not recovery.finished:
            return replace(certificate, passes=recovery.passes)
        return replace(
            certificate, recovered_label=recovery.label, recovered_by_two_masks=recovery.unanimous,
            passes=recovery.passes,
        )

    def _unfit(self, image: np.ndarray) -> Optional[str]:
        """The reason why an image cannot be looked at, or None."""
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.dtype.kind not in "uif":
            return INPUT
        size = image.shape[:2] if self._layout == "HWC" else image.shape[1:]
        if size != tuple(self._size):
            return SIZE
        return INPUT if image.dtype.kind == "f" and not np.isfinite(image).all() else None


def _never() -> bool:
    """Only what is known already."""
    return False
