"""Certification of any classifier as it is, by masks on its input: one-mask detection and double masking.

One-mask detection is Minority Reports (McCoyd et al. 2020, ACNS Workshops) on PatchCleanser's covering masks; double
masking is PatchCleanser (Xiang et al. 2022, USENIX Security, arXiv 2108.09135). Both also work on any later tensor that
has two spatial axes, with the covering set of :func:`windows.feature_windows`.
"""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.judging import check_thresholds
from l4edge_compression.defense.verdicts import Certificate, MoreTime, always
from l4edge_compression.defense.views import Classify, Views
from l4edge_compression.defense.windows import CoveringSet, Pair
from l4edge_perception.errors import InputError


class OneMask(Certifier):
    """Detection: every mask must leave the label as it is."""

    def __init__(
        self,
        classify: Classify,
        covering: CoveringSet,
        fill: Union[float, Sequence[float]] = 0.0,
        confidence: float = 0.0,
        margin: float = 1e-3,
        layout: str = "HWC",
        batch: int = 32,
    ) -> None:
        """Prepare the masks.

        Args:
            classify: (B, ...) images to (B, classes) logits, each row depending on its own image only.
            covering: masks on the tensor that :meth:`certify` is given.
            fill: what a masked place holds, a number or one per channel, in the image's own units.
            confidence, margin, batch: see :class:`certifier.Certifier`.
            layout: of the tensor, "HWC" or "CHW".

        Raises:
            InputError: a value outside its range.
        """
        super().__init__(classify, covering, covering.cells, layout, confidence, margin, batch)
        values = np.asarray(fill, np.float64)
        if values.ndim > 1 or not np.isfinite(values).all():
            raise InputError("field fill: must be a finite number or one per channel")
        self._fill = values.reshape(-1, 1, 1) if layout == "CHW" and values.ndim == 1 else values

    def _open(self, images: np.ndarray) -> List[Optional[Views]]:
        fill = self._fill.astype(images.dtype)
        return [Views(image, self._layout == "HWC", fill) for image in images]


class DoubleMask(OneMask):
    """Recovery: every pair of masks must leave the label as it is; :meth:`recover` gives the label."""

    def certify(self, image: np.ndarray, more_time: MoreTime = always, escalate: bool = False) -> Certificate:
        """Recovery certificate, see :meth:`certifier.Certifier.certify_recovery`; there is nothing to escalate to."""
        return self.certify_recovery(image, more_time)

    def certify_batch(self, images: Union[np.ndarray, Sequence[np.ndarray]]) -> List[Certificate]:
        """Recovery certificates of (B, ...) images."""
        return [self.certify_recovery(image) for image in images]


@dataclass(frozen=True)
class MaskSettings:
    """What the masks of one_mask and double_mask depend on; see :class:`OneMask`. Pairs are (y, x)."""

    input_size: Pair
    patch: Pair
    counts: Pair
    fill: Tuple[float, ...] = (0.0,)
    confidence: float = 0.0
    margin: float = 1e-3
    layout: str = "HWC"

    def __post_init__(self) -> None:
        check_thresholds(self.confidence, self.margin, self.layout, batch=1)
        for name in ("input_size", "patch", "counts"):
            pair = getattr(self, name)
            if len(pair) != 2:
                raise InputError(f"field {name}: must be two whole numbers (y, x), is {pair!r}")
            object.__setattr__(self, name, (pair[0], pair[1]))
