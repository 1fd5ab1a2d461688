"""Quantize the project's detector, then let it learn to answer as before.

``python -m l4edge_compression.studies.detector --package models/detector --data DATASET --config CONFIG --level rmsmp
--out RUN``. The float detector is the teacher, so training needs pictures but no labels: the quantized one learns its
answers, weighted by how sure the teacher is that a cell holds an object. The run folder ends up with ``checkpoint.pt``
(to resume from), ``package/`` (the given package with one more level) and ``result.json``.
"""

import copy
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.api import compress_, dump_config, quantizing, read_config
from l4edge_compression.levels import add_level
from l4edge_compression.quantization.saving import Storage
from l4edge_compression.studies.students import load_student, save_student
from l4edge_compression.tasks.detection import DetectionTask
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.training.resuming import resume_from
from l4edge_perception.training.schedule import falling, set_learning_rate

BOX_WEIGHT = 2.0
"""Of the boxes' loss against the scores' loss."""


@dataclass(frozen=True)
class DistillationConfig:
    """How a quantized detector learns from the float one.

    Attributes:
        minutes: wall time; the learning rate falls with the clock, so a slow machine gets a shorter schedule.
        batch_size: pictures per step.
        learning_rate: highest, of Adam.
        calibration_pictures: how many calibrate the activations before.
        seed: of the order of pictures.
    """

    minutes: float = 12.0
    batch_size: int = 4
    learning_rate: float = 3e-4
    calibration_pictures: int = 32
    seed: int = 0


def answers_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the student's answers (B, 4 + C, N: offsets, log sizes, logits) are from the teacher's.

    Scores: cross entropy above the teacher's own, weighted by the squared difference of the probabilities as in the
    quality focal loss (Li et al. 2020, arXiv 2006.04388, section 3.2). Boxes: absolute differences where the teacher
    sees something. Both relative to the number of objects that the teacher sees.
    """
    wanted = teacher[:, 4:].sigmoid()
    sure = wanted.amax(dim=1)
    seen = sure.sum().clamp(min=1.0)
    entropy = functional.binary_cross_entropy_with_logits(teacher[:, 4:], wanted, reduction="none")
    crossed = functional.binary_cross_entropy_with_logits(student[:, 4:], wanted, reduction="none")
    difference = (student[:, 4:].sigmoid() - wanted).detach().abs()
    scores = ((difference + 0.05) * (crossed - entropy)).sum() / seen
    boxes = ((student[:, :4] - teacher[:, :4]).abs().sum(dim=1) * sure).sum() / seen
    return scores + BOX_WEIGHT * boxes


def distil(
    student: nn.Module, task: DetectionTask, config: DistillationConfig, elapsed_s: float = 0.0
) -> Iterator[tuple[int, float, float]]:
    """Train ``student`` until the time is used up; yields (step, seconds so far, mean loss) every 100 steps."""
    teacher = copy.deepcopy(task.network).eval()
    student.train()
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, config.learning_rate)
    frames = task.training
    generator = np.random.default_rng(config.seed)
    started, step, recent = time.monotonic() - elapsed_s, 0, []
    while config.minutes > 0 and (progress := (time.monotonic() - started) / (60 * config.minutes)) < 1.0:
        chosen = generator.choice(len(frames), config.batch_size, replace=False)
        pictures = torch.cat([varied(task.tensor(frames[index]), generator) for index in chosen])
        set_learning_rate(optimizer, config.learning_rate * min(1.0, (step + 1) / 50) * falling(progress))
        with torch.no_grad():
            wanted = teacher(pictures)
        loss = answers_loss(student(pictures), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        step += 1
        recent.append(float(loss.detach()))
        if step % 100 == 0:
            yield step, time.monotonic() - started, float(np.mean(recent))
            recent = []


def varied(pixels: Tensor, generator: np.random.Generator) -> Tensor:
    """A picture (1, H, W, 3) uint8, mirrored or not, a little brighter or darker."""
    if generator.random() < 0.5:
        pixels = pixels.flip(2)
    gain = float(generator.uniform(0.8, 1.2))
    return (pixels.float() * gain).clamp(0, 255).round().to(torch.uint8)


@click.command()
@click.option("--package", type=click.Path(path_type=Path), required=True, help="The float detector's package.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with train and test drives.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), required=True, help="JSON of the method.")
@click.option("--level", required=True, help="Name of the new level.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--minutes", type=float, default=12.0, show_default=True, help="Training; 0 for none.")
@click.option("--learning-rate", type=float, default=3e-4, show_default=True)
@click.option("--storage", type=click.Choice(["packed4", "int8"]), default="packed4", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint of another run whose weights to begin with.")
@click.option("--resume", is_flag=True, help="Take the weights of the checkpoint in the run folder.")
def main(
    package: Path,
    data: Path,
    config_file: Path,
    level: str,
    out: Path,
    minutes: float,
    learning_rate: float,
    storage: Storage,
    seed: int,
    threads: int,
    start: Path | None,
    resume: bool,
) -> None:
    """Quantize, train, judge and write."""
    without_matrix_tiles()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    console = Console(stderr=True)
    task = DetectionTask(package, data)
    method = quantizing(read_config(config_file), str(config_file))
    config = DistillationConfig(minutes=minutes, learning_rate=learning_rate, seed=seed)
    student = copy.deepcopy(task.network)
    if start is not None:
        _take_weights(student, start)
    compress_(student, method, task.batches(config.calibration_pictures))
    checkpoint = out / "checkpoint.pt"
    history: list[dict[str, float]] = []
    if resume:
        history = load_student(checkpoint, student)
    elapsed = history[-1]["seconds"] if history else 0.0
    for step, seconds, loss in distil(student, task, config, elapsed):
        history.append({"step": step, "seconds": round(seconds, 1), "loss": round(loss, 4)})
        console.print(f"step {step}, {seconds:.0f} s, loss {loss:.4f}")
        save_student(checkpoint, student, history)
    made = {
        "made_by": "python -m l4edge_compression.studies.detector",
        "method": json.loads(dump_config(method)),
        "seed": seed,
        "start_sha256": hashlib.sha256(start.read_bytes()).hexdigest() if start is not None else None,
        "device": f"{processor()}, {threads} threads",
        "torch": torch.__version__,
        "training_s": history[-1]["seconds"] if history else 0,
        "steps": history[-1]["step"] if history else 0,
        "history": history[:: max(1, len(history) // 20)],
    }
    _, report = add_level(task, student.eval(), level, out / "package", storage, made, console.print)
    write_text(out / "result.json", json.dumps({**made, **report.to_json()}, indent=1) + "\n")
    console.print_json(json.dumps(report.to_json()))


def _take_weights(network: nn.Module, path: Path) -> None:
    """The float weights that a checkpoint's quantized network was trained to; formats and scales are chosen anew."""

    def fill(content: dict[str, Any]) -> None:
        network.load_state_dict({name: content["student"][name] for name in network.state_dict()})

    resume_from(path, "this detector", fill)


if __name__ == "__main__":
    main()
