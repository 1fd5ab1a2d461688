"""Attacks that know the defence: one patch against the predictions under all windows at once.

The loss is a hinge on every masked logit towards one wrong label; gradients pass the selection of cells straight
through. Places and targets are those where the clean image's certificate is weakest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from l4edge_compression.defense.scalecert import ScaleCertSettings
from l4edge_compression.defense.windows import CoveringSet

WHOLE = 0
"""Index of the view in which nothing is hidden; window w is view w + 1."""

Network = Callable[[Tensor], Tensor]


class Views(Protocol):
    """A defended network as gradients see it."""

    covering: CoveringSet

    def opened(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) float pixels to the tensor that windows are hidden on, (B, ...)."""

    def logits(self, opened: Tensor, views: Tensor) -> Tensor:
        """(B, V, classes) for (B, V) indices of views."""

    def blank(self, opened: Tensor) -> Tensor:
        """(1, classes) of nothing at all, for an opened tensor like this."""


class FeatureViews:
    """Windows hidden on a stem's map, with selection, as :class:`scalecert.ScaleCert` does.

    Args:
        stem: (B, H, W, 3) pixels to (B, C, H', W').
        head: (B, C, H', W') to (B, classes).
        settings: of the certificates.
        select_first: the naive order, which certificates must not have; for showing what it costs.
    """

    def __init__(self, stem: Network, head: Network, settings: ScaleCertSettings, *, select_first: bool = False):
        self.stem, self.head, self.settings, self.select_first = stem, head, settings, select_first
        self.covering = settings.covering()
        none = np.zeros((1, *self.covering.cells), bool)
        self._shown = torch.from_numpy(~np.concatenate([none, self.covering.erased()])).float()

    def opened(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) float pixels to features."""
        return self.stem(images)

    def logits(self, opened: Tensor, views: Tensor) -> Tensor:
        """(B, V, classes); gradients pass cells that were not kept as if they had been."""
        shown = self._shown[views].unsqueeze(2)
        features = opened.unsqueeze(1)
        hidden = self._selected(features) * shown if self.select_first else self._selected(features * shown)
        found = self.head(hidden.flatten(0, 1))
        return found.view(*views.shape, -1)

    def blank(self, opened: Tensor) -> Tensor:
        """(1, classes) of a map without any kept cell."""
        return self.head(torch.zeros_like(opened[:1]))

    def _selected(self, features: Tensor) -> Tensor:
        kept = self._kept(features.detach()).unsqueeze(-3).to(features)
        return features + (features * kept - features).detach()

    def _kept(self, features: Tensor) -> Tensor:
        importance = features.abs().sum(-3)
        if self.settings.rule == "threshold":
            return importance > self.settings.keep
        flat = importance.flatten(-2)
        order = torch.sort(flat, dim=-1, descending=True, stable=True).indices[..., : int(self.settings.keep)]
        return torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, order, value=True).view_as(importance)


class PixelViews:
    """Windows hidden on the pixels, as :class:`masking.OneMask` does.

    Args:
        network: (B, H, W, 3) pixels to (B, classes).
        covering: windows.
        fill: what hidden places hold, one number per channel.
    """

    def __init__(self, network: Network, covering: CoveringSet, fill: tuple[float, float, float]):
        self.network, self.covering = network, covering
        self._fill = torch.tensor(fill)
        none = np.zeros((1, *covering.cells), bool)
        self._shown = torch.from_numpy(~np.concatenate([none, covering.erased()])).float()

    def opened(self, images: Tensor) -> Tensor:
        """The pixels themselves."""
        return images

    def logits(self, opened: Tensor, views: Tensor) -> Tensor:
        """(B, V, classes)."""
        shown = self._shown[views].unsqueeze(-1)
        hidden = opened.unsqueeze(1) * shown + self._fill * (1 - shown)
        return self.network(hidden.flatten(0, 1)).view(*views.shape, -1)

    def blank(self, opened: Tensor) -> Tensor:
        """(1, classes) of pixels that are all hidden."""
        return self.network(torch.ones_like(opened[:1]) * self._fill)


@dataclass(frozen=True)
class AdaptiveAttack:
    """Budget of one attack.

    Attributes:
        steps: of gradient descent.
        views: in each step, the whole image and others drawn at random.
        step_size: grey levels of the first step; they shrink to a tenth.
        lead: logits by which the wrong label should win in every view.
        crowding: weight of the patch's own saliency, which evicts other cells where selection lets it.
        seed: of everything random.
    """

    steps: int = 6
    views: int = 3
    step_size: float = 48.0
    lead: float = 2.0
    crowding: float = 0.0
    seed: int = 0


def all_logits(views: Views, images: np.ndarray, batch: int = 8) -> np.ndarray:
    """(N, 1 + windows, classes) of (N, H, W, 3) uint8 images."""
    every = torch.arange(len(views.covering) + 1)
    parts = torch.from_numpy(images).float().split(batch)
    with torch.no_grad():
        found = [views.logits(views.opened(part), every.expand(len(part), -1)) for part in parts]
    return torch.cat(found).numpy()


def blank_label(views: Views, images: np.ndarray) -> int:
    """What the network calls nothing at all: where an attack ends that drives out everything it does not cover."""
    with torch.no_grad():
        return int(views.blank(views.opened(torch.from_numpy(images[:1]).float())).argmax())


def weak_spots(logits: np.ndarray, covering: CoveringSet, seed: int, rank: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Where and towards what to attack: the window with the smallest lead, and the class that comes second there.

    Args:
        logits: (N, 1 + windows, classes) of certified images.
        covering: the windows.
        seed: of the place inside the window.
        rank: 0 for the weakest window, 1 for the next, and so on.

    Returns:
        (N, 2) row and column of the patch, (N,) class.
    """
    generator = np.random.default_rng(seed)
    ordered = np.sort(logits, axis=2)
    weakest = (ordered[:, 1:, -1] - ordered[:, 1:, -2]).argsort(axis=1)[:, min(rank, len(covering) - 1)]
    targets = np.argsort(logits[np.arange(len(logits)), weakest + 1], axis=1)[:, -2]
    places = []
    for window in weakest.tolist():
        done = np.zeros(len(covering), bool)
        done[window] = True
        rows, columns = np.nonzero(covering.positions(done))
        pick = int(generator.integers(len(rows)))
        places.append((int(rows[pick]), int(columns[pick])))
    return np.array(places), targets


def attacked(
    views: Views, images: np.ndarray, places: np.ndarray, targets: np.ndarray, attack: AdaptiveAttack, batch: int = 32
) -> np.ndarray:
    """(N, H, W, 3) uint8 copies of the images, each with its own optimized patch of the certified size.

    Args:
        views: the defended network.
        images: (N, H, W, 3) uint8.
        places: (N, 2) row and column of each patch.
        targets: (N,) the label each patch is to give.
        attack: budget.
        batch: images at once.
    """
    generator = torch.Generator().manual_seed(attack.seed)
    parts = []
    for begin in range(0, len(images), batch):
        part = slice(begin, begin + batch)
        parts.append(_attacked(views, images[part], places[part], targets[part], attack, generator))
    return np.concatenate(parts)


def _attacked(
    views: Views, images: np.ndarray, places: np.ndarray, targets: np.ndarray, attack: AdaptiveAttack,
    generator: torch.Generator,
) -> np.ndarray:
    count, height, width = images.shape[:3]
    rows = torch.from_numpy(places[:, :1]) <= torch.arange(height)
    rows &= torch.arange(height) < torch.from_numpy(places[:, :1]) + views.covering.patch[0]
    columns = torch.from_numpy(places[:, 1:]) <= torch.arange(width)
    columns &= torch.arange(width) < torch.from_numpy(places[:, 1:]) + views.covering.patch[1]
    inside = (rows[:, :, None] & columns[:, None, :]).unsqueeze(-1).float()
    clean = torch.from_numpy(images).float()
    content = 255 * torch.rand(clean.shape, generator=generator)
    goal = torch.from_numpy(targets)
    for step in range(attack.steps):
        content.requires_grad_()
        opened = views.opened(clean * (1 - inside) + content * inside)
        chosen = torch.randint(1, len(views.covering) + 1, (count, attack.views), generator=generator)
        chosen[:, 0] = WHOLE
        loss = _hinge(views.logits(opened, chosen), goal, attack.lead)
        if attack.crowding:
            loss = loss - attack.crowding * opened.abs().flatten(2).mean(1).sum()
        (slope,) = torch.autograd.grad(loss, content)
        size = attack.step_size * (1 - 0.9 * step / max(1, attack.steps - 1))
        content = (content - size * slope.sign()).clamp(0, 255).detach()
    result = clean * (1 - inside) + content.round() * inside
    return result.to(torch.uint8).numpy()


def _hinge(logits: Tensor, targets: Tensor, lead: float) -> Tensor:
    """Sum over images of the mean over views of how far the target is from winning by ``lead``."""
    goal = targets.view(-1, 1, 1).expand(*logits.shape[:2], 1)
    wanted = logits.gather(2, goal).squeeze(2)
    best = logits.scatter(2, goal, -torch.inf).max(2).values
    return (best - wanted + lead).clamp(min=0).mean(1).sum()
