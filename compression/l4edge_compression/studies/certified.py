"""Train the network of the certification study on CIFAR-10: float, then with a sparse stem and occlusion.

``python -m l4edge_compression.studies.certified --data ARCHIVE --method float --out RUN`` trains from random weights;
``--method scalecert --start RUN/checkpoint.pt --out RUN2 --package models/NAME`` goes on with a sparse stem and random
windows, and writes the certified package. Run folders end up with ``checkpoint.pt`` (to resume and to start from) and
``result.json``.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from torch import nn

from l4edge_compression.api import ScaleCertConfig, compress_, config_to_json, read_config
from l4edge_compression.defense.training.sparsifying import choose_hardest_, sparse_stem
from l4edge_compression.studies.certified_network import NarrowResNet18
from l4edge_compression.studies.pictures import Pictures, read_pictures
from l4edge_compression.studies.recipes import Recipe
from l4edge_compression.studies.records import keeper, record_of
from l4edge_compression.studies.training import (
    Run,
    State,
    begin_from,
    calibration_batches,
    do_nothing,
    load_state,
    new_state,
    train,
)
from l4edge_perception.errors import InputError, exit_on_input_error
from l4edge_perception.files import write_text
from l4edge_perception.training.processor import without_matrix_tiles

RECIPE = Recipe("sgd", scratch_rate=0.2, tuning_rate=0.1, weight_decay=5e-4, scale_rate=1.0, largest_gradient=0.0)

CALIBRATION_BATCHES = 8
METHODS = ("float", "scalecert")


def float_network(seed: int, class_count: int, start: Path | None = None) -> NarrowResNet18:
    """The network with random weights, or a checkpoint's, in the layout in which convolutions are fastest.

    Of a run of scalecert the network is taken without its sparse stem, which is calibrated anew.
    """
    torch.manual_seed(seed)
    return begin_from(NarrowResNet18(class_count), start, leaving_out=("relu.",))


def prepared(start: Path | None, config: ScaleCertConfig | None, seed: int, pictures: Pictures) -> nn.Module:
    """The network that a run begins with: random and float, or a checkpoint's with a sparse stem."""
    network = float_network(seed, len(pictures.classes), start)
    if config is None:
        return network
    batches = calibration_batches(pictures, CALIBRATION_BATCHES, seed, torch.device("cpu"))
    return compress_(network, config, [inputs for inputs, _ in batches])


def result_of(
    run: Run, state: State, config: ScaleCertConfig | None, pictures: dict[str, Pictures], start: Path | None,
    notes: list[str],
) -> dict[str, Any]:
    """What the run writes down: all that is needed to repeat it, and how good the network is now, without masks."""
    about = {
        "network": "narrow-resnet18",
        "parameters": sum(parameter.numel() for parameter in state.network.parameters()),
        "method": "float" if config is None else config.method,
        "config": None if config is None else config_to_json(config),
        "threshold": None if config is None else float(sparse_stem(state.network).threshold),
    }
    return record_of("python -m l4edge_compression.studies.certified", about, run, state, pictures, start, notes)


def settings_of(method: str, file: Path | None, seed: int) -> ScaleCertConfig | None:
    """Settings by the command's options. Raises InputError if a file holds those of another method."""
    if method == "float":
        return None
    if file is None:
        return ScaleCertConfig(seed=seed)
    config = read_config(file)
    if not isinstance(config, ScaleCertConfig):
        raise InputError(f"{file}: field method: is {config.method!r}; must be scalecert here")
    return config


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Archive or folder: train/CLASS, test/CLASS."
)
@click.option("--method", type=click.Choice(METHODS), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of this run.")
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint of an earlier run; scalecert needs one.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings of scalecert, JSON.")
@click.option("--package", type=click.Path(path_type=Path), help="Folder for the certified package.")
@click.option("--epochs", type=click.IntRange(0), default=3, show_default=True, help="Passes.")
@click.option("--pass-images", type=click.IntRange(0), default=0, help="Pictures drawn for each pass; 0 for all.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Highest learning rate, if not the recipe's.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of torch.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps the decoded pictures.")
@click.option("--note", multiple=True, help="What readers of the result must know.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder, if there is one.")
def command(
    data: Path,
    method: str,
    out: Path,
    start: Path | None,
    config_file: Path | None,
    package: Path | None,
    epochs: int,
    pass_images: int,
    rate: float | None,
    seed: int,
    threads: int,
    cache: Path | None,
    note: tuple[str, ...],
    resume: bool,
) -> None:
    """Train one step of the study."""
    without_matrix_tiles()
    if (start is None) != (method == "float"):
        raise InputError("--start: method float begins from nothing and takes none; scalecert needs a checkpoint")
    if package is not None and method == "float":
        raise InputError("--package: a float network has no certificate; train scalecert from it")
    config = settings_of(method, config_file, seed)
    torch.set_num_threads(threads)
    pictures = read_pictures(data, cache)
    training = pictures["train"]
    pass_images = min(pass_images or len(training.images), len(training.images))
    recipe = RECIPE if rate is None else replace(RECIPE, scratch_rate=rate, tuning_rate=rate)
    run = Run(recipe, start is None, None, epochs, pass_images, seed)
    state = new_state(prepared(start, config, seed, training), run)
    if resume and (out / "checkpoint.pt").exists():
        load_state(out / "checkpoint.pt", state)
    console = Console(stderr=True)

    before_step = do_nothing if config is None else choose_hardest_
    train(training, run, state, keeper(out / "checkpoint.pt", console), before_step=before_step)
    result = result_of(run, state, config, pictures, start, list(note))
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")
    console.print(f"{method}: top-1 {100 * result['top1']:.2f} %; wrote {out / 'result.json'}", highlight=False)
    if package is not None:
        from l4edge_compression.studies.certified_package import write_study_package

        write_study_package(package, state.network, pictures, result)
        console.print(f"wrote {package}", highlight=False)


if __name__ == "__main__":
    with exit_on_input_error("l4edge"):
        command()
