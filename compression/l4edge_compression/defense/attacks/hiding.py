"""A sticker on a vehicle that a detector then no longer finds.

``python -m l4edge_compression.defense.attacks.hiding``. As in Thys et al. 2019 (arXiv 1904.08653) the scores around the
object are pushed down, here in all cells whose middle lies in its box and for all classes that a vehicle yields to,
over looks at the real place from afar to near.
"""

from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.defense.attacks.stickers import (
    Fitting,
    Looks,
    Placement,
    fit_texture,
    read_looks,
    write_sticker,
)
from l4edge_compression.tasks.detection import detector_from_package
from l4edge_perception.camera.decoders import cell_grid
from l4edge_perception.errors import InputError
from l4edge_perception.models.detector import DIVISIONS, STRIDES
from l4edge_perception.packages import load_package
from l4edge_perception.training.processor import without_matrix_tiles

MADE_BY = "python -m l4edge_compression.defense.attacks.hiding"

ROAD_USERS = 4
"""The first so many classes; signs and lights are nothing to stop behind."""

HARMLESS = -3.5
"""Logit below which a cell's answer is not looked at."""

WORST = 12
"""So many cells count, those with the highest scores."""

AROUND = 0.1
"""By this share of its size the box is enlarged on each side when its cells are looked for."""


def object_cells(looks: Looks, rows: list[int]) -> Tensor:
    """(B, N) bool: which cells of the windows ``rows`` lie on the object."""
    height, width = looks.windows.shape[1:3]
    middles = cell_grid(height, width, STRIDES, DIVISIONS).centres
    boxes = looks.boxes[rows] - np.tile(looks.origins[rows], 2)
    margin = AROUND * np.tile(boxes[:, 2:] - boxes[:, :2], 2) * [-1, -1, 1, 1]
    low, high = np.split(boxes + margin, 2, axis=1)
    inside = ((middles >= low[:, None]) & (middles <= high[:, None])).all(axis=-1)
    return torch.from_numpy(inside)


def seen_loss(answers: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the object is still seen: the loss, and (B,) the largest score on it.

    Args:
        answers: (B, 4 + C, N) of the network. cells: (B, N) bool of :func:`object_cells`.
    """
    logits = answers[:, 4 : 4 + ROAD_USERS].amax(dim=1).masked_fill(~cells, -50.0)
    worst = logits.topk(WORST, dim=1).values
    return functional.relu(worst - HARMLESS).sum(dim=1).mean(), worst[:, 0].sigmoid()


def make(
    network: nn.Module, looks: Looks, placement: Placement, fitting: Fitting, report: Console,
    start: Tensor | None = None,
) -> Tensor:
    """A texture (3, T, T), 0..1, that hides the object from ``network``, which takes (B, 3, h, w), 0..255."""

    def loss(drawn: Tensor, rows: list[int], _rng: np.random.Generator) -> tuple[Tensor, Callable[[], str]]:
        seen, scores = seen_loss(network(drawn), object_cells(looks, rows))

        def words() -> str:
            pairs = zip(looks.distances[rows].tolist(), scores.detach().tolist(), strict=True)
            return "scores " + " ".join(f"{distance:.0f} m: {score:.2f}" for distance, score in pairs)

        return seen, words

    return fit_texture(looks, placement, fitting, loss, report, 25, start)


@click.command()
@click.option("--looks", "looks_file", type=click.Path(path_type=Path), required=True, help="Of demonstration.views.")
@click.option("--package", type=click.Path(path_type=Path), required=True, help="The detector to be fooled.")
@click.option("--width", type=click.FloatRange(0.02, 1.0), required=True, help="In widths of the side.")
@click.option("--height", type=click.FloatRange(0.02, 1.0), required=True, help="In heights of the side.")
@click.option("--right", type=float, default=0.0, show_default=True, help="Of the middle, in widths of the side.")
@click.option("--up", type=float, default=0.0, show_default=True, help="Of the middle, in heights of the side.")
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--texels", type=click.IntRange(4), default=48, show_default=True)
@click.option("--learning-rate", type=float, default=0.1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--start", type=click.Path(path_type=Path), help="A PNG of an earlier run to go on with.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The PNG; a JSON is written beside it.")
def main(
    looks_file: Path, package: Path, width: float, height: float, right: float, up: float, steps: int, batch: int,
    texels: int, learning_rate: float, seed: int, start: Path | None, out: Path,
) -> None:
    """Make the sticker and write it as it would be printed."""
    without_matrix_tiles()
    torch.set_num_threads(1)
    opened = load_package(package)
    looks = read_looks(looks_file)
    network = detector_from_package(opened).network
    for weight in network.parameters():
        weight.requires_grad_(False)
    first = None
    if start is not None:
        picture = cv2.imread(str(start))
        if picture is None:
            raise InputError(f"{start}: no picture; give the PNG of an earlier run")
        first = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    placement, fitting = Placement(right, up, width, height), Fitting(steps, batch, texels, learning_rate, seed)
    texture = make(network, looks, placement, fitting, Console(stderr=True), first)
    write_sticker(out, texture, MADE_BY, opened, looks, placement, fitting)


if __name__ == "__main__":
    main()
