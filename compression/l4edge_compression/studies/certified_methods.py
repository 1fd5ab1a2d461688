"""The methods of the certification table, all on one network: the certified package's."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from l4edge_compression.defense.attacks.adaptive import WHOLE, FeatureViews, PixelViews
from l4edge_compression.defense.attacks.graphs import GraphNetwork
from l4edge_compression.defense.masking import DoubleMask, OneMask
from l4edge_compression.defense.packages import CertifiedPackage
from l4edge_compression.defense.refining import CoarseToFine
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.selection import saliency, selector
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.windows import CoveringSet, pixel_windows
from l4edge_perception.errors import InputError

Run = Callable[[np.ndarray], np.ndarray]


class Methods:
    """Makes certificates of every kind from one certified package.

    Args:
        package: of the method scalecert.
        fill: grey levels of masked pixels, one per channel.

    Raises:
        InputError: the package is of another method.
    """

    def __init__(self, package: CertifiedPackage, fill: tuple[float, float, float]):
        if package.method != "scalecert":
            raise InputError(f"{package.path}: field method: is {package.method!r}; must be scalecert here")
        self.package, self.fill = package, fill
        self.settings: ScaleCertSettings = package.settings
        self.stem = graph_runner(package.read("stem"), 1, "stem")
        self.head = graph_runner(package.read("head"), 1, "head")

    def network(self, images: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 to (B, classes) logits, nothing hidden: what one-mask detection is given to mask."""
        return self.head(self.selected(self.stem(images)))

    def selected(self, features: np.ndarray) -> np.ndarray:
        """(B, C, H', W') with the cells that are not kept set to zero."""
        none = np.zeros((1, *self.settings.map_size), bool)
        kept = [selector(self.settings.rule, self.settings.keep, each).keep(none)[0] for each in saliency(features)]
        return features * np.stack(kept)[:, None]

    def scalecert(self, count: int | None = None, *, skip: bool = True) -> ScaleCert:
        """ScaleCert-style detection with another number of windows per axis, or the package's own."""
        settings = self.settings if count is None else replace(self.settings, counts=(count, count))
        return ScaleCert(self.stem, self.head, settings, skip=skip)

    def keeping(self, threshold: float, count: int) -> ScaleCert:
        """ScaleCert-style detection with the same weights and another threshold."""
        return ScaleCert(self.stem, self.head, replace(self.settings, keep=threshold, counts=(count, count)))

    def one_mask(self, count: int) -> OneMask:
        """One-mask detection on pixels with a number of windows per axis."""
        return OneMask(self.network, self.pixel_windows(count), self.fill, margin=self.settings.margin)

    def double_mask(self, count: int) -> DoubleMask:
        """Double masking on pixels with a number of windows per axis."""
        return DoubleMask(self.network, self.pixel_windows(count), self.fill, margin=self.settings.margin)

    def refined_scalecert(self, counts: Sequence[int], trust: float) -> CoarseToFine:
        """ScaleCert-style detection from the coarsest to the finest of some numbers of windows."""
        coarser = [replace(self.settings, counts=(count, count)).covering() for count in counts[:-1]]
        return CoarseToFine(self.scalecert(counts[-1]), coarser, trust)

    def refined_one_mask(self, counts: Sequence[int], trust: float) -> CoarseToFine:
        """One-mask detection from the coarsest to the finest of some numbers of windows."""
        return CoarseToFine(self.one_mask(counts[-1]), [self.pixel_windows(count) for count in counts[:-1]], trust)

    def pixel_windows(self, count: int) -> CoveringSet:
        """Windows on the pixels for the package's patch."""
        return pixel_windows(self.settings.input_size, self.settings.patch, (count, count))

    def feature_views(self, settings: ScaleCertSettings | None = None, *, select_first: bool = False) -> FeatureViews:
        """What adaptive attacks look at for ScaleCert-style detection."""
        stem, head = (GraphNetwork(self.package.read(part)) for part in ("stem", "head"))
        return FeatureViews(stem, head, settings or self.settings, select_first=select_first)

    def pixel_views(self, count: int) -> PixelViews:
        """What adaptive attacks look at for detection by masks on pixels."""
        views = self.feature_views()

        def network(images: Tensor) -> Tensor:
            whole = torch.full((len(images), 1), WHOLE)
            return views.logits(views.opened(images), whole).squeeze(1)

        return PixelViews(network, self.pixel_windows(count), self.fill)
