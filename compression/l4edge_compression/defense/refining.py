"""Coarse to fine: few large windows first, small ones only where the large ones left doubt.

This is the project's own addition to ScaleCert-style and one-mask detection. Every patch position has one window of
each level that hides it, its chain. What speaks for a position is the first window of its chain whose prediction is
confident enough to be trusted, or else the last. An image is certified if whatever speaks for any position agrees with
the label of the whole image.

Why this is sound: let a patch lie at position P. Every window of P's chain hides the patch, so each of their
predictions, and with them which one is trusted first, is the same with and without the patch. If the clean image was
certified with label y, then y speaks for P in the patched image, too: the answer is y, or it differs from what speaks
for P, which is an alarm. Choosing by agreement with the whole image instead of by confidence would not be sound: the
patch decides what the whole image's label is.
"""

from typing import List, Sequence, Tuple, Union

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.verdicts import (
    AGREED,
    DEADLINE,
    DISAGREED,
    INPUT,
    MARGIN,
    NO_LABEL,
    Certificate,
    MoreTime,
    Verdict,
    WindowResult,
    always,
    uncertified,
)
from l4edge_compression.defense.views import Predictions, Views, predict
from l4edge_compression.defense.windows import CoveringSet
from l4edge_perception.errors import InputError


class CoarseToFine:
    """Detection certificates with covering sets of several sizes; the finest is the certifier's own."""

    def __init__(self, certifier: Certifier, coarser: Sequence[CoveringSet], trust: float) -> None:
        """Prepare the chains.

        Args:
            certifier: whose network, selection, margin and finest windows are used; its confidence must be 0.
            coarser: covering sets on the same map for the same patch, coarsest first.
            trust: probability above which a coarse window's prediction is taken, 0 to 1.

        Raises:
            InputError: sets for another patch or map, a trust outside its range, or a certifier with a confidence.
        """
        if not 0 < trust < 1:
            raise InputError(f"field trust: must be above 0 and below 1, is {trust}")
        if certifier.confidence != 0:
            raise InputError("field confidence: must be 0 where windows are refined; trust takes its place")
        finest = certifier.covering
        for covering in coarser:
            if (covering.size, covering.patch, covering.cells) != (finest.size, finest.patch, finest.cells):
                raise InputError("coarser windows: are of another patch or map than the certifier's; make them alike")
        self.covering = finest
        self.trust = trust
        self._certifier = certifier
        self._levels = [*coarser, finest]
        self._chains = [_window_of_positions(covering) for covering in self._levels]

    def certify(self, image: np.ndarray, more_time: MoreTime = always) -> Certificate:
        """Detection certificate of one image; see :meth:`certifier.Certifier.certify`.

        ``windows`` and ``disagreeing`` count windows of all levels. ``covered`` is the share of positions for which
        something spoke in time.
        """
        reason = self._certifier._unfit(image)  # noqa: SLF001 - refining is a certifier with other windows
        if reason or not more_time():
            return uncertified(reason or DEADLINE)
        views = self._certifier._open(image[None])[0]  # noqa: SLF001
        return uncertified(INPUT) if views is None else self._certify(views, more_time)

    def certify_batch(self, images: Union[np.ndarray, Sequence[np.ndarray]]) -> List[Certificate]:
        """Detection certificates of several images."""
        return [self.certify(image) for image in images]

    def undefended(self, images: np.ndarray) -> np.ndarray:
        """(B,) labels of the whole images."""
        return self._certifier.undefended(images)

    def _certify(self, views: Views, more_time: MoreTime) -> Certificate:
        whole = self._predict(views, np.zeros((1, *self.covering.cells), bool), more_time)
        if not whole.done[0] or not whole.finite:
            return uncertified(INPUT if whole.done[0] else DEADLINE)
        label, smallest = int(whole.labels[0]), float(whole.margins[0])
        open_positions = np.ones(len(self._chains[0]), bool)
        unsure = not whole.sure.all()
        disagreeing: List[WindowResult] = []
        looked, spoken = 0, np.zeros(len(open_positions), bool)
        for number, (covering, chain) in enumerate(zip(self._levels, self._chains)):
            windows = np.unique(chain[open_positions])
            seen = self._predict(views, covering.erased()[windows], more_time)
            looked += int(seen.done.sum())
            if not seen.finite:
                return uncertified(INPUT)
            trusted, close = self._trusted(seen, last=number == len(self._levels) - 1)
            differing = trusted & (seen.labels != label)
            for index in np.flatnonzero(differing).tolist():
                window = covering.pixels(int(windows[index]))
                disagreeing.append(WindowResult(window, int(seen.labels[index]), float(seen.confidences[index])))
            unsure |= bool((close | ~seen.sure)[seen.done].any())
            if trusted.any():
                smallest = min(smallest, float(seen.margins[trusted].min()))
            here = np.isin(chain, windows[trusted]) & open_positions
            spoken |= here
            open_positions &= ~here
            if not open_positions.any() or not seen.done.all():
                break
        return self._concluded(views, label, smallest, unsure, tuple(disagreeing), looked, float(spoken.mean()))

    def _concluded(
        self, views: Views, label: int, smallest: float, unsure: bool, disagreeing: Tuple[WindowResult, ...],
        looked: int, covered: float,
    ) -> Certificate:
        verdict, reason = Verdict.UNCERTIFIED, DEADLINE
        if disagreeing:
            verdict, reason = Verdict.ALARM, DISAGREED
        elif covered == 1.0:
            sound = smallest >= self._certifier.margin and not unsure
            verdict, reason = (Verdict.CERTIFIED, AGREED) if sound else (Verdict.UNCERTIFIED, MARGIN)
        others = {result.label for result in disagreeing}
        return Certificate(
            verdict, reason, label, others.pop() if len(others) == 1 else None, covered, views.passes, views.passes,
            smallest, disagreeing, looked,
        )

    def _predict(self, views: Views, erased: np.ndarray, more_time: MoreTime) -> Predictions:
        classify = self._certifier._classify  # noqa: SLF001
        return predict([views], erased, classify, self._certifier.batch, more_time)[0]

    def _trusted(self, seen: Predictions, last: bool) -> Tuple[np.ndarray, np.ndarray]:
        """(M,) bool windows that speak, and (M,) bool windows whose speaking numerics could have decided about."""
        known = seen.done & (seen.labels != NO_LABEL)
        if last:
            return known, np.zeros(len(known), bool)
        close = known & (np.abs(seen.confidences - self.trust) <= self._certifier.margin / 4.0)
        return known & (seen.confidences > self.trust), close


def _window_of_positions(covering: CoveringSet) -> np.ndarray:
    """(positions,) for each patch position, in row-major order, one window of the set that hides it."""
    count = len(covering)
    chosen = np.full(covering.positions(np.zeros(count, bool)).shape, -1, np.int64)
    for window in range(count):
        done = np.zeros(count, bool)
        done[window] = True
        chosen[covering.positions(done) & (chosen < 0)] = window
    if (chosen < 0).any():
        raise InputError("windows: do not cover every position of the patch; use windows.feature_windows")
    return chosen.reshape(-1)
