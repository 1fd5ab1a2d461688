"""The training loop of the study: one loop for float and quantized networks, resumable after every pass."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4edge_compression.api import BinaryConfig, QuantizationConfig, Schedule, begin_epoch
from l4edge_compression.quantization.qat import Due, set_density
from l4edge_compression.studies.pictures import Pictures, normalized, varied
from l4edge_compression.studies.recipes import Recipe, rate
from l4edge_perception.errors import InputError
from l4edge_perception.models.checkpoints import load_weights
from l4edge_perception.training.resuming import resume_from, write_checkpoint

BATCH = 128
DENSITY_EVERY = 10
"""Steps between two rises of the share of binary weights."""

JUDGED_AT_ONCE = 500

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Run:
    """What is trained, and for how long.

    Attributes:
        recipe: of the network.
        from_scratch: from random weights; else from a checkpoint.
        config: settings of the quantization; None for float networks.
        epochs: passes.
        pass_images: pictures drawn for each pass, at most all.
        seed: of the order and variation of pictures.
    """

    recipe: Recipe
    from_scratch: bool
    config: QuantizationConfig | None
    epochs: int
    pass_images: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps in a pass."""
        return self.pass_images // BATCH


@dataclass
class State:
    """All that a resumed run needs to go on as if it had not stopped at the end of a pass."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    epoch: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def begin_from(network: Network, start: Path | None, leaving_out: tuple[str, ...] = ()) -> Network:
    """A network as a run begins with it: a checkpoint's weights if there is one, in the quickest layout.

    ``leaving_out`` are beginnings of names in the checkpoint that the network has no use for.
    """
    if start is not None:
        load_weights(network, start, leaving_out=leaving_out)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def calibration_batches(pictures: Pictures, count: int, seed: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """``count`` batches of inputs and labels, drawn by a seed of their own and not varied."""
    picked = torch.randperm(len(pictures.images), generator=torch.Generator().manual_seed(seed))
    parts = picked.split(BATCH)[:count]
    return [(as_input(pictures.images[part].to(device)), pictures.labels[part].to(device)) for part in parts]


def new_state(network: nn.Module, run: Run) -> State:
    """Begin a run with a network as it is."""
    groups = _parameter_groups(network, run.recipe)
    if run.recipe.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.AdamW(groups, lr=1.0)
    return State(network, optimizer, torch.Generator().manual_seed(run.seed))


def _parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_scale = name.startswith("quantizers.") or ".row_quantizer." in name
        (scales if is_scale else decayed if parameter.ndim > 1 else free).append(parameter)
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay, "share": 1.0},
        {"params": free, "weight_decay": 0.0, "share": 1.0},
    ]
    if scales:
        groups.append({"params": scales, "weight_decay": 0.0, "share": recipe.scale_rate})
    return groups


def save_state(path: Path, state: State) -> None:
    """Write everything of a run into one file, whole or not at all."""
    content = {
        "model": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        **{name: getattr(state, name) for name in ("epoch", "seconds", "processor_seconds", "history")},
    }
    write_checkpoint(path, content)


def load_state(path: Path, state: State) -> None:
    """Fill ``state`` from a checkpoint. Raises InputError if it is missing, damaged or of another run."""

    def fill(content: dict[str, Any]) -> None:
        state.network.load_state_dict(content["model"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.generator.set_state(content["generator"])
        for name in ("epoch", "seconds", "processor_seconds", "history"):
            setattr(state, name, content[name])

    resume_from(path, "this run", fill)


def do_nothing(network: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """What most trainings do before a step."""


def train(
    pictures: Pictures,
    run: Run,
    state: State,
    after_epoch: Callable[[State], None],
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    before_step: Callable[[nn.Module, Tensor, Tensor], None] = do_nothing,
) -> None:
    """Run the passes that are left, changing ``state``.

    Args:
        pictures: to train on; at least one batch.
        run: what to do.
        state: fresh, or as loaded.
        after_epoch: called when a pass has ended.
        on_step: called after each step with its number in the pass, from 1 on, and the mean loss so far.
        before_step: called with the network and a batch before each step.
    """
    if run.steps == 0:
        raise InputError(f"--pass-images {run.pass_images}: does not fill one batch of {BATCH}; give more")
    schedule = Schedule(run.config, run.epochs) if run.config is not None and run.epochs else None
    while state.epoch < run.epochs:
        wall, processor = time.monotonic(), time.process_time()
        due = None if schedule is None else schedule.at(state.epoch)
        order = torch.randperm(len(pictures.images), generator=state.generator)[: run.steps * BATCH]
        if due is not None:
            # compress_ has just given the rows their formats.
            begun = replace(due, reassign=due.reassign and state.epoch > 0)
            first = order[:BATCH]
            begin_epoch(
                state.network,
                begun,
                [(_inputs(pictures, first, state), _labels(pictures, first, state))],
                cross_entropy,
            )
        loss = _pass(pictures, run, state, order, due, on_step, before_step)
        state.epoch += 1
        state.seconds += time.monotonic() - wall
        state.processor_seconds += time.process_time() - processor
        state.history.append({"epoch": state.epoch, "loss": loss})
        after_epoch(state)


def _pass(
    pictures: Pictures,
    run: Run,
    state: State,
    order: Tensor,
    due: Due | None,
    on_step: Callable[[int, float], None],
    before_step: Callable[[nn.Module, Tensor, Tensor], None],
) -> float:
    """One pass over the pictures in ``order``; the mean loss."""
    state.network.train()
    total = 0.0
    for step, picked in enumerate(order.split(BATCH)):
        if due is not None and isinstance(run.config, BinaryConfig) and step % DENSITY_EVERY == 0:
            share = (step + DENSITY_EVERY) / run.steps
            set_density(state.network, due.density + (due.density_after - due.density) * min(share, 1.0))
        now = rate(run.recipe, run.from_scratch, (state.epoch * run.steps + step + 0.5) / (run.epochs * run.steps))
        for group in state.optimizer.param_groups:
            group["lr"] = now * group["share"]
        inputs, labels = _inputs(pictures, picked, state), _labels(pictures, picked, state)
        before_step(state.network, inputs, labels)
        loss = cross_entropy(state.network(inputs), labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if run.recipe.largest_gradient:
            nn.utils.clip_grad_norm_(state.network.parameters(), run.recipe.largest_gradient)
        state.optimizer.step()
        total += float(loss.detach())
        on_step(step + 1, total / (step + 1))
    return total / run.steps


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The loss of all runs: no label smoothing, no teacher."""
    return functional.cross_entropy(outputs, labels)


def _device(state: State) -> torch.device:
    return next(state.network.parameters()).device


def _inputs(pictures: Pictures, picked: Tensor, state: State) -> Tensor:
    return as_input(varied(pictures.images[picked], state.generator).to(_device(state)))


def _labels(pictures: Pictures, picked: Tensor, state: State) -> Tensor:
    return pictures.labels[picked].to(_device(state))


def as_input(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 to what the networks take, in the layout in which convolutions are fastest."""
    return normalized(images).contiguous(memory_format=torch.channels_last)


def count_correct(network: nn.Module, pictures: Pictures) -> int:
    """How many pictures the network names rightly, in evaluation mode; its mode stays as it was."""
    training, device = network.training, next(network.parameters()).device
    network.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in zip(
            pictures.images.split(JUDGED_AT_ONCE), pictures.labels.split(JUDGED_AT_ONCE), strict=True
        ):
            correct += int((network(as_input(images.to(device))).argmax(1).cpu() == labels).sum())
    network.train(training)
    return correct
