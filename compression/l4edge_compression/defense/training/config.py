"""Settings with which a classifier is made certifiable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from l4edge_perception.errors import InputError

RULES = ("threshold", "top_k")
LEVELS = ("features", "pixels", "both")


@dataclass(frozen=True)
class OcclusionConfig:
    """Random windows that hide a part of training pictures, as masks will at run time.

    PatchCleanser (Xiang et al., USENIX Security 2022) trains with two holes per picture; which windows, and that they
    may lie in the stem's map, is this project's choice.

    Attributes:
        shares: of pictures with no, one and two windows; in all 1.
        counts: windows per axis of the covering sets whose window sizes are drawn, equally often. Fewer means larger.
        candidates: windows drawn for each one that is used: the one that hides most activity. A cheap stand-in for
            learning from the worst window (Saha et al. 2023, "greedy cutout"), without more passes.
        level: where windows lie: ``features`` (the stem's map), ``pixels`` (of the input, filled with 0), or ``both``,
            half of the pictures each.
        hardest: draws of windows, of which each picture learns from the one with the highest loss: greedy cutout
            itself. Each of two or more costs a forward pass, and the training loop must call ``choose_hardest_``.
    """

    shares: tuple[float, float, float] = (0.15, 0.6, 0.25)
    counts: tuple[int, ...] = (3, 6, 6, 6)
    candidates: int = 2
    level: str = "both"
    hardest: int = 1

    def __post_init__(self) -> None:
        if len(self.shares) != 3 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise InputError(
                f"OcclusionConfig: shares is {self.shares}; must be the shares of pictures with no, one and two windows"
            )
        if not self.counts or min(self.counts) < 1:
            raise InputError(f"OcclusionConfig: counts is {self.counts}; give windows per axis, each at least 1")
        for name in ("candidates", "hardest"):
            if getattr(self, name) < 1:
                raise InputError(f"OcclusionConfig: {name} is {getattr(self, name)}; must be at least 1")
        if self.level not in LEVELS:
            raise InputError(f"OcclusionConfig: level is {self.level!r}; must be {' or '.join(LEVELS)}")


@dataclass(frozen=True)
class ScaleCertConfig:
    """A stem whose map keeps only superficial important neurons (SINs), in the style of ScaleCert.

    ScaleCert (Han et al., NeurIPS 2021) prunes a shallow map to its important neurons and certifies on them. Formulas,
    order (occlude, then select), thresholds and training are this project's reconstruction: the paper's code was never
    published.

    Attributes:
        after: name of the module that ends the stem; all its output passes through the selection.
        patch: (height, width) of the patch that certificates speak of, in pixels of the network's input.
        counts: (rows, columns) of windows in the covering set of the package.
        rule: ``threshold`` keeps cells whose saliency exceeds a number fixed once, offline; ``top_k`` the k most
            salient cells of what is not occluded.
        keep: share of cells to keep, on average over the calibration data (threshold) or of each map (top_k).
        confidence: least probability of a label that counts, 0 to 1 (tau).
        margin: least distance of the two largest logits that is not left to rounding (epsilon).
        train_stem: lets layers of the stem learn on; without it saliencies, and so the share kept, stay as calibrated.
        occlusion: of training pictures.
        seed: of everything random.
    """

    method: ClassVar[str] = "scalecert"

    after: str = "relu"
    patch: tuple[int, int] = (5, 5)
    counts: tuple[int, int] = (6, 6)
    rule: str = "threshold"
    keep: float = 0.5
    confidence: float = 0.0
    margin: float = 1e-3
    train_stem: bool = False
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("patch", "counts"):
            value = getattr(self, name)
            if len(value) != 2 or min(value) < 1:
                raise InputError(f"ScaleCertConfig: {name} is {value}; must be two whole numbers from 1 on")
        if self.rule not in RULES:
            raise InputError(f"ScaleCertConfig: rule is {self.rule!r}; must be {' or '.join(RULES)}")
        if not 0 < self.keep <= 1:
            raise InputError(f"ScaleCertConfig: keep is {self.keep}; must be a share above 0, at most 1")
        if not 0 <= self.confidence < 1:
            raise InputError(f"ScaleCertConfig: confidence is {self.confidence}; must be 0 or more, below 1")
        if not self.margin >= 0:
            raise InputError(f"ScaleCertConfig: margin is {self.margin}; must be 0 or more")
