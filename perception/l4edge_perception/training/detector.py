"""Train the camera detector: ``python -m l4edge_perception.training.detector --data DATASET --out RUN``.

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
from torch import Tensor, nn

from l4edge_perception.errors import InputError, exit_on_input_error
from l4edge_perception.models.detector import DIVISIONS, STRIDES, DetectorConfig, DetectorNetwork
from l4edge_perception.training.augmentation import AugmentationConfig
from l4edge_perception.training.batches import Batch, training_batches
from l4edge_perception.training.dataset import Frame, read_split
from l4edge_perception.training.detector_loss import DetectorLoss, LossConfig
from l4edge_perception.training.detector_result import evaluate_network, finish_run
from l4edge_perception.training.display import print_pass, progress_bar
from l4edge_perception.training.processor import device_named
from l4edge_perception.training.resuming import load_parts, save_parts
from l4edge_perception.training.schedule import decay_groups, follow, learning_rate, progress_of, set_learning_rate


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        epochs: passes over the training images.
        pass_images: how many of them, drawn anew for each pass, or 0 for all. A checkpoint is written after each pass.
        time_limit_s: wall time for the passes, or 0. The learning rate falls with whichever of passes and time is
            nearer its end, so a slow machine gets a shorter but complete schedule (and no bit-equal repetition).
        batch_size: images per step. learning_rate: highest, reached after warm_up_steps. weight_decay: of AdamW.
        average_decay: of the moving average of weights that is evaluated and shipped.
        band_height: rows that training looks at, a random part of the network's input and a multiple of the largest
            stride: most objects stand near the horizon, and sky and near road cost as much time as they do.
        seed: of weights, order and augmentation.
        validation_images: how many validation images are judged after a pass.
    """

    epochs: int = 30
    pass_images: int = 0
    time_limit_s: float = 0.0
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 300
    average_decay: float = 0.999
    band_height: int = 256
    seed: int = 0
    validation_images: int = 240
    network: DetectorConfig = field(default_factory=DetectorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


@dataclass
class TrainingState:
    """All that a resumed run needs to go on as if it had not stopped at the end of a pass."""

    network: DetectorNetwork
    average: DetectorNetwork
    optimizer: torch.optim.Optimizer
    step: int = 0
    epoch: int = 0
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def new_state(config: TrainingConfig, device: torch.device) -> TrainingState:
    """A fresh network and its optimizer."""
    torch.manual_seed(config.seed)
    network = _channels_last(DetectorNetwork(config.network), device)
    average = _channels_last(DetectorNetwork(config.network), device).eval()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(decay_groups(network, config.weight_decay), lr=config.learning_rate)
    return TrainingState(network, average, optimizer)


def _channels_last(network: DetectorNetwork, device: torch.device) -> DetectorNetwork:
    """The network on its device in the layout that makes bf16 convolutions fast."""
    for parameter in network.parameters():
        layout = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
        parameter.data = parameter.data.to(device, memory_format=layout)
    return network.to(device)


PARTS = ("network", "average", "optimizer")
COUNTERS = ("step", "epoch", "elapsed_s", "history")


def save_checkpoint(path: Path, state: TrainingState, config: TrainingConfig) -> None:
    """Write everything of a run into one file, whole or not at all."""
    save_parts(path, state, PARTS, COUNTERS, {"config": asdict(config)})


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Fill ``state`` from a checkpoint. Raises InputError if it is missing, damaged or of another network."""
    load_parts(path, state, PARTS, COUNTERS)


def train(
    frames: list[Frame],
    config: TrainingConfig,
    state: TrainingState,
    after_epoch: Callable[[TrainingState], None],
    on_step: Callable[[TrainingState, int, float], None] = lambda state, steps, loss: None,
) -> None:
    """Run the passes that are left, changing ``state``.

    Args:
        frames: training images; at least one batch.
        config: the run.
        state: fresh, or as loaded from a checkpoint.
        after_epoch: called when a pass has ended, for checkpoints and evaluation.
        on_step: called after each step with the number of steps in a pass and the loss.
    """
    pass_images = min(config.pass_images or len(frames), len(frames))
    steps = pass_images // config.batch_size
    if steps == 0:
        raise InputError(f"{pass_images} training images do not fill one batch of {config.batch_size}; make more")
    device = next(state.network.parameters()).device
    canvas = (config.network.height, config.network.width)
    band = (config.band_height, config.network.width)
    loss_function = DetectorLoss(*band, STRIDES, DIVISIONS, config.loss).to(device)
    started = time.monotonic() - state.elapsed_s
    while state.epoch < config.epochs and _progress(state, config, steps) < 1.0:
        seed = (config.seed, state.epoch)
        drawn = np.random.default_rng(seed).choice(len(frames), pass_images, replace=False)
        chosen = [frames[index] for index in drawn]
        state.network.train()
        passed = []
        for batch in training_batches(chosen, config.batch_size, canvas, band[0], seed, config.augmentation):
            rate = learning_rate(config, state.step, _progress(state, config, steps))
            losses = _train_step(state, batch, loss_function, config, rate)
            state.elapsed_s = time.monotonic() - started
            passed.append(losses.tolist())
            on_step(state, steps, passed[-1][0])
            if config.time_limit_s and state.elapsed_s >= config.time_limit_s:
                break
        state.epoch += 1
        means = dict(zip(("loss", "score_loss", "box_loss"), np.mean(passed, axis=0).tolist(), strict=True))
        state.history.append({"epoch": state.epoch, "step": state.step, **means})
        after_epoch(state)
        state.elapsed_s = time.monotonic() - started


def _train_step(
    state: TrainingState, batch: Batch, loss_function: nn.Module, config: TrainingConfig, rate: float
) -> Tensor:
    """One step; the total loss and its parts, (3,)."""
    device = next(state.network.parameters()).device
    set_learning_rate(state.optimizer, rate)
    # NHWC pixels seen as NCHW are channels_last already, the layout in which bf16 convolutions are fast; and bf16
    # holds 0..255 exactly.
    images = batch.pixels.to(device).permute(0, 3, 1, 2).to(torch.bfloat16)
    with torch.autocast(device.type, torch.bfloat16):
        outputs = state.network(images)
    losses = loss_function(outputs.float(), type(batch.targets)(*(part.to(device) for part in batch.targets)))
    state.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimizer.step()
    state.step += 1
    means, values = state.average.state_dict().values(), state.network.state_dict().values()
    follow(means, values, config.average_decay, state.step)
    return torch.stack([losses.total.detach(), losses.score, losses.box])


def _progress(state: TrainingState, config: TrainingConfig, steps_per_epoch: int) -> float:
    return progress_of(state.step, config.epochs * steps_per_epoch, state.elapsed_s, config.time_limit_s)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with train, validation, test.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--pass-images", type=click.IntRange(0), default=0, help="Images drawn for each pass; 0 for all.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--time-limit", type=float, default=0.0, help="Wall time of the training in minutes; 0 for none.")
@click.option("--note", multiple=True, help="What readers of the figures must know; goes into the package.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads of torch; another two read images.",
)
def command(
    data: Path,
    out: Path,
    resume: bool,
    device: str,
    epochs: int,
    pass_images: int,
    batch_size: int,
    seed: int,
    time_limit: float,
    note: tuple[str, ...],
    threads: int,
) -> None:
    """Train the camera detector and write its model package."""
    place = device_named(device)
    torch.set_num_threads(threads)
    config = TrainingConfig(
        epochs=epochs, pass_images=pass_images, time_limit_s=60 * time_limit, batch_size=batch_size, seed=seed
    )
    frames = read_split(data, "train")
    validation = read_split(data, "validation")
    validation = validation[:: max(1, len(validation) // config.validation_images)]
    state = new_state(config, place)
    checkpoint = out / "checkpoint.pt"
    if resume:
        load_checkpoint(checkpoint, state)
    console = Console(stderr=True)

    with progress_bar(console) as progress:
        task = progress.add_task("train")

        def on_step(state: TrainingState, steps: int, loss: float) -> None:
            text = f"pass {state.epoch + 1}/{config.epochs} loss {loss:.3f}"
            progress.update(task, total=steps, completed=state.step % steps or steps, description=text)

        def after_epoch(state: TrainingState) -> None:
            judged = evaluate_network(state.average, validation)
            state.history[-1].update(validation_ap50=judged.ap50, validation_ap=judged.ap)
            save_checkpoint(checkpoint, state, config)
            print_pass(console, state.history[-1], state.elapsed_s)

        train(frames, config, state, after_epoch, on_step)
    finish_run(data, out, state.average, asdict(config), state.history, state.elapsed_s, note)
    console.print(f"wrote {out / 'package'} and {out / 'result.json'}")


if __name__ == "__main__":
    with exit_on_input_error():
        command()
