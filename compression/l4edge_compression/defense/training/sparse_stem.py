"""The module behind a stem: occludes in training, selects important cells always.

The order is the one that certificates need (docs/certification.md): occlude first, then select. Selecting on the whole
map and masking afterwards would let a bright patch evict cells outside its shadow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from l4edge_compression.defense.training.config import OcclusionConfig, ScaleCertConfig


def window_side(length: int, patch: int, count: int) -> int:
    """Side of the windows that cover every place of a patch: stride t = ceil((n - w + 1) / m), side w + t - 1."""
    return min(length, patch + math.ceil((length - patch + 1) / count) - 1)


class SparseStem(nn.Module):
    """Ends a stem: its module, then the selection of cells.

    Attributes:
        stem: the module that ended the stem before.
        threshold: (1) saliency above which a cell is kept; rule ``threshold`` only.
        drawn: batches seen in training, which the random windows follow from, so that resumed runs repeat.
        attempts: (B,) which of several draws of random windows each picture of the next batch gets; None: the first of
            all, and none outside of training.
        straight_through: gradients pass cells that were not kept as if they had been; for attacks.
        observed: (N, H * W) saliencies, one entry per batch, while ``observing``.
    """

    threshold: Tensor
    drawn: Tensor

    def __init__(self, stem: nn.Module, config: ScaleCertConfig, shadow: tuple[int, int] = (1, 1), stride: int = 1):
        super().__init__()
        self.stem, self.config, self.shadow, self.stride = stem, config, shadow, stride
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("drawn", torch.zeros(1, dtype=torch.long))
        self.attempts: Tensor | None = None
        self.straight_through = False
        self.selecting = True
        self.observing = False
        self.observed: list[Tensor] = []
        self.frozen: list[nn.Module] = []

    def train(self, mode: bool = True) -> SparseStem:
        """Switch to training; normalization inside a stem that does not learn keeps its statistics."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """What the stem's last module reads to (B, C, H', W'), zero where a cell is not kept."""
        features = self.stem(inputs)
        if self.observing:
            self.observed.append(saliency(features).flatten(1).detach())
        if self.occluding and self.selecting:
            features = features * self.feature_windows(features)
        if self.training and self.selecting:
            self.drawn += 1
            self.attempts = None
        return self.select(features) if self.selecting else features

    @property
    def occluding(self) -> bool:
        """Whether random windows are hidden now."""
        return self.training or self.attempts is not None

    def select(self, features: Tensor) -> Tensor:
        """(..., C, H', W') with all but the important cells zero."""
        kept = self.kept(features).unsqueeze(-3)
        if self.straight_through:
            return features + (features * kept - features).detach()
        return features * kept

    def kept(self, features: Tensor) -> Tensor:
        """(..., C, H', W') to (..., H', W') bool: the important cells."""
        importance = saliency(features)
        if self.config.rule == "threshold":
            return importance > self.threshold
        flat = importance.flatten(-2)
        count = kept_count(flat.shape[-1], self.config.keep)
        # A stable order is the tie rule: of equal saliencies the lower index counts.
        order = torch.sort(flat, dim=-1, descending=True, stable=True).indices[..., :count]
        return torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, order, value=True).view_as(importance)

    def feature_windows(self, features: Tensor) -> Tensor:
        """(B, C, H', W') to (B, 1, H', W') with 0 inside this batch's random windows."""
        if self.config.occlusion.level == "pixels":
            return torch.ones_like(features[:, :1])
        weight = (saliency(features) * self.kept(features)).detach()
        return self._windows(_size(features), self.shadow, weight, in_pixels=False).to(features)

    def pixel_windows(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1, H, W) with 0 inside this batch's random windows."""
        if self.config.occlusion.level == "features":
            return torch.ones_like(images[:, :1])
        return self._windows(_size(images), self.config.patch, saliency(images).detach(), in_pixels=True).to(images)

    def _windows(self, size: tuple[int, int], patch: tuple[int, int], weight: Tensor, *, in_pixels: bool) -> Tensor:
        """(B, 1, H, W) bool: False inside the windows of the pictures whose windows lie at this level."""
        count = len(weight)
        attempts = torch.zeros(count, dtype=torch.long) if self.attempts is None else self.attempts
        result = torch.ones(count, 1, *size, dtype=torch.bool)
        for attempt in attempts.unique().tolist():
            drawing = _Drawing(self.config, int(self.drawn), count, attempt)
            chosen = drawing.in_pixels == in_pixels
            if self.config.occlusion.level != "both":
                chosen = torch.ones_like(chosen)
            mine = (attempts == attempt)[:, None, None, None]
            result = torch.where(mine, drawing.windows(size, patch, chosen, weight), result)
        return result


_FAR_APART = 1 << 28
"""Between the seeds of two attempts at one batch: more than there are batches. Seeds count modulo 2^32."""


class _Drawing:
    """Random windows of one batch; the same every time it is made for the same batch and attempt."""

    def __init__(self, config: ScaleCertConfig, batch: int, count: int, attempt: int = 0):
        self.generator = torch.Generator().manual_seed(config.seed * 1_000_003 + batch + attempt * _FAR_APART)
        self.config: OcclusionConfig = config.occlusion
        self.in_pixels = torch.rand(count, generator=self.generator) < 0.5

    def windows(self, size: tuple[int, int], patch: tuple[int, int], chosen: Tensor, weight: Tensor) -> Tensor:
        """(B, 1, H, W) bool: False inside one or two windows of the chosen pictures.

        ``weight`` (B, H, W) is what windows of several candidates hide most of.
        """
        count = len(chosen)
        number = torch.multinomial(
            torch.tensor(self.config.shares), count, replacement=True, generator=self.generator
        )
        result = torch.ones(count, *size, dtype=torch.bool)
        for index in range(2):
            drawn = torch.stack([self._inside(count, size, patch) for _ in range(self.config.candidates)])
            hidden = (drawn * weight.cpu()).sum((-2, -1))
            inside = drawn[hidden.argmax(0), torch.arange(count)]
            result &= ~(inside & (chosen & (number > index))[:, None, None])
        return result.unsqueeze(1)

    def _inside(self, count: int, size: tuple[int, int], patch: tuple[int, int]) -> Tensor:
        """(B, H, W) bool: one random window per picture."""
        grid = torch.randint(0, len(self.config.counts), (count,), generator=self.generator)
        axes = []
        for length, extent in zip(size, patch, strict=True):
            sides = torch.tensor([window_side(length, extent, entry) for entry in self.config.counts])[grid]
            places = torch.rand(count, generator=self.generator) * (length - sides + 1)
            start, cells = places.long()[:, None], torch.arange(length)[None, :]
            axes.append((cells >= start) & (cells < start + sides[:, None]))
        return axes[0][:, :, None] & axes[1][:, None, :]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def saliency(features: Tensor) -> Tensor:
    """(..., C, H', W') to (..., H', W'): how much a cell contributes, the sum of its absolute values."""
    return features.abs().sum(dim=-3)


def kept_count(cells: int, keep: float) -> int:
    """How many cells the rule ``top_k`` keeps; at least one."""
    return max(1, min(cells, math.floor(keep * cells + 0.5)))
