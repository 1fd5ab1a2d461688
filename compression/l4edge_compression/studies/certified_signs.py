"""Train the sign classifier whose answers can be certified: ``python -m l4edge_compression.studies.certified_signs``.

The float classifier (``l4edge_perception.training.sign_classifier``) goes on learning with a sparse first layer and
with windows covered, in the features and in the pixels, so that ScaleCert-style certificates as well as masking of
pixels work on one network. ``--out`` ends up with ``checkpoint.pt``, to resume from and for
``l4edge_compression.studies.certified_signs_package``, which exports and judges the network.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.studies.certified_signs_network import CertifiedSignClassifier, new_certified
from l4edge_compression.studies.certified_signs_windows import meanings_under, random_windows, uncovered
from l4edge_perception.models.sign_classifier import LEAST_HEIGHT_PX
from l4edge_perception.training.display import print_pass
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.training.resuming import load_parts, resume_from, save_parts
from l4edge_perception.training.schedule import decay_groups, follow, learning_rate, progress_of, set_learning_rate
from l4edge_perception.training.sign_batches import NUMBERS, CropAugmentation, plain_crops, training_batches
from l4edge_perception.training.sign_classifier import for_training
from l4edge_perception.training.sign_crops import Tiles, read_tiles
from l4edge_perception.types import MEANINGS

PIXELS_ONE_IN = 4
"""One covered view in so many has its pixels covered rather than its features."""


@dataclass(frozen=True)
class OcclusionTraining:
    """One training.

    Attributes:
        passes: how often the run is judged and saved. pass_steps: steps in between.
        time_limit_s: of wall time, or 0. The learning rate falls with whichever of steps and time is nearer its end.
        batch_size: crops per step; each is seen uncovered, and with features or pixels covered.
        threshold: a cell of the first layer is kept if its channels add up to more than this.
        sparsity: weight of the share of kept cells in the loss.
        candidates: windows of which the one with the greatest loss is learned from (Saha et al. 2023, "greedy cutout").
        worst_from: share of the training from which on there are as many candidates; one before.
        second_window: share of covered views that have two windows, as double masking has.
        covered_weight: of the loss of all covered views.
        hidden_red: weight of covered views of red lights, so that doubt between lamps goes towards red.
        hidden_number: weight of covered views of speed limits, whose digits often cannot be seen then.
        seed: of order, augmentation and windows.
    """

    passes: int = 60
    pass_steps: int = 100
    time_limit_s: float = 0.0
    batch_size: int = 48
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    warm_up_steps: int = 200
    smoothing: float = 0.02
    average_decay: float = 0.998
    threshold: float = 6.0
    sparsity: float = 0.6
    candidates: int = 2
    worst_from: float = 0.3
    second_window: float = 0.3
    covered_weight: float = 1.2
    hidden_red: float = 1.5
    hidden_number: float = 0.5
    depth: int = 3
    seed: int = 0
    augmentation: CropAugmentation = field(default_factory=CropAugmentation)


@dataclass
class OcclusionState:
    """All that a resumed run needs."""

    network: CertifiedSignClassifier
    average: CertifiedSignClassifier
    optimizer: torch.optim.Optimizer
    start: dict[str, Any]
    step: int = 0
    done: int = 0
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


PARTS = ("network", "average", "optimizer")
COUNTERS = ("step", "done", "elapsed_s", "history")


def new_state(config: OcclusionTraining, start: Path) -> OcclusionState:
    """Begin with the float network of a ``checkpoint.pt``, its last blocks left out."""
    torch.manual_seed(config.seed)
    content: dict[str, Any] = {}
    resume_from(start, "a sign classifier", content.update)
    network, average = (new_certified(content, config.threshold, config.depth) for _ in range(2))
    optimizer = torch.optim.AdamW(decay_groups(network, config.weight_decay), lr=config.learning_rate)
    return OcclusionState(network, average, optimizer, dict(content["config"]["network"]))


def save_state(path: Path, state: OcclusionState, config: OcclusionTraining) -> None:
    """Write everything of a run into one file, whole or not at all."""
    save_parts(path, state, PARTS, COUNTERS, {"config": asdict(config), "start": state.start})


def load_state(path: Path, state: OcclusionState) -> None:
    """Fill ``state`` from a checkpoint. Raises InputError if it is missing, damaged or of another network."""
    load_parts(path, state, PARTS, COUNTERS)


def covered_losses(network: CertifiedSignClassifier, features: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(B,) losses of features that are covered, and selected after that."""
    answers = network.head(network.selected(features))
    return functional.cross_entropy(answers, labels, label_smoothing=smoothing, reduction="none")


def worst_of(network: CertifiedSignClassifier, features: Tensor, labels: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Of (candidates, B, H, W) masks the (B, H, W) under which each crop is read worst."""
    if len(masks) == 1:
        return masks[0]
    with torch.no_grad():
        losses = torch.stack(
            [
                covered_losses(network, features * uncovered(mask), torch.from_numpy(meanings_under(mask, labels)), 0.0)
                for mask in masks
            ]
        )
    return masks[losses.argmax(dim=0).numpy(), np.arange(masks.shape[1])]


def train_step(
    state: OcclusionState, crops: np.ndarray, labels: np.ndarray, config: OcclusionTraining, rng: np.random.Generator
) -> tuple[float, float, float]:
    """One step; the loss uncovered and covered, and the share of cells that are kept."""
    network, done = state.network, progress(state, config)
    set_learning_rate(state.optimizer, learning_rate(config, state.step, done))
    images = for_training(crops)
    count = len(crops)
    features = network.stem(images)
    kept = torch.sigmoid((features.sum(dim=1) - config.threshold) / 0.5).mean()
    in_pixels = count // PIXELS_ONE_IN
    masks = np.stack(
        [
            random_windows(count - in_pixels, features.shape[-1], config.second_window, rng)
            for _ in range(config.candidates if done >= config.worst_from else 1)
        ]
    )
    worst = worst_of(network, features[in_pixels:].detach(), labels[in_pixels:], masks)
    holes = random_windows(in_pixels, images.shape[-1], config.second_window, rng)
    covered = [network.stem(images[:in_pixels] * uncovered(holes)), features[in_pixels:] * uncovered(worst)]
    meant = [labels, meanings_under(holes, labels[:in_pixels]), meanings_under(worst, labels[in_pixels:])]
    wanted = torch.from_numpy(np.concatenate(meant))
    losses = covered_losses(network, torch.cat([features, *covered]), wanted, config.smoothing)
    weights = torch.ones(len(MEANINGS))
    weights[MEANINGS.index("red")], weights[NUMBERS] = config.hidden_red, config.hidden_number
    plain, hidden = losses[:count].mean(), (losses[count:] * weights[wanted[count:]]).mean()
    loss = plain + config.covered_weight * hidden + config.sparsity * kept
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    follow(state.average.parameters(), network.parameters(), config.average_decay, state.step)
    return float(plain.detach()), float(hidden.detach()), float(kept.detach())


def progress(state: OcclusionState, config: OcclusionTraining) -> float:
    """0 at the start, 1 when steps or time are used up."""
    return progress_of(state.step, config.passes * config.pass_steps, state.elapsed_s, config.time_limit_s)


def train(
    tiles: Tiles, config: OcclusionTraining, state: OcclusionState, after_pass: Callable[[OcclusionState], None]
) -> None:
    """Run the passes that are left, changing ``state``; ``after_pass`` is called when one has ended."""
    rows, started = np.arange(len(tiles)), time.monotonic() - state.elapsed_s
    while state.done < config.passes and progress(state, config) < 1.0:
        # Normalization keeps the statistics of the float training: covered views would disturb them.
        state.network.eval()
        rng = np.random.default_rng((config.seed, state.done, 1))
        numbers = []
        for crops, labels in training_batches(
            tiles, rows, config.batch_size, config.pass_steps, 64, (config.seed, state.done), config.augmentation
        ):
            numbers.append(train_step(state, crops, labels, config, rng))
            state.elapsed_s = time.monotonic() - started
            if config.time_limit_s and state.elapsed_s >= config.time_limit_s:
                break
        state.done += 1
        plain, hidden, kept = np.mean(numbers, axis=0).tolist()
        state.history.append({"pass": state.done, "step": state.step, "loss": plain, "covered": hidden, "kept": kept})
        after_pass(state)
        state.elapsed_s = time.monotonic() - started


@click.command()
@click.option("--start", type=click.Path(path_type=Path), required=True, help="checkpoint.pt of the float training.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the crops.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this training.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder.")
@click.option("--passes", type=click.IntRange(1), default=60, show_default=True)
@click.option("--pass-steps", type=click.IntRange(1), default=100, show_default=True)
@click.option("--time-limit", type=float, default=0.0, help="Wall time of the training in minutes; 0 for none.")
@click.option("--threshold", type=float, default=6.0, show_default=True, help="Of the first layer's cells.")
@click.option("--sparsity", type=float, default=0.6, show_default=True, help="Weight of the share of kept cells.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(
    start: Path, data: Path, out: Path, resume: bool, passes: int, pass_steps: int, time_limit: float,
    threshold: float, sparsity: float, seed: int, threads: int,
) -> None:
    """Train the classifier on with windows covered."""
    without_matrix_tiles()
    torch.set_num_threads(threads)
    config = OcclusionTraining(
        passes=passes, pass_steps=pass_steps, time_limit_s=60 * time_limit, threshold=threshold, sparsity=sparsity,
        seed=seed,
    )
    tiles, validation = read_tiles(data / "train.npz"), read_tiles(data / "validation.npz")
    rows = np.flatnonzero(validation.heights >= LEAST_HEIGHT_PX)
    crops, labels = plain_crops(validation, rows, 64, jitter_seed=0), validation.labels[rows]
    state = new_state(config, start)
    checkpoint, console = out / "checkpoint.pt", Console(stderr=True)
    if resume:
        load_state(checkpoint, state)

    def after_pass(state: OcclusionState) -> None:
        with torch.no_grad():
            named = [state.average(for_training(part)).argmax(1).numpy() for part in np.array_split(crops, 20)]
        state.history[-1]["validation_accuracy"] = float((np.concatenate(named) == labels).mean())
        save_state(checkpoint, state, config)
        print_pass(console, state.history[-1], state.elapsed_s)

    train(tiles, config, state, after_pass)


if __name__ == "__main__":
    main()
