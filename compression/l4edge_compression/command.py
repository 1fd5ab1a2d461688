"""``l4edge compress``: a network smaller, with what it costs in accuracy."""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    from l4edge_compression.levels import LevelReport
    from l4edge_compression.quantization.config import QuantizationConfig
    from l4edge_compression.tasks import Task

METHODS = ("rmsmp", "ilmpq", "esb", "binary", "fixed", "pot", "apot")

EXAMPLES = """
\b
Examples:
  l4edge compress --method rmsmp --model models/detector --data DRIVES --out models/mine
  l4edge compress --method esb --set bits=5 --set significant=2 --model resnet18 \\
                  --weights resnet18.pth --data PICTURES --out out/resnet18
  l4edge compress --method fixed --set weight_bits=8 --set activation_bits=8 \\
                  --model mine:make --data PICTURES --out out/mine

PICTURES holds train/CLASS/*.jpg and test/CLASS/*.jpg. DRIVES, for the project's detector, is what
`l4edge simulate dataset` writes.
"""


@click.command(epilog=EXAMPLES)
@click.option("--method", type=click.Choice(METHODS), help="How numbers are stored; or give --config.")
@click.option("--model", required=True, help="Folder of a package, MODULE:FUNCTION, or resnet18, deit_tiny ...")
@click.option("--weights", type=click.Path(path_type=Path), help="Checkpoint of a named network (.pt, .safetensors).")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with train and test pictures.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the package to write.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings of the method, JSON.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="One setting; may be repeated.")
@click.option("--level", help="Name of the new level. Default: the method's.")
@click.option("--storage", type=click.Choice(["packed4", "int8"]), default="packed4", show_default=True)
@click.option("--size", type=click.IntRange(8, 4096), default=224, show_default=True, help="Of a classifier's input.")
@click.option("--calibration-pictures", type=click.IntRange(1), default=32, show_default=True)
@click.option("--test-pictures", type=click.IntRange(0), default=0, show_default=True, help="0: all.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    method: str | None,
    model: str,
    weights: Path | None,
    data: Path,
    out: Path,
    config_file: Path | None,
    settings: tuple[str, ...],
    level: str | None,
    storage: str,
    size: int,
    calibration_pictures: int,
    test_pictures: int,
    threads: int,
    as_json: bool,
) -> None:
    """Quantize a network without training it, and tell what that costs.

    The package that is written holds the float network and the new level. Nothing is written where onnxruntime and the
    integer interpreter differ. All figures are measured in this run, on this machine.
    """
    config = read_settings(method, config_file, settings)
    _require_torch()

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from l4edge_compression.api import compress_, config_to_json
    from l4edge_compression.levels import add_level

    torch.set_num_threads(threads)
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("reading", total=6)

        def step(text: str) -> None:
            progress.update(bar, advance=1, description=text)

        subject = make_task(model, weights, data, size, test_pictures)
        step(f"calibrating on {calibration_pictures} pictures")
        compressed = compress_(copy.deepcopy(subject.network), config, list(subject.batches(calibration_pictures)))
        made = {"made_by": "l4edge compress", "calibration_pictures": calibration_pictures}
        package, report = add_level(
            subject, compressed.eval(), level or config.method, out, storage, made, step  # type: ignore[arg-type]
        )
        progress.update(bar, completed=6, description="done")
    if as_json:
        click.echo(json.dumps({"package": str(out), "settings": config_to_json(config), **report.to_json()}, indent=1))
    else:
        _print(report, package.levels[0].name, level or config.method, out)


def read_settings(method: str | None, file: Path | None, settings: tuple[str, ...]) -> "QuantizationConfig":
    """The method's settings from its name or file, with single fields changed.

    Raises:
        InputError: neither or a contradiction, an unknown field, a value that is none.
    """
    _require_torch()
    from l4edge_compression.api import config_from_json, config_to_json, quantizing, read_config

    if file is None and method is None:
        raise InputError("--method: missing; give one of {}, or settings with --config".format(", ".join(METHODS)))
    fields: dict[str, Any] = config_to_json(read_config(file)) if file is not None else {"method": method}
    if method is not None and fields["method"] != method:
        raise InputError(f"--method {method}: {file} holds settings of {fields['method']}; leave one of them out")
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: write FIELD=VALUE, for example --set activation_bits=8")
        fields[name] = _value(text)
    origin = str(file) if file is not None and not settings else "--set"
    return quantizing(config_from_json(fields, origin), origin)


def _value(text: str) -> Any:
    """A JSON value, or the text itself: ``row`` as well as ``[65, 30, 5]``, ``8`` and ``null``."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def make_task(model: str, weights: Path | None, data: Path, size: int, test_pictures: int) -> "Task":
    """The network and its purpose, by what ``--model`` names."""
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; give the pictures with --data")
    if (Path(model) / "manifest.json").is_file():
        return _task_of_package(Path(model), data, test_pictures)
    from l4edge_compression.networks import make_network
    from l4edge_compression.tasks.classification import ClassificationTask, labelled_pictures

    classes, _ = labelled_pictures(data / "train")
    network = make_network(model, len(classes), weights)
    return ClassificationTask(network, Path(model.replace(":", "_")).name, data, (size, size), test_pictures)


def _task_of_package(folder: Path, data: Path, test_pictures: int) -> "Task":
    from l4edge_compression.tasks.detection import DetectionTask
    from l4edge_perception.packages import load_package

    task = load_package(folder).task
    if task != "detection_2d":
        raise InputError(f"{folder}: its task is {task}; give the network as MODULE:FUNCTION instead")
    return DetectionTask(folder, data, test_pictures)


def _require_torch() -> None:
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; pip install 'l4edge[training]'") from error


def _print(report: "LevelReport", before: str, after: str, out: Path) -> None:
    """A table of both levels. A ratio is printed only of what was measured."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"on {report.judged_on}", title_justify="left")
    table.add_column("")
    for head in (before, after, "change"):
        table.add_column(head, justify="right")
    for name in report.before:
        change = report.after[name] - report.before[name]
        table.add_row(name, f"{report.before[name]:.4f}", f"{report.after[name]:.4f}", f"{100 * change:+.2f} points")
    sizes = (report.bytes_before, report.bytes_after)
    table.add_row("file", *(f"{count / 1e6:.2f} MB" for count in sizes), f"x {sizes[1] / sizes[0]:.3f}")
    times = (report.time_before_ms, report.time_after_ms)
    for index, word in enumerate(("fastest run", "median run")):
        values = [pair[index] for pair in times]
        table.add_row(f"{word}, 1 thread", *(f"{value:.2f} ms" for value in values), f"x {values[1] / values[0]:.3f}")
    console = Console()
    console.print(table)
    console.print(f"{report.compared} integer results compared with onnxruntime: {report.mismatches} differ")
    if report.float_layers:
        kinds = ", ".join(f"{count} {kind}" for kind, count in report.float_layers.items())
        console.print(f"run in float: {kinds}")
    console.print(str(out))
