"""Quantize the sign classifier, with training: ``python -m l4edge_compression.studies.sign_classifier``.

``--run`` is the folder of a float training (``l4edge_perception.training.sign_classifier``): its ``checkpoint.pt``
holds the weights, its ``package`` gets one more level. The quantized network learns from the labels and from the float
network's answers alike. ``--out`` ends up with ``checkpoint.pt`` (to resume from) and ``result.json``.
"""

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.api import (
    Schedule,
    begin_epoch,
    compress_,
    config_to_json,
    parameter_groups,
    quantizing,
    read_config,
)
from l4edge_compression.quantization.config import QuantizationConfig
from l4edge_compression.quantization.qat import set_density
from l4edge_compression.quantization.saving import write_quantized_package
from l4edge_compression.studies.students import load_student, save_student
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor
from l4edge_perception.models.sign_classifier import DeployedClassifier, load_network
from l4edge_perception.packages import load_package
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.training.schedule import LEAST_RATE, falling, set_learning_rate
from l4edge_perception.training.sign_batches import CropAugmentation, plain_crops, training_batches
from l4edge_perception.training.sign_classifier_result import judge_levels, with_accuracy
from l4edge_perception.training.sign_crops import Tiles, read_tiles

BATCH = 64
WEIGHT_DECAY = 0.01
TEACHER_SHARE = 0.5
"""Of the loss: cross entropy with the float network's answers, the rest with the labels."""


def pixels_of(crops: np.ndarray) -> Tensor:
    """(B, size, size, 3) uint8 to (B, 3, size, size) float32, 0..255."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float()


def train(
    student: nn.Module, teacher: nn.Module, tiles: Tiles, config: QuantizationConfig, size: int,
    passes: int, pass_steps: int, learning_rate: float, seed: int,
) -> Iterator[dict[str, float]]:
    """Train a compressed network; yields the pass, its mean loss and the seconds so far, after each pass."""
    schedule = Schedule(config, passes)
    optimizer = torch.optim.AdamW(parameter_groups(student, WEIGHT_DECAY), lr=learning_rate)
    rows, started, total = np.arange(len(tiles)), time.monotonic(), passes * pass_steps
    for number in range(passes):
        due = schedule.at(number)
        begin_epoch(student, due)
        student.train()
        losses = []
        batches = training_batches(tiles, rows, BATCH, pass_steps, size, (seed, number), CropAugmentation())
        for step, (crops, labels) in enumerate(batches):
            if due.stage == 2:
                set_density(student, due.density + (due.density_after - due.density) * (step + 1) / pass_steps)
            done = (number * pass_steps + step) / total
            set_learning_rate(optimizer, learning_rate * falling(done, LEAST_RATE))
            images = pixels_of(crops)
            with torch.no_grad():
                wanted = teacher(images).softmax(dim=1)
            answers = student(images)
            loss = (1 - TEACHER_SHARE) * functional.cross_entropy(answers, torch.from_numpy(labels))
            loss = loss + TEACHER_SHARE * functional.cross_entropy(answers, wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        seconds = round(time.monotonic() - started, 1)
        yield {"pass": number + 1, "loss": round(float(np.mean(losses)), 4), "seconds": seconds}


@click.command()
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Folder of the float training.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the crops.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), required=True, help="JSON of the method.")
@click.option("--level", required=True, help="Name of the new level.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this training.")
@click.option("--passes", type=click.IntRange(1), default=10, show_default=True)
@click.option("--pass-steps", type=click.IntRange(1), default=60, show_default=True)
@click.option("--learning-rate", type=float, default=5e-4, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--no-package", is_flag=True, help="Train only; a later call with --resume writes the level.")
@click.option("--resume", is_flag=True, help="Take the trained weights of the checkpoint and only write the level.")
def main(
    run: Path, data: Path, config_file: Path, level: str, out: Path, passes: int, pass_steps: int,
    learning_rate: float, seed: int, threads: int, no_package: bool, resume: bool,
) -> None:
    """Quantize, train, judge, and add the level to the package of the run."""
    without_matrix_tiles()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    console = Console(stderr=True)
    teacher = load_network(run / "checkpoint.pt").eval()
    config = quantizing(read_config(config_file), str(config_file))
    tiles = {split: read_tiles(data / f"{split}.npz") for split in ("train", "validation", "test")}
    package = load_package(run / "package")
    size = package.input.size[0]
    drawn = np.random.default_rng(seed).choice(len(tiles["train"]), 256, replace=False)
    calibration = [pixels_of(part) for part in np.array_split(plain_crops(tiles["train"], drawn, size), 8)]
    student = compress_(copy.deepcopy(teacher), config, calibration)
    checkpoint, history = out / "checkpoint.pt", []
    if resume:
        history = load_student(checkpoint, student)
    else:
        for record in train(
            student, teacher, tiles["train"], config, size, passes, pass_steps, learning_rate, seed
        ):
            history.append(record)
            console.print(record)
            save_student(checkpoint, student, history)
    if no_package:
        return
    made = {
        "made_by": "python -m l4edge_compression.studies.sign_classifier",
        "method": config_to_json(config),
        "seed": seed,
        "device": f"{processor()}, {threads} threads",
        "torch": torch.__version__,
        "training_s": history[-1]["seconds"] if history else 0.0,
        "steps": len(history) * pass_steps,
        "history": history,
    }
    crops = plain_crops(tiles["test"], np.arange(0, len(tiles["test"]), len(tiles["test"]) // 4)[:4], size)
    student.eval()
    saved = write_quantized_package(
        student, run / "package", package, batches=[torch.from_numpy(crops)], level=level, provenance=made,
        keep_levels=True, wrapper=DeployedClassifier(student).eval(),
    )
    judged = judge_levels(saved.package, tiles, {**saved.package.provenance})
    with_accuracy(saved.package, judged)
    write_text(out / "result.json", json.dumps({**made, **judged["levels"][level]}, indent=1) + "\n")
    console.print({name: entry["test"]["accuracy"] for name, entry in judged["levels"].items()})


if __name__ == "__main__":
    main()
