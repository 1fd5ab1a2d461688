"""A sticker on a sign that makes a classifier read something else.

``python -m l4edge_compression.defense.attacks.sign_sticker``. Like the patches of Brown et al. 2017 (arXiv 1712.09665)
on the sign itself, as in RP2 (Eykholt et al. 2018, arXiv 1707.08945): all of its content is free, its place and size
are not. The loss is a hinge on the margin of the true word's logit over the largest other one, averaged over looks,
crops as a detector would place them, exposures and noise.
"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx
import torch
from onnx import numpy_helper
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
from l4edge_perception.errors import InputError
from l4edge_perception.models.sign_classifier import SignClassifierConfig, for_pixels, new_network
from l4edge_perception.packages import ModelPackage, load_package
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.types import MEANINGS, SIGN_MEANINGS

MADE_BY = "python -m l4edge_compression.defense.attacks.sign_sticker"

SHIFT, SCALE = 0.05, 0.08
"""Standard deviations of a detector's boxes, in edges of the box."""

HINGE = 4.0
"""Margin of logits after which nothing more is to be gained from a crop."""


def classifier_from_package(package: ModelPackage) -> nn.Module:
    """The torch network whose weights lie in the first level of the project's sign classifier package.

    Raises:
        InputError: the package holds another network.
    """
    level = package.level()
    graph = onnx.load_model_from_string(package.read_graph(level)).graph
    weights = {entry.name: np.array(numpy_helper.to_array(entry)) for entry in graph.initializer}
    network = for_pixels(new_network(SignClassifierConfig(crop=package.input.size[0])))
    # The exporter renames and transposes the weights of linear layers; products appear in the graph's order.
    products = [node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    named = {name: weights.get(f"network.{name}") for name in network.state_dict()}
    missing = [name for name, value in named.items() if value is None]
    try:
        for name, product in zip(missing, products, strict=True):
            named[name] = weights[product].T
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{package.path}: not the project's sign classifier in float ({error})") from error
    return network.eval()


def crops(windows: Tensor, looks: Looks, rows: list[int], size: int, enlargement: float, draw: np.ndarray) -> Tensor:
    """Squares around the objects (B, 3, size, size), cut as ``l4edge_perception.camera.classifier.crop`` cuts them.

    Args:
        windows: (B, 3, h, w) of the looks ``rows``.
        draw: (B, 3) by how much the boxes are moved right and down and enlarged, in edges of the box.
    """
    boxes = looks.boxes[rows] - np.tile(looks.origins[rows], 2)
    edges = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 + draw[:, :2] * edges[:, None]
    edges = edges * enlargement * (1.0 + draw[:, 2])
    steps = (np.arange(size) + 0.5) / size - 0.5
    height, width = windows.shape[2:]
    x = (middles[:, :1] + edges[:, None] * steps) / width * 2 - 1
    y = (middles[:, 1:] + edges[:, None] * steps) / height * 2 - 1
    grid = np.stack([np.broadcast_to(x[:, None, :], (len(x), size, size)), np.repeat(y[:, :, None], size, 2)], -1)
    return functional.grid_sample(windows, torch.from_numpy(grid).float(), align_corners=False, padding_mode="border")


def margins(logits: Tensor, word: str) -> Tensor:
    """(B,) by how much the logit of ``word`` leads all other words that a sign may have."""
    possible = [MEANINGS.index(other) for other in (*SIGN_MEANINGS, "none") if other != word]
    return logits[:, MEANINGS.index(word)] - logits[:, possible].amax(dim=1)


def make(
    network: nn.Module, looks: Looks, placement: Placement, word: str, size: int, enlargement: float,
    fitting: Fitting, report: Console,
) -> Tensor:
    """A texture (3, T, T), 0..1, that keeps ``network`` from reading ``word``."""

    def loss(drawn: Tensor, rows: list[int], rng: np.random.Generator) -> tuple[Tensor, Callable[[], str]]:
        moved = rng.normal(0.0, 1.0, (len(rows), 3)) * [SHIFT, SHIFT, SCALE]
        lead = margins(network(crops(drawn, looks, rows, size, enlargement, moved)), word)
        right = (lead.detach() > 0).float().mean()
        return functional.relu(lead + HINGE).mean(), lambda: f"read right {float(right):.2f}"

    return fit_texture(looks, placement, fitting, loss, report, 50)


@click.command()
@click.option("--looks", "looks_file", type=click.Path(path_type=Path), required=True, help="Of demonstration.views.")
@click.option("--package", type=click.Path(path_type=Path), required=True, help="The classifier to be fooled.")
@click.option("--edge", type=click.FloatRange(0.02, 1.0), required=True, help="Of the sticker, in widths of the sign.")
@click.option("--right", type=float, default=0.0, show_default=True, help="Of the middle, in widths of the sign.")
@click.option("--up", type=float, default=0.0, show_default=True, help="Of the middle, in heights of the sign.")
@click.option("--word", default="stop", show_default=True, help="What the sign really says.")
@click.option("--steps", type=click.IntRange(1), default=600, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=24, show_default=True)
@click.option("--texels", type=click.IntRange(4), default=32, show_default=True)
@click.option("--learning-rate", type=float, default=0.1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The PNG; a JSON is written beside it.")
def main(
    looks_file: Path, package: Path, edge: float, right: float, up: float, word: str, steps: int, batch: int,
    texels: int, learning_rate: float, seed: int, out: Path,
) -> None:
    """Make the sticker and write it as it would be printed."""
    without_matrix_tiles()
    torch.set_num_threads(1)
    opened = load_package(package)
    looks = read_looks(looks_file)
    size, enlargement = opened.input.size[0], float(opened.output.parameters["enlargement"])
    placement, fitting = Placement(right, up, edge, edge), Fitting(steps, batch, texels, learning_rate, seed)
    network = classifier_from_package(opened)
    texture = make(network, looks, placement, word, size, enlargement, fitting, Console(stderr=True))
    write_sticker(out, texture, MADE_BY, opened, looks, placement, fitting, word=word)


if __name__ == "__main__":
    main()
