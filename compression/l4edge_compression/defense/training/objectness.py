"""Train the objectness network: small patches of the picture say whether they look like an object.

``python -m l4edge_compression.defense.training.objectness --data DATASET --split validation --out RUN --minutes 8``.
Every cell of 8 x 8 pixels sees 32 x 32 pixels and no more, so a patch of p x p pixels can change no more than
ceil((p + 31) / 8) cells per axis; that is all the certificate in :mod:`..objectness` needs. The network answers for
road users (vehicles and people); signs and lights are too small for cells of this size. The run folder ends up with
``package/`` (a model package of the task segmentation) and ``result.json``.
"""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.graphs import count_macs
from l4edge_perception.machine import processor
from l4edge_perception.models.export import check_parity, export_graph
from l4edge_perception.packages import InputSpec, Level, ModelPackage, OutputSpec, write_package
from l4edge_perception.training.dataset import Frame, read_image, read_split
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.types import OBJECT_CLASSES

STRIDE = 8
RECEPTIVE_FIELD = 32
OFFSET = -12
"""Pixels: where the receptive field of the first cell begins, because of the padding."""

ROAD_USERS = tuple(OBJECT_CLASSES.index(name) for name in ("car", "truck", "pedestrian", "cyclist"))
SIZE = (384, 640)
CROP = (192, 256)


class ObjectnessNetwork(nn.Module):
    """(B, H, W, 3) uint8 pictures to (B, H / 8, W / 8) probabilities of an object at each cell's centre."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 2, stride=2), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 1), nn.ReLU(),
            nn.Conv2d(2 * width, 1, 1),
        )  # fmt: skip

    def logits(self, pictures: Tensor) -> Tensor:
        """(B, H / 8, W / 8)."""
        values: Tensor = self.features(pictures.permute(0, 3, 1, 2).float() / 128 - 1)
        return values[:, 0]

    def forward(self, pictures: Tensor) -> Tensor:
        """Probabilities."""
        return self.logits(pictures).sigmoid()


def targets(boxes: np.ndarray, class_ids: np.ndarray, ignore: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(2, H / 8, W / 8) float32: which cells' centres lie in a road user, and which count.

    Args:
        boxes: (N, 4) pixels of the network's input.
        class_ids: (N,).
        ignore: (N,) bool; cells in ignored objects and in nothing else do not count.
        size: of the input, height and width.
    """
    rows, columns = size[0] // STRIDE, size[1] // STRIDE
    y, x = (np.arange(rows) + 0.5) * STRIDE, (np.arange(columns) + 0.5) * STRIDE
    wanted, counts = np.zeros((rows, columns), np.float32), np.ones((rows, columns), np.float32)
    for box, left_out in zip(boxes, ignore | ~np.isin(class_ids, ROAD_USERS), strict=True):
        inside = np.ix_((y >= box[1]) & (y < box[3]), (x >= box[0]) & (x < box[2]))
        if left_out:
            counts[inside] = 0
        else:
            wanted[inside] = 1
    return np.stack([wanted, np.maximum(counts, wanted)])


def train(network: ObjectnessNetwork, frames: Sequence[Frame], minutes: float, seed: int, console: Console) -> int:
    """Adam with a rate that falls with the clock; returns the number of steps."""
    spec = Preprocessor(input_spec())
    pictures, wanted = [], []
    for frame in frames:
        tensor, placement = spec(read_image(frame.path))
        truth = frame.truth
        boxes = truth.boxes * np.tile(placement.scale, 2) + np.tile(placement.offset, 2)
        pictures.append(tensor[0].copy())
        wanted.append(targets(boxes, truth.class_ids, truth.ignore, SIZE))
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-4)
    network.train()
    started, step, recent = time.monotonic(), 0, []
    while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
        chosen = generator.integers(len(pictures), size=8)
        pairs = [cropped(pictures[index], wanted[index], generator) for index in chosen]
        batch, goals = (torch.from_numpy(np.stack(values)) for values in zip(*pairs, strict=True))
        if generator.random() < 0.5:
            batch, goals = batch.flip(2), goals.flip(3)
        gain = torch.from_numpy(generator.uniform(0.7, 1.3, (len(batch), 1, 1, 1)).astype(np.float32))
        batch = (batch.float() * gain).clamp(0, 255).to(torch.uint8)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * progress)) / 2
        logits = network.logits(batch)
        loss = functional.binary_cross_entropy_with_logits(logits, goals[:, 0], weight=goals[:, 1])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        recent.append(float(loss.detach()))
        if step % 100 == 0:
            console.print(f"step {step}, {time.monotonic() - started:.0f} s, loss {np.mean(recent):.4f}")
            recent = []
    return step


def cropped(
    picture: np.ndarray, wanted: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a picture (H, W, 3) and of its targets (2, H / 8, W / 8) at random: more pictures in the same time."""
    rows, columns = (size // STRIDE for size in CROP)
    y = int(generator.integers(0, wanted.shape[1] + 1 - rows))
    x = int(generator.integers(0, wanted.shape[2] + 1 - columns))
    pixels = picture[y * STRIDE : y * STRIDE + CROP[0], x * STRIDE : x * STRIDE + CROP[1]]
    return pixels, wanted[:, y : y + rows, x : x + columns]


def input_spec() -> InputSpec:
    """As the detector's: letterboxed with black bars."""
    return InputSpec(name="image", shape=(1, *SIZE, 3), dtype="uint8", layout="NHWC", resize="letterbox")


def export(network: ObjectnessNetwork, path: Path, provenance: dict[str, object]) -> ModelPackage:
    """Write the package. RuntimeError where onnxruntime answers otherwise than torch."""
    example = torch.zeros((1, *SIZE, 3), dtype=torch.uint8)
    graph = export_graph(network, example, "image", "objectness")
    check_parity(network, graph, [np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)])
    cells = (1, SIZE[0] // STRIDE, SIZE[1] // STRIDE)
    parameters = {"stride": STRIDE, "receptive_field": RECEPTIVE_FIELD, "offset": OFFSET}
    return write_package(
        ModelPackage(
            path=path,
            name="objectness",
            task="segmentation",
            input=input_spec(),
            output=OutputSpec(("objectness",), (cells,), "objectness", parameters),
            classes=("road_user",),
            class_map=(),
            levels=(Level("full", "full.onnx", "", 0, count_macs(graph, {"image": example.numpy()})),),
            minimum_onnxruntime="1.16.0",
            provenance=provenance,
        ),
        {"full": graph},
    )


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of labelled drives.")
@click.option("--split", default="train", show_default=True, help="Drives to learn from; judge on others.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--minutes", type=click.FloatRange(min=0.01), default=8.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(data: Path, split: str, out: Path, minutes: float, seed: int, threads: int) -> None:
    """Train, export and write down how."""
    without_matrix_tiles()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    frames = read_split(data, split)
    if not frames:
        raise InputError(f"{data}: no pictures in {split}")
    network = ObjectnessNetwork()
    steps = train(network, frames, minutes, seed, Console(stderr=True))
    made = {
        "made_by": "python -m l4edge_compression.defense.training.objectness",
        "learned_from": f"simulated drives, split {split}, {len(frames)} pictures",
        "minutes": minutes,
        "steps": steps,
        "seed": seed,
        "device": f"{processor()}, {threads} threads",
        "torch": torch.__version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    export(network.eval(), out / "package", made)
    write_text(out / "result.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
