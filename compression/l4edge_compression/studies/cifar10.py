"""Train or quantize a network on CIFAR-10, and say how many test pictures it names rightly.

``python -m l4edge_compression.studies.cifar10 --data ARCHIVE --network resnet20 --method rmsmp --start CHECKPOINT --out
RUN``. Method ``fp32`` trains from random weights; every other method trains on from its checkpoint with the same
recipe, so methods are compared at the same budget. The run folder ends up with ``checkpoint.pt`` (to resume and to
start other runs from) and ``result.json``.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from torch import nn

from l4edge_compression.api import compress_, config_to_json, describe
from l4edge_compression.studies.pictures import Pictures, read_pictures
from l4edge_compression.studies.recipes import METHODS, RECIPES, SCRATCH, is_trained, make_network, method_config
from l4edge_compression.studies.records import keeper, record_of
from l4edge_compression.studies.training import (
    Run,
    State,
    begin_from,
    calibration_batches,
    cross_entropy,
    load_state,
    new_state,
    train,
)
from l4edge_perception.errors import InputError, exit_on_input_error
from l4edge_perception.files import write_text
from l4edge_perception.training.display import progress_bar
from l4edge_perception.training.processor import device_named, without_matrix_tiles

CALIBRATION_BATCHES = 4


def prepared_network(name: str, start: Path | None, run: Run, pictures: Pictures, device: torch.device) -> nn.Module:
    """The network that a run begins with: random or from a checkpoint, quantized where the run says so."""
    torch.manual_seed(run.seed)
    network = begin_from(make_network(name, len(pictures.classes)), start).to(device)
    if run.config is None:
        return network
    if run.config.observe_in_training:
        return compress_(network, run.config)
    batches = calibration_batches(pictures, CALIBRATION_BATCHES, run.seed, device)
    return compress_(network, run.config, batches, cross_entropy)


def bits_per_weight(network: nn.Module) -> float:
    """Mean over all quantized weights, 32 for a float network."""
    if not hasattr(network, "compression"):
        return 32.0
    layers = describe(network)
    sizes = [network.get_parameter(f"{layer.name}.weight").numel() for layer in layers]
    return sum(layer.bits_per_weight * size for layer, size in zip(layers, sizes, strict=True)) / sum(sizes)


def result_of(
    network: str,
    method: str,
    run: Run,
    state: State,
    pictures: dict[str, Pictures],
    start: Path | None,
    notes: list[str],
) -> dict[str, Any]:
    """What the run writes down: all that is needed to repeat it, and how good the network is now."""
    about = {
        "network": network,
        "method": method,
        "config": None if run.config is None else config_to_json(run.config),
        "bits_per_weight": round(bits_per_weight(state.network), 3),
    }
    return record_of("python -m l4edge_compression.studies.cifar10", about, run, state, pictures, start, notes)


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Archive or folder: train/CLASS, test/CLASS."
)
@click.option("--network", type=click.Choice(list(RECIPES)), required=True)
@click.option("--method", type=click.Choice(METHODS), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint of method fp32; all others need it.")
@click.option("--epochs", type=click.IntRange(1), default=4, show_default=True, help="Passes.")
@click.option("--pass-images", type=click.IntRange(0), default=0, help="Pictures drawn for each pass; 0 for all.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of torch.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps the decoded pictures.")
@click.option("--note", multiple=True, help="What readers of the result must know.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder.")
def command(
    data: Path,
    network: str,
    method: str,
    out: Path,
    start: Path | None,
    epochs: int,
    pass_images: int,
    seed: int,
    device: str,
    threads: int,
    cache: Path | None,
    note: tuple[str, ...],
    resume: bool,
) -> None:
    """Train or quantize one network by one method."""
    without_matrix_tiles()
    place = device_named(device)
    if (start is None) != (method == SCRATCH):
        raise InputError(
            f"--start: method {SCRATCH} begins from nothing and takes none; all others need its checkpoint"
        )
    config = method_config(network, method, seed)
    torch.set_num_threads(threads)
    pictures = read_pictures(data, cache)
    training = pictures["train"]
    pass_images = min(pass_images or len(training.images), len(training.images))
    run = Run(RECIPES[network], start is None, config, epochs if is_trained(method) else 0, pass_images, seed)
    state = new_state(prepared_network(network, start, run, training, place), run)
    if resume:
        load_state(out / "checkpoint.pt", state)
    console = Console(stderr=True)
    with progress_bar(console) as progress:
        task = progress.add_task(method, total=run.steps)

        def on_step(step: int, loss: float) -> None:
            text = f"{network} {method}, pass {state.epoch + 1} of {run.epochs}, loss {loss:.3f}"
            progress.update(task, completed=step, description=text)

        train(training, run, state, keeper(out / "checkpoint.pt", console), on_step)
    result = result_of(network, method, run, state, pictures, start, list(note))
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")
    console.print(
        f"{network} {method}: top-1 {100 * result['top1']:.2f} %; wrote {out / 'result.json'}", highlight=False
    )


if __name__ == "__main__":
    with exit_on_input_error("l4edge"):
        command()
