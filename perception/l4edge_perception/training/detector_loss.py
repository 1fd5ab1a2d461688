"""Which cells answer for which object, and how wrong they are.

Task-aligned assignment after TOOD (Feng et al. 2021, arXiv 2108.07755, section 3.2): the cells whose present box and
score agree best with an object learn it. It works on the sparse list of (object, cell) pairs instead of a dense
table, which makes it cheap beside the network even on a CPU.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4edge_perception.camera.decoders import cell_grid


@dataclass(frozen=True)
class LossConfig:
    """Constants of assignment and loss.

    Attributes:
        cells_per_object: how many cells at most learn one object.
        score_power, overlap_power: exponents of the alignment measure score ** a * overlap ** b.
        box_weight: weight of the box loss beside the score loss.
    """

    cells_per_object: int = 10
    score_power: float = 0.5
    overlap_power: float = 6.0
    box_weight: float = 2.0


class Targets(NamedTuple):
    """Objects of a batch of images, one after the other. M objects, R ignored regions.

    Attributes:
        image: (M,) int64, which image of the batch. boxes: (M, 4) float32, pixels. class_ids: (M,) int64.
        ignored_image: (R,) int64. ignored_boxes: (R, 4) float32, pixels.
    """

    image: Tensor
    boxes: Tensor
    class_ids: Tensor
    ignored_image: Tensor
    ignored_boxes: Tensor


class Assignment(NamedTuple):
    """Cells that learn an object. P pairs, all attributes (P,).

    Attributes:
        objects: index into the targets. image, cell: where.
        share: 0..1, how far this cell answers for the object beside its best cell, which has 1.
        score: 0..1, the score wanted there: the share times the best overlap any cell has with the object.
    """

    objects: Tensor
    image: Tensor
    cell: Tensor
    share: Tensor
    score: Tensor


class Losses(NamedTuple):
    """Loss of one batch, and its parts before weighting, for the log."""

    total: Tensor
    score: Tensor
    box: Tensor


class DetectorLoss(torch.nn.Module):
    """Loss of ``DetectorNetwork`` outputs. Holds the cell centres, so it moves between devices like a module."""

    centres: Tensor
    strides: Tensor

    def __init__(
        self, height: int, width: int, strides: tuple[int, ...], divisions: tuple[int, ...], config: LossConfig
    ):
        super().__init__()
        cells = cell_grid(height, width, strides, divisions)
        self.config = config
        self.register_buffer("centres", torch.from_numpy(cells.centres))
        self.register_buffer("strides", torch.from_numpy(cells.strides))

    def forward(self, outputs: Tensor, targets: Targets) -> Losses:
        """(B, 4 + C, N) float32 raw outputs and the objects of those B images."""
        outputs = outputs.transpose(1, 2)
        boxes = self.decode(outputs[..., :4])
        logits = outputs[..., 4:]
        wanted = torch.zeros_like(logits)
        with torch.no_grad():
            pairs = self.assign(boxes, logits, targets)
            wanted[pairs.image, pairs.cell, targets.class_ids[pairs.objects]] = pairs.score
        # Quality focal loss: cells that are right already, above all the many empty ones, hardly count.
        focus = (wanted - logits.sigmoid()).abs().square() * self._counted(wanted, targets)
        score = (focus * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")).sum()
        score = score / pairs.score.sum().clamp(min=1.0)
        overlap = complete_overlap(boxes[pairs.image, pairs.cell], targets.boxes[pairs.objects])
        # Weighted by share, not by score: an object whose boxes are still bad is pulled as hard as any other.
        box = ((1.0 - overlap) * pairs.share).sum() / pairs.share.sum().clamp(min=1.0)
        return Losses(score + self.config.box_weight * box, score.detach(), box.detach())

    def decode(self, values: Tensor) -> Tensor:
        """(B, N, 4) offsets and log sizes in cells to corners in pixels."""
        centres = self.centres + values[..., :2] * self.strides[:, None]
        half = values[..., 2:].clamp(max=8.0).exp() * self.strides[:, None] / 2
        return torch.cat([centres - half, centres + half], dim=-1)

    def assign(self, boxes: Tensor, logits: Tensor, targets: Targets) -> Assignment:
        """Which cells learn which object, by the present (B, N, 4) boxes and (B, N, C) logits."""
        config = self.config
        low, high = targets.boxes[:, None, :2], targets.boxes[:, None, 2:]
        inside = ((self.centres > low) & (self.centres < high)).all(-1)
        # An object smaller than a cell may hold no centre: the finest cells around its own centre also answer.
        near = (self.centres - (low + high) / 2).abs().amax(-1) < self.strides
        objects, cell = (inside | (near & (self.strides == self.strides.min()))).nonzero(as_tuple=True)
        image = targets.image[objects]
        overlap = plain_overlap(boxes[image, cell], targets.boxes[objects])
        score = logits[image, cell, targets.class_ids[objects]].sigmoid()
        alignment = score**config.score_power * overlap**config.overlap_power

        order = alignment.argsort(descending=True)
        order = order[objects[order].argsort(stable=True)]  # grouped by object, best first
        count = torch.bincount(objects, minlength=len(targets.boxes))
        rank = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[objects[order]]
        order = order[rank < config.cells_per_object]

        # A cell wanted by several objects learns the one it overlaps most.
        place = image * boxes.shape[1] + cell
        best_at_place = _largest_per_group(overlap[order], place[order], logits[..., 0].numel())
        order = order[overlap[order] >= best_at_place[place[order]]]
        objects, image, cell = objects[order], image[order], cell[order]
        alignment, overlap = alignment[order], overlap[order]

        best_alignment = _largest_per_group(alignment, objects, len(targets.boxes))
        best_overlap = _largest_per_group(overlap, objects, len(targets.boxes))
        share = alignment / best_alignment[objects].clamp(min=1e-12)
        return Assignment(objects, image, cell, share, share * best_overlap[objects])

    def _counted(self, wanted: Tensor, targets: Targets) -> Tensor:
        """(B, N, 1): 0 for cells in ignored regions that no object wants, 1 elsewhere."""
        counted = torch.ones(wanted.shape[:2], device=wanted.device)
        low, high = targets.ignored_boxes[:, None, :2], targets.ignored_boxes[:, None, 2:]
        margin = self.strides[:, None]
        region, cell = ((self.centres > low - margin) & (self.centres < high + margin)).all(-1).nonzero(as_tuple=True)
        counted[targets.ignored_image[region], cell] = 0.0
        return torch.maximum(counted, (wanted.amax(-1) > 0).float())[..., None]


def _largest_per_group(values: Tensor, groups: Tensor, group_count: int) -> Tensor:
    return values.new_zeros(group_count).scatter_reduce(0, groups, values, "amax")


def plain_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of (P, 4) boxes, pair by pair."""
    corner = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    intersection = corner.clamp(min=0).prod(1)
    areas = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    return intersection / (areas - intersection).clamp(min=1e-9)


def complete_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Complete IoU: overlap less centre distance and difference in shape (Zheng et al. 2020, arXiv 1911.08287)."""
    overlap = plain_overlap(first, second)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    distance = ((first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]) / 2).square().sum(1)
    first_size, second_size = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    angle = torch.atan2(first_size[:, 0], first_size[:, 1]) - torch.atan2(second_size[:, 0], second_size[:, 1])
    shape = 4 / np.pi**2 * angle.square()
    with torch.no_grad():
        weight = shape / (1 - overlap + shape).clamp(min=1e-9)
    return overlap - distance / hull.square().sum(1).clamp(min=1e-9) - weight * shape
