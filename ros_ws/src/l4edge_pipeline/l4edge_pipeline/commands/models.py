"""``l4edge models``: import, inspect and check model packages."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

import click

if TYPE_CHECKING:
    from l4edge_perception.packages import ModelPackage


@click.group("models")
def command() -> None:
    """Import, inspect and check model packages."""


@command.command("import")
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the package.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "fastestdet", "yolov5", "yolov8", "yolox", "end_to_end"]),
    default="auto",
    show_default=True,
    help="What the network's output means; auto tells it from the shapes.",
)
@click.option("--classes", default="coco", show_default=True, help="coco, or a text file with one name a line.")
@click.option("--input-color", type=click.Choice(["rgb", "bgr"]), help="Order of the colours, if unusual.")
@click.option("--input-resize", type=click.Choice(["stretch", "letterbox"]), help="How pictures fit, if unusual.")
@click.option("--input-scale", type=float, help="Factor from 0..255 to the network's range, if unusual.")
def import_(
    onnx: Path,
    name: str,
    out: Path,
    layout: str,
    classes: str,
    input_color: Optional[str],
    input_resize: Optional[str],
    input_scale: Optional[float],
) -> None:
    """Wrap the detector in the file ONNX as a model package."""
    from l4edge_perception.camera.foreign import import_detector, read_classes

    package = import_detector(
        onnx,
        out,
        name,
        classes=read_classes(classes),
        layout=layout,
        colour_order=input_color.upper() if input_color else None,
        resize=input_resize,
        scale=input_scale,
    )
    used = sum(index >= 0 for index in package.class_map)
    click.echo(
        f"{package.path}: {package.output.decoder}, {used} of {len(package.classes)} classes used; "
        f"look with: l4edge models inspect {package.path}"
    )


@command.command("inspect")
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print machine-readable results.")
def inspect(package: Path, as_json: bool) -> None:
    """Show what PACKAGE holds: input, output, levels, accuracy."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from l4edge_perception.packages import load_package

    loaded = load_package(package)
    if as_json:
        click.echo(json.dumps(dict(asdict(loaded), path=str(loaded.path)), indent=1))
        return
    spec = loaded.input
    console = Console()
    console.print(f"[bold]{loaded.name}[/] ({loaded.task}), classes: {', '.join(_used_classes(loaded))}")
    console.print(
        f"input: {spec.name} {spec.dtype} {list(spec.shape)} {spec.layout} {spec.colour_order}, {spec.resize}"
    )
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in zip(loaded.output.names, loaded.output.shapes))
    console.print(f"output: {shapes}, read as {loaded.output.decoder}")
    table = Table("level", "graph")
    for title in ("million MACs", "kilobytes"):
        table.add_column(title, justify="right")
    table.add_column("accuracy")
    for level in loaded.levels:
        accuracy = "not measured"
        if level.accuracy is not None:
            figures = ", ".join(f"{name} {value:.3f}" for name, value in level.accuracy.metrics.items())
            accuracy = f"{figures} ({level.accuracy.dataset}; {level.accuracy.device})"
        table.add_row(level.name, level.graph, f"{level.macs / 1e6:.1f}", f"{level.bytes / 1e3:.0f}", accuracy)
    console.print(table)


@command.command("check")
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print machine-readable results.")
def check(package: Path, as_json: bool) -> None:
    """Read PACKAGE with all its hashes and shapes, and run every level once."""
    import numpy as np

    from l4edge_perception.errors import InputError
    from l4edge_perception.inference import Session
    from l4edge_perception.packages import load_package

    loaded = load_package(package)
    session = Session(loaded)
    # Grey, not black: a picture in which every layer has something to do.
    tensor = np.full(loaded.input.shape, 128 * loaded.input.scale, np.dtype(loaded.input.dtype))
    results = []
    for level in loaded.levels:
        session.switch(level.name)
        outputs = session.run(tensor)
        if not all(np.isfinite(output).all() for output in outputs):
            raise InputError(f"{loaded.path / level.graph}: level {level.name!r} gives values that are not finite")
        results.append({"level": level.name, "sha256": level.sha256, "shapes": [list(o.shape) for o in outputs]})
    if as_json:
        click.echo(json.dumps({"package": str(loaded.path), "levels": results}))
        return
    for result in results:
        click.echo(f"{loaded.path}: level {result['level']} runs, output {result['shapes']}")


def _used_classes(package: "ModelPackage") -> List[str]:
    return [name for name, index in zip(package.classes, package.class_map) if index >= 0]
