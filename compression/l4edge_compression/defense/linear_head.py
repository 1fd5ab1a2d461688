"""The cheapest certificate: with a linear head on pooled features, hiding a window is subtracting its sum.

After PatchCURE (Xiang et al. 2024, USENIX Security), which masks late features of a network with small receptive fields
and needs no further pass of a linear head. Detection and recovery cost one pass of the network in all.
"""

from dataclasses import replace
from typing import Callable, List, Sequence

import numpy as np

from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.selection import selector
from l4edge_compression.defense.views import Predictions, Views, read_logits
from l4edge_perception.errors import InputError


class _LinearViews(Views):
    """Views whose predictions are sums over the cells that are kept."""

    contributions: np.ndarray
    bias: np.ndarray

    def keys(self, kept: np.ndarray) -> List[bytes]:
        """Predict all views at once; there is nothing left to ask a network for."""
        keys = super().keys(kept)
        logits = kept.reshape(len(kept), -1).astype(np.float64) @ self.contributions + self.bias
        self._known.update(zip(keys, zip(*(column.tolist() for column in read_logits(logits, len(kept))))))
        return keys

    def gather(self, keys: Sequence[bytes], sure: np.ndarray) -> Predictions:
        """All of them, of the one pass that there was."""
        return replace(super().gather(keys, sure), passes=1, passes_required=1)


class LinearHead(ScaleCert):
    """Certificates for logits that are a linear function of the mean over all cells, hidden ones counting as zero."""

    def __init__(
        self, stem: Callable[[np.ndarray], np.ndarray], weight: np.ndarray, bias: np.ndarray,
        settings: ScaleCertSettings,
    ) -> None:
        """Prepare the windows.

        Args:
            stem: (B, ...) images to (B, C, H', W') features with small receptive fields.
            weight: (classes, C). bias: (classes,).
            settings: of the windows on the stem's map.

        Raises:
            InputError: weight and bias do not go together, or settings that leave nothing to look at.
        """
        super().__init__(stem, _no_pass, settings, batch=1)
        self._weight = np.asarray(weight, np.float64)
        self._bias = np.asarray(bias, np.float64)
        if self._weight.ndim != 2 or self._bias.shape != self._weight.shape[:1] or len(self._bias) < 2:
            raise InputError(
                f"linear head: weight must be (2 or more classes, channels) and bias (classes,), are "
                f"{self._weight.shape} and {self._bias.shape}"
            )

    def _views(self, features: np.ndarray, values: np.ndarray) -> Views:
        cells = features.shape[1] * features.shape[2]
        views = _LinearViews(
            features, channels_last=False, fill=self._fill,
            select=selector(self.settings.rule, self.settings.keep, values), least_gap=self.settings.saliency_margin,
        )
        views.contributions = features.reshape(len(features), -1).T.astype(np.float64) @ self._weight.T / cells
        views.bias = self._bias
        views.passes = 1
        return views


def _no_pass(tensors: np.ndarray) -> np.ndarray:
    raise AssertionError(f"a linear head needs no pass, got {len(tensors)} views")
