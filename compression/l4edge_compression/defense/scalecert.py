"""ScaleCert-style certification: windows are hidden on the feature map of a shallow stem, which runs once.

After Han et al. 2021, "ScaleCert: Scalable Certified Defense against Adversarial Patches with Sparse Superficial
Layers" (NeurIPS, arXiv 2110.14120). The order of hiding and selecting, the theorem, the window grid and the sharing of
predictions are the project's own reconstruction, see docs/certification.md.
"""

from dataclasses import dataclass
from typing import Callable, List, Optional

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.judging import check_thresholds
from l4edge_compression.defense.selection import check_rule, saliency, selector
from l4edge_compression.defense.views import Classify, Views
from l4edge_compression.defense.windows import CoveringSet, Pair, feature_windows
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class ScaleCertSettings:
    """Everything that a certificate depends on besides the two networks. Pairs are (y, x).

    Attributes:
        input_size: (H, W) of the images in pixels.
        patch: largest patch, (h, w) in pixels of the network's input.
        counts: budget of windows per axis.
        receptive_field: pixels that one cell of the stem's map sees.
        stride: pixels between neighbouring cells.
        offset: pixel where the first cell's receptive field begins, negative with padding.
        map_size: (H', W') of the stem's map in cells.
        rule: "threshold" keeps cells of a saliency above ``keep``, "top_k" the ``keep`` most salient ones.
        keep: threshold of at least 0, or number of cells. A network is to be trained with the rule it is used with.
        confidence: probability that agreeing windows must exceed, and that makes a disagreeing one an alarm.
        margin: least lead of the largest logit over the second; see :func:`numerics.margin_for`.
        saliency_margin: least distance of a selection from its boundary, where a second engine computes features
            slightly otherwise; 0 within one engine.
        layout: of the images, "HWC" or "CHW".
    """

    input_size: Pair
    patch: Pair
    counts: Pair
    receptive_field: Pair
    stride: Pair
    offset: Pair
    map_size: Pair
    rule: str
    keep: float
    confidence: float = 0.0
    margin: float = 1e-3
    saliency_margin: float = 0.0
    layout: str = "HWC"

    def __post_init__(self) -> None:
        for name in ("input_size", "patch", "counts", "receptive_field", "stride", "offset", "map_size"):
            pair = getattr(self, name)
            if len(pair) != 2 or any(number != int(number) for number in pair):
                raise InputError(f"field {name}: must be two whole numbers (y, x), is {pair!r}")
            object.__setattr__(self, name, (int(pair[0]), int(pair[1])))
        check_rule(self.rule, self.keep)
        check_thresholds(self.confidence, self.margin, self.layout, batch=1)
        if not 0 <= self.saliency_margin < np.inf:
            raise InputError(f"field saliency_margin: must be at least 0 and finite, is {self.saliency_margin}")

    def covering(self) -> CoveringSet:
        """The windows. Raises InputError if the patch is too large for the input or its map."""
        return feature_windows(
            self.input_size, self.patch, self.counts, self.receptive_field, self.stride, self.offset, self.map_size
        )


class ScaleCert(Certifier):
    """Hides windows on the stem's map, then selects what is kept, then asks the head."""

    def __init__(
        self,
        stem: Callable[[np.ndarray], np.ndarray],
        head: Classify,
        settings: ScaleCertSettings,
        batch: int = 32,
        skip: bool = True,
    ) -> None:
        """Prepare the windows.

        Args:
            stem: (B, ...) images to (B, C, H', W') float32 features, every cell of which depends on its receptive
                field only; :func:`locality.stem_locality` checks an ONNX graph for that.
            head: (B, C, H', W') features to (B, classes) logits, each row depending on its own features only.
            settings: see there.
            batch: most windows of one call of the head.
            skip: predict equal views once, windows without a kept cell not at all. The decisions are the same without.

        Raises:
            InputError: settings that leave nothing to look at.
        """
        super().__init__(
            head, settings.covering(), settings.input_size, settings.layout, settings.confidence, settings.margin, batch
        )
        self.settings = settings
        self._stem = stem
        self._skip = skip
        self._fill = np.zeros((), np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        """(B, C, H', W') stem features of (B, ...) images. Raises InputError if they have another shape."""
        found = np.asarray(self._stem(images))
        if found.ndim != 4 or len(found) != len(images) or found.shape[2:] != self.covering.cells:
            raise InputError(
                f"stem: features must be ({len(images)}, channels, {self.covering.cells[0]}, {self.covering.cells[1]}) "
                f"by field map_size, are {found.shape}; measure the stem again"
            )
        return found

    def _open(self, images: np.ndarray) -> List[Optional[Views]]:
        features = self.features(images)
        values = saliency(features)
        return [
            self._views(one, value) if np.isfinite(value).all() else None for one, value in zip(features, values)
        ]

    def _views(self, features: np.ndarray, values: np.ndarray) -> Views:
        """Views of one image's (C, H', W') features with their (H', W') saliency."""
        return Views(
            features,
            channels_last=False,
            fill=self._fill,
            select=selector(self.settings.rule, self.settings.keep, values),
            least_gap=self.settings.saliency_margin,
            share=self._skip,
        )
