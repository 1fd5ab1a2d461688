"""Train the sign classifier: ``python -m l4edge_perception.training.sign_classifier --data CROPS --out RUN``.

The run folder ends up with ``checkpoint.pt`` (to resume from), ``package/`` (the model package) and ``result.json``.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional

from l4edge_perception.errors import exit_on_input_error
from l4edge_perception.models.sign_classifier import (
    LEAST_HEIGHT_PX,
    MIDDLE,
    PATCH,
    SPREAD,
    SignClassifierConfig,
    new_network,
)
from l4edge_perception.models.vision_transformer import VisionTransformer
from l4edge_perception.training.display import print_pass
from l4edge_perception.training.processor import device_named
from l4edge_perception.training.resuming import load_parts, save_parts
from l4edge_perception.training.schedule import decay_groups, follow, learning_rate, progress_of, set_learning_rate
from l4edge_perception.training.sign_batches import CropAugmentation, plain_crops, training_batches
from l4edge_perception.training.sign_classifier_result import finish_run
from l4edge_perception.training.sign_crops import Tiles, read_tiles
from l4edge_perception.types import MEANINGS


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        passes: how often the run is judged and saved. pass_steps: steps in between.
        time_limit_s: wall time, or 0. The learning rate falls with whichever of steps and time is nearer its end.
        batch_size: crops per step. learning_rate: highest, reached after warm_up_steps. weight_decay: of AdamW.
        smoothing: of the labels. reader_weight: of the loss of the stem's own reader.
        average_decay: of the moving average of weights that is evaluated and shipped.
        seed: of weights, order and augmentation.
    """

    passes: int = 20
    pass_steps: int = 150
    time_limit_s: float = 0.0
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 100
    smoothing: float = 0.05
    reader_weight: float = 1.0
    average_decay: float = 0.995
    seed: int = 0
    network: SignClassifierConfig = field(default_factory=SignClassifierConfig)
    augmentation: CropAugmentation = field(default_factory=CropAugmentation)


@dataclass
class TrainingState:
    """All that a resumed run needs to go on as if it had not stopped at the end of a pass.

    ``reader`` names crops from the stem's tokens alone. It is trained beside the transformer and not shipped: without
    it, digits stay unread for thousands of steps, because gradients reach the stem through the transformer only.
    """

    network: VisionTransformer
    average: VisionTransformer
    reader: nn.Linear
    optimizer: torch.optim.Optimizer
    step: int = 0
    done: int = 0
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def new_state(config: TrainingConfig, device: torch.device) -> TrainingState:
    """A fresh network and its optimizer."""
    torch.manual_seed(config.seed)
    network, average = new_network(config.network).to(device), new_network(config.network).to(device).eval()
    average.load_state_dict(network.state_dict())
    reader = nn.Linear((config.network.crop // PATCH) ** 2 * config.network.width, len(MEANINGS)).to(device)
    groups = decay_groups(network, config.weight_decay)
    groups[0]["params"].extend(reader.parameters())
    return TrainingState(network, average, reader, torch.optim.AdamW(groups, lr=config.learning_rate))


PARTS = ("network", "average", "reader", "optimizer")
"""Of a state, what has a state of its own."""

COUNTERS = ("step", "done", "elapsed_s", "history")


def save_checkpoint(path: Path, state: TrainingState, config: TrainingConfig) -> None:
    """Write everything of a run into one file, whole or not at all."""
    save_parts(path, state, PARTS, COUNTERS, {"config": asdict(config)})


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Fill ``state`` from a checkpoint. Raises InputError if it is missing, damaged or of another network."""
    load_parts(path, state, PARTS, COUNTERS)


def train(
    tiles: Tiles, config: TrainingConfig, state: TrainingState, after_pass: Callable[[TrainingState], None]
) -> None:
    """Run the passes that are left, changing ``state``; ``after_pass`` is called when one has ended."""
    rows = np.arange(len(tiles))
    started = time.monotonic() - state.elapsed_s
    while state.done < config.passes and _progress(state, config) < 1.0:
        state.network.train()
        losses = []
        seed = (config.seed, state.done)
        for crops, labels in training_batches(
            tiles, rows, config.batch_size, config.pass_steps, config.network.crop, seed, config.augmentation
        ):
            losses.append(_train_step(state, crops, labels, config))
            state.elapsed_s = time.monotonic() - started
            if config.time_limit_s and state.elapsed_s >= config.time_limit_s:
                break
        state.done += 1
        state.history.append({"pass": state.done, "step": state.step, "loss": float(np.mean(losses))})
        after_pass(state)
        state.elapsed_s = time.monotonic() - started


def _train_step(state: TrainingState, crops: np.ndarray, labels: np.ndarray, config: TrainingConfig) -> float:
    device = next(state.network.parameters()).device
    set_learning_rate(state.optimizer, learning_rate(config, state.step, _progress(state, config)))
    images, wanted = for_training(crops).to(device), torch.from_numpy(labels).to(device)
    tokens = state.network.patch_embed(images)
    answers = (state.network.from_patches(tokens), state.reader(tokens.flatten(1)))
    parts = [functional.cross_entropy(answer, wanted, label_smoothing=config.smoothing) for answer in answers]
    loss = parts[0] + config.reader_weight * parts[1]
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    follow(state.average.parameters(), state.network.parameters(), config.average_decay, state.step)
    for kept, current in zip(state.average.buffers(), state.network.buffers(), strict=True):
        kept.copy_(current)
    return float(parts[0].detach())


def for_training(crops: np.ndarray) -> torch.Tensor:
    """(B, crop, crop, 3) uint8 to (B, 3, crop, crop) float32 as training sees them."""
    return (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - MIDDLE) / SPREAD


def _progress(state: TrainingState, config: TrainingConfig) -> float:
    return progress_of(state.step, config.passes * config.pass_steps, state.elapsed_s, config.time_limit_s)


def accuracy(network: nn.Module, crops: np.ndarray, labels: np.ndarray) -> float:
    """Share of crops that a network in training form names rightly."""
    device = next(network.parameters()).device
    with torch.no_grad():
        named = [
            network(for_training(part).to(device)).argmax(1).cpu().numpy()
            for part in np.array_split(crops, max(1, len(crops) // 64))
        ]
    return float((np.concatenate(named) == labels).mean())


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the crops.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--passes", type=click.IntRange(1), default=20, show_default=True)
@click.option("--pass-steps", type=click.IntRange(1), default=150, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--time-limit", type=float, default=0.0, help="Wall time of the training in minutes; 0 for none.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of torch.")
@click.option("--note", multiple=True, help="What readers of the figures must know; goes into the package.")
def command(
    data: Path,
    out: Path,
    resume: bool,
    device: str,
    passes: int,
    pass_steps: int,
    batch_size: int,
    seed: int,
    time_limit: float,
    threads: int,
    note: tuple[str, ...],
) -> None:
    """Train the sign classifier and write its model package."""
    place = device_named(device)
    torch.set_num_threads(threads)
    config = TrainingConfig(
        passes=passes, pass_steps=pass_steps, batch_size=batch_size, seed=seed, time_limit_s=60 * time_limit
    )
    tiles, validation = read_tiles(data / "train.npz"), read_tiles(data / "validation.npz")
    rows = np.flatnonzero(validation.heights >= LEAST_HEIGHT_PX)
    crops, labels = plain_crops(validation, rows, config.network.crop, jitter_seed=0), validation.labels[rows]
    state = new_state(config, place)
    checkpoint = out / "checkpoint.pt"
    if resume:
        load_checkpoint(checkpoint, state)
    console = Console(stderr=True)

    def after_pass(state: TrainingState) -> None:
        state.history[-1]["validation_accuracy"] = accuracy(state.average, crops, labels)
        save_checkpoint(checkpoint, state, config)
        print_pass(console, state.history[-1], state.elapsed_s)

    train(tiles, config, state, after_pass)
    finish_run(data, out, state.average, config.network, asdict(config), state.history, state.elapsed_s, note)
    console.print(f"wrote {out / 'package'} and {out / 'result.json'}")


if __name__ == "__main__":
    with exit_on_input_error():
        command()
