"""``l4edge accel compile``: from a network and a frame rate to an accelerator."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import click

from l4edge_perception.errors import InputError

OWN_WEIGHTS = "package"


@click.command()
@click.option("--model", required=True, help="deit_{tiny,small,base}, resnet{18,50}, an ONNX file or a package.")
@click.option("--level", help="Of a package; its first by default.")
@click.option("--fps", required=True, type=float, help="Frames a second to reach.")
@click.option("--device", default="zcu102", show_default=True, help="zcu102, xc7z045 or xc7z020.")
@click.option(
    "--weights", default="binary", show_default=True,
    help="Format, or shares of rows such as pot4:65,fixed4:30,fixed8:5; 'package': as the package declares.",
)
@click.option("--widths", default="1-16", show_default=True, help="Activation widths to look at, such as 4-8 or 6.")
@click.option("--clock", type=float, help="In MHz; the device's by default.")
@click.option("--luts", default=0.7, show_default=True, help="Share of the LUTs that may be used.")
@click.option("--dsps", default=0.8, show_default=True, help="Share of the DSP blocks that may be used.")
@click.option("--overhead", default=0, show_default=True, help="Cycles between tile passes; the RTL needs none.")
@click.option("--line-buffer", is_flag=True, help="Convolutions reuse pixels on chip; modelled, not in the RTL.")
@click.option("--keep", help="Token selectors of a vision transformer: block:share, such as 3:0.7,6:0.5,9:0.35.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the accelerator's configuration to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(
    model: str, level: Optional[str], fps: float, device: str, weights: str, widths: str, clock: Optional[float],
    luts: float, dsps: float, overhead: int, line_buffer: bool, keep: Optional[str], out: Optional[Path], as_json: bool,
) -> None:
    """Find the widest activations with which a network reaches a frame rate, and the accelerator for it.

    Both the cost model and the event simulation must say that it does; frames a second of both are printed.
    Ends with exit code 2 if no design reaches the rate.
    """
    from l4edge_accel.configuration import write_configuration
    from l4edge_accel.limits import Limits
    from l4edge_accel.network_cost import LINE_BUFFER, WINDOWS, Assumptions
    from l4edge_accel.vaqf import compile_accelerator

    rows = None if weights == OWN_WEIGHTS else parse_weights(weights)
    limits = Limits(luts=checked_share("--luts", luts), dsps=checked_share("--dsps", dsps))
    if clock is not None and not clock > 0:
        raise InputError(f"--clock: {clock} MHz is not above 0")
    if overhead < 0:
        raise InputError(f"--overhead: {overhead} cycles is below 0")
    assumptions = Assumptions(convolutions=LINE_BUFFER if line_buffer else WINDOWS, pass_overhead=overhead)
    workload = read_model(model, level, rows is None, keep)
    started = time.process_time()
    answer = compile_accelerator(
        workload, fps, device, rows, clock_hz=None if clock is None else clock * 1e6, limits=limits,
        assumptions=assumptions, widths=parse_widths(widths),
    )
    result = summary(answer, weights, limits, time.process_time() - started)
    if answer.chosen is not None and out is not None:
        write_configuration(out, answer.chosen.accelerator)
        result["configuration"] = str(out)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print(result)
    if answer.chosen is None:
        print(f"l4edge: error: {result['refusal']}", file=sys.stderr)
        raise click.exceptions.Exit(2)


def read_model(name: str, level: Optional[str], quantized: bool, keep: Optional[str]) -> Any:
    """The workload of a named network, an ONNX file or a package, with dropped tokens if ``keep`` says so."""
    from l4edge_accel.workload import named_workloads, with_fewer_tokens

    named = named_workloads()
    if name in named:
        if quantized:
            raise InputError(f"--weights {OWN_WEIGHTS}: {name} is no model package; name formats instead")
        workload = named[name]
    else:
        if not Path(name).exists():
            raise InputError(f"model {name!r}: no such file or package, and none of {', '.join(named)}")
        from l4edge_accel.graph_workload import read_workload

        workload = read_workload(Path(name), level, quantized)
    if keep is None:
        return workload
    tokens = max((gemm.tokens for gemm in workload.gemms if gemm.name.startswith("blocks.")), default=0)
    return with_fewer_tokens(workload, tokens, {int(block): share for block, share in _pairs("--keep", keep).items()})


def parse_weights(text: str) -> Mapping[str, float]:
    """``"pot4:65,fixed4:30,fixed8:5"`` or ``"esb(5,2)"`` to shares that sum to 1. Raises InputError."""
    from l4edge_accel.formats import number_format

    pairs = _pairs("--weights", text)
    for name, share in pairs.items():
        number_format(name)
        if not share > 0:
            raise InputError(f"--weights: {name}: share {share:g} is not above 0")
    total = sum(pairs.values())
    return {name: share / total for name, share in pairs.items()}


def parse_widths(text: str) -> Tuple[int, ...]:
    """``"1-16"`` or ``"6"`` to widths. Raises InputError."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 16:
        raise InputError(f"--widths: {text!r} is not a width or a range within 1-16")
    return tuple(range(first, last + 1))


def _pairs(option: str, text: str) -> Dict[str, float]:
    pairs: Dict[str, float] = {}
    for part in re.split(r",(?![^(]*\))", text):
        name, _, share = part.strip().partition(":")
        try:
            pairs[name] = float(share or 1)
            int(name) if option == "--keep" else None
        except ValueError as error:
            raise InputError(f"{option}: {part!r} cannot be read; write name:share,name:share") from error
    return pairs


def checked_share(option: str, share: float) -> float:
    """``share`` if it is above 0 and at most 1; else InputError."""
    if not 0 < share <= 1:
        raise InputError(f"{option}: {share:g} is not above 0 and at most 1")
    return share


def summary(answer: Any, weights: str, limits: Any, seconds: float) -> Dict[str, Any]:
    """What the command prints as JSON."""
    fastest = answer.fastest
    result: Dict[str, Any] = {
        "model": answer.workload, "device": answer.device, "weights": weights, "fps": answer.frames_per_second,
        "clock_mhz": fastest.accelerator.clock_hz / 1e6, "limits": {"luts": limits.luts, "dsps": limits.dsps},
        "met": answer.chosen is not None, "search_cpu_s": seconds,
        "designs": [_design(design) for design in answer.designs],
        "chosen": None if answer.chosen is None else {**_design(answer.chosen), "engines": _engines(answer.chosen)},
        "shortfall": answer.shortfall,
    }
    if answer.chosen is None:
        result["refusal"] = (
            f"{answer.workload} on {answer.device}: {answer.frames_per_second:g} frames/s cannot be met; the fastest "
            f"design, with {fastest.activation_bits}-bit activations, reaches {fastest.frames_per_second:.1f} "
            f"({answer.shortfall:.1%} short), bound by {fastest.binding}"
        )
    return result


def _design(design: Any) -> Dict[str, Any]:
    return {
        "activation_bits": design.activation_bits, "predicted_fps": design.cost.frames_per_second,
        "simulated_fps": design.simulated_fps, "binding": design.binding,
        "utilization": dict(design.utilization), "multipliers_busy": design.cost.utilization,
        "megabytes_per_frame": design.cost.bytes_moved / 1e6, "time_by_bound": dict(design.cost.share_by_bound()),
    }


def _engines(design: Any) -> Any:
    return [
        {
            "name": engine.name, "rows": {group.format: group.rows for group in engine.groups}, "inputs": engine.inputs,
            "lanes": engine.lanes, "activation_bits": engine.activation_bits,
            "ports": {"in": engine.ports_in, "weight": engine.ports_weight, "out": engine.ports_out},
        }
        for engine in design.accelerator.engines
    ]


def _print(result: Dict[str, Any]) -> None:
    click.echo(
        "{model} on {device}, weights {weights}, {clock_mhz:g} MHz (assumed), at most {0:.0%} of LUTs; "
        "all modelled".format(result["limits"]["luts"], **result)
    )
    click.echo("bits  predicted  simulated   LUTs   DSPs   BRAM   MB/frame  bound by")
    chosen = result["chosen"]
    for design in result["designs"]:
        mark = " <- chosen" if chosen and design["activation_bits"] == chosen["activation_bits"] else ""
        used = design["utilization"]
        simulated = "" if design["simulated_fps"] is None else f"{design['simulated_fps']:.2f}"
        click.echo(
            f"{design['activation_bits']:4} {design['predicted_fps']:10.2f} {simulated:>10} {used['luts']:6.1%} "
            f"{used['dsps']:6.1%} {used['bram18']:6.1%} {design['megabytes_per_frame']:10.1f}  "
            f"{design['binding']}{mark}"
        )
    if chosen:
        for engine in chosen["engines"]:
            rows = " + ".join(f"{count} {name}" for name, count in engine["rows"].items())
            ports = engine["ports"]
            click.echo(
                f"engine {engine['name']}: {rows} rows x {engine['inputs']} inputs x {engine['lanes']} tokens, "
                f"A{engine['activation_bits']}, ports in {ports['in']}, weights {ports['weight']}, out {ports['out']}"
            )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in chosen["time_by_bound"].items())
        margin = chosen["simulated_fps"] / result["fps"] - 1
        click.echo(
            f"margin {margin:.1%} (simulated); time by bound: {shares}; "
            f"searched in {result['search_cpu_s']:.2f} s (CPU)"
        )
        if "configuration" in result:
            click.echo(f"written: {result['configuration']}")
