"""``l4edge accel report``: what an accelerator does with a network, as one HTML page."""

import json
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional

import click

from l4edge_perception.errors import InputError
from l4edge_pipeline.commands.accel_compile import parse_weights, read_model


@click.command()
@click.argument("configuration", required=False, type=click.Path(path_type=Path))
@click.option("--model", default="deit_base", show_default=True,
              help="A named network, an ONNX file or a model package.")
@click.option("--level", help="Level of the package; its first if not given.")
@click.option("--fps", type=float, help="Rate to meet; needed where no configuration is given.")
@click.option("--device", "board", default="zcu102", show_default=True, help="Board to compile for.")
@click.option("--weights", help="Weight formats to compile for, with shares of rows: 'pot4:0.65,fixed4:0.35'. "
              "If not given: binary for a named network, else those that the package declares.")
@click.option("--inferences", default=1, show_default=True, type=click.IntRange(1, 64), help="That arrive at once.")
@click.option("--out", default=Path("out/accelerator.html"), show_default=True, type=click.Path(path_type=Path),
              help="The page.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(
    configuration: Optional[Path], model: str, level: Optional[str], fps: Optional[float], board: str,
    weights: Optional[str], inferences: int, out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Simulate a network on an accelerator and draw roofline, schedule, rates and resources.

    CONFIGURATION is what `l4edge accel compile` wrote; without it, one is compiled for --fps.
    """
    from l4edge_accel.configuration import read_configuration
    from l4edge_accel.report import accelerator_report, fitted, utilization
    from l4edge_accel.vaqf import compile_accelerator
    from l4edge_accel.workload import named_workloads
    from l4edge_perception.files import write_text
    from l4edge_pipeline.report.accelerator import render_accelerator

    workload = read_model(model, level, False, None)
    declared = weights is None and model not in named_workloads()
    given = read_configuration(configuration) if configuration else None
    if given is None and fps is None:
        raise InputError("accel report: give a configuration, or a rate to compile one for: --fps")
    answer = None
    if fps is not None:
        shares = None if declared else parse_weights(weights or "binary") if given is None else _first_formats(given)
        answer = compile_accelerator(workload, fps, given.device if given else board, shares)
    accelerator = given
    if accelerator is None and answer is not None:
        accelerator = (answer.chosen or answer.fastest).accelerator
    if accelerator is None:
        raise InputError("accel report: no accelerator")
    report = accelerator_report(fitted(workload, accelerator, declared), accelerator, answer, inferences=inferences)
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC · Python {platform.python_version()}"
    write_text(out, render_accelerator(report, made))
    simulation = report.simulation
    if as_json:
        figures: Dict[str, Any] = {
            "report": str(out), "workload": simulation.workload, "accelerator": accelerator.name,
            "frames_per_second": simulation.frames_per_second, "cycles": simulation.cycles,
            "latency_s": max(simulation.latencies) / simulation.clock_hz, "bytes_moved": simulation.bytes_moved,
            "memory_busy": simulation.memory_busy, "resources": utilization(report),
            "engines": [asdict(engine) for engine in simulation.engines],
            "layers": [asdict(kind) for kind in report.kinds],
        }  # fmt: skip
        click.echo(json.dumps(figures, indent=2))
    else:
        click.echo(f"{simulation.workload} on {accelerator.name}: {simulation.frames_per_second:.1f} inferences a "
                   f"second, {simulation.cycles:,} cycles, modelled")  # fmt: skip
        click.echo(str(out))


def _first_formats(accelerator: Any) -> Dict[str, float]:
    engine = accelerator.engines[0]
    return {group.format: group.rows / engine.rows for group in engine.groups}
