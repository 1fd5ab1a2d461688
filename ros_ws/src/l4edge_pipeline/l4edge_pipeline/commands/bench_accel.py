"""``l4edge bench accel``: the cost models against published designs, and their speed beside SCALE-Sim's."""

import time
from typing import Any, Dict, List, Optional

import click

from l4edge_pipeline.commands import scalesim_runner
from l4edge_pipeline.commands.bench_options import finish, json_option, part_option

TOLERANCE = 0.15
SCENARIO = ((24.0, 8), (30.0, 6))
"""Frames a second on the ZCU102 and the activation bits that VAQF's abstract states for them with DeiT-base."""

IMPOSSIBLE = 10_000.0
PRODUCT = scalesim_runner.Product(768, 768, 197)
"""What SCALE-Sim is timed with: DeiT-base's projection."""

ARRAY = 32
SMALL_PRODUCTS = tuple(scalesim_runner.Product(*sizes) for sizes in ((64, 32, 50), (41, 100, 37), (16, 16, 5)))
"""On an array of ``SMALL_ARRAY``: whole folds, folds that are not full, one fold. For its cycles alone."""

SMALL_ARRAY = 16
SEARCH_S = 2.0
LEAST_RATIO = 300.0
CYCLE_TOLERANCE = 0.01
"""The tile engine fills and drains once where the systolic array does so in every fold."""

PARTS = ("designs", "scenario", "speed", "scalesim")


@click.command()
@json_option
@part_option(PARTS)
@click.option("--scalesim-python", help="Python that has scalesim; .venv-scalesim's by default.")
def command(as_json: bool, parts: Any, scalesim_python: Optional[str]) -> None:
    """Predict published designs, compile VAQF's scenario, and time the models beside SCALE-Sim.

    SCALE-Sim 3.0.0 is run if it is there; it takes about half a minute for one product. Times are of one core's
    processor. Ends with exit code 1 if a bound is missed.
    """
    results = measure(parts, scalesim_python)
    finish(results, as_json, _print)


def measure(parts: Any, scalesim_python: Optional[str] = None) -> Dict[str, Any]:
    """Run the parts of the benchmark and return what the command prints as JSON."""
    results: Dict[str, Any] = {}
    if "designs" in parts:
        results.update(_designs())
    if "scenario" in parts:
        results["scenario"] = _scenario()
    if "speed" in parts:
        results.update(_speed())
    if "scalesim" in parts:
        results.update(_beside_scalesim(scalesim_python or scalesim_runner.default_python()))
    results["passed"] = _passed(results)
    return results


def _designs() -> Dict[str, Any]:
    from l4edge_accel import published

    designs: List[Dict[str, Any]] = []
    for design in published.DESIGNS:
        found = published.predict(design)
        engine = found.accelerator.engines[0]
        designs.append({
            "name": design.name, "published_fps": design.frames_per_second,
            "predicted_fps": found.cost.frames_per_second, "error": found.error, "fitted": design.fitted,
            "tile": [engine.rows, engine.inputs], "macs_per_cycle": engine.macs_per_cycle,
            "time_by_bound": dict(found.cost.share_by_bound()), "source": design.source,
        })  # fmt: skip
    fitted = [design for design in published.DESIGNS if design.fitted]
    left_out = []
    for design in fitted:
        overhead = published.fitted_overhead([other for other in fitted if other is not design])
        error = published.predict(design, published.constants_with(overhead)).error
        left_out.append({"name": design.name, "overhead": overhead, "error": error})
    assumptions = published.Constants().assumptions
    return {
        "designs": designs, "designs_left_out": left_out,
        "constants": {
            "pass_overhead_cycles": assumptions.pass_overhead, "ddr_share": assumptions.ddr_share,
            "step_lanes": assumptions.step_lanes, "step_depth": assumptions.step_depth,
            "bram18_share": published.Constants().bram18_share, "fitted": ["pass_overhead_cycles"],
            "fitted_to": len(fitted),
        },
    }  # fmt: skip


def _scenario() -> List[Dict[str, Any]]:
    from l4edge_accel.vaqf import compile_accelerator
    from l4edge_accel.workload import named_workloads

    results = []
    for rate, bits in (*SCENARIO, (IMPOSSIBLE, 0)):
        started = time.process_time()
        answer = compile_accelerator(named_workloads()["deit_base"], rate, "zcu102")
        seconds = time.process_time() - started
        design = answer.chosen or answer.fastest
        results.append({
            "fps": rate, "paper_bits": bits, "met": answer.chosen is not None, "bits": design.activation_bits,
            "predicted_fps": design.cost.frames_per_second, "simulated_fps": design.simulated_fps,
            "search_s": seconds, "clock_hz": design.accelerator.clock_hz,
            "luts": design.utilization["luts"], "dsps": design.utilization["dsps"], "binding": design.binding,
            "shortfall": answer.shortfall,
        })  # fmt: skip
    return results


def _speed() -> Dict[str, Any]:
    from l4edge_accel.network_cost import network_cost
    from l4edge_accel.search import reformatted
    from l4edge_accel.simulator import simulate
    from l4edge_accel.vaqf import BINARY_WEIGHTS, compile_accelerator
    from l4edge_accel.workload import named_workloads

    base = named_workloads()["deit_base"]
    design = compile_accelerator(base, SCENARIO[0][0], "zcu102", widths=(8,)).fastest
    workload = reformatted(base, BINARY_WEIGHTS, 8)
    started = time.process_time()
    cost = network_cost(workload, design.accelerator)
    analytic = time.process_time() - started
    started = time.process_time()
    simulation = simulate(workload, design.accelerator, side_by_side=False)
    events = time.process_time() - started
    return {
        "analytic_s": analytic, "event_s": events, "analytic_cycles": cost.cycles,
        "event_cycles": simulation.cycles, "analytic_error": cost.cycles / simulation.cycles - 1.0,
    }  # fmt: skip


def _beside_scalesim(python: str) -> Dict[str, Any]:
    from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup
    from l4edge_accel.network_cost import Assumptions, network_cost
    from l4edge_accel.simulator import simulate
    from l4edge_accel.workload import Gemm, Workload

    engine = EngineConfig("array", (RowGroup("fixed8", ARRAY),), ARRAY, 1, ports_in=4, ports_weight=4, ports_out=8)
    accelerator = AcceleratorConfig("array", "zcu102", 150e6, (engine,))
    workload = Workload("projection", (Gemm("projection", *PRODUCT, 1, {"fixed8": 1.0}),))
    started = time.process_time()
    ours = simulate(workload, accelerator)
    events = time.process_time() - started
    started = time.process_time()
    analytic = network_cost(workload, accelerator).cycles
    seconds = time.process_time() - started
    # The same model of an array that, like SCALE-Sim's, hides neither loading nor filling nor draining.
    apart = Assumptions(pass_overhead=scalesim_runner.not_overlapped(ARRAY))
    closed = scalesim_runner.closed_form_cycles(PRODUCT, ARRAY)
    result: Dict[str, Any] = {
        "product": {
            "shape": PRODUCT._asdict(), "array": ARRAY, "event_cycles": ours.cycles, "event_s": events,
            "analytic_cycles": analytic, "analytic_s": seconds,
        },
        "systolic_closed_form_cycles": closed,
        "not_overlapped_error": network_cost(workload, accelerator, apart).cycles / closed - 1.0,
        "scalesim": scalesim_runner.run([PRODUCT], ARRAY, python), "scalesim_ratio": None,
    }  # fmt: skip
    if "skipped" in result["scalesim"]:
        return result
    result["scalesim_ratio"] = result["scalesim"]["seconds"] / events
    result["scalesim_ratio_analytic"] = result["scalesim"]["seconds"] / seconds
    small = scalesim_runner.run(SMALL_PRODUCTS, SMALL_ARRAY, python)
    pairs = [(PRODUCT, ARRAY), *((product, SMALL_ARRAY) for product in SMALL_PRODUCTS)]
    measured = [layer["cycles"] for layer in [*result["scalesim"]["layers"], *small["layers"]]]
    result["scalesim_closed_form_differences"] = [
        cycles - scalesim_runner.closed_form_cycles(*pair) for cycles, pair in zip(measured, pairs)
    ]
    return result


def _passed(results: Dict[str, Any]) -> bool:
    good = all(abs(design["error"]) <= TOLERANCE for design in results.get("designs", ()))
    for entry in results.get("scenario", ()):
        if entry["paper_bits"]:
            good &= entry["met"] and entry["bits"] >= entry["paper_bits"] and entry["luts"] <= 0.7
            good &= entry["search_s"] <= SEARCH_S
        else:
            good &= not entry["met"]
    good &= abs(results.get("not_overlapped_error", 0.0)) <= CYCLE_TOLERANCE
    good &= not any(results.get("scalesim_closed_form_differences", ()))
    ratio = results.get("scalesim_ratio")
    return bool(good and (ratio is None or ratio >= LEAST_RATIO))


def _print(results: Dict[str, Any]) -> None:
    for design in results.get("designs", ()):
        kind = "fitted" if design["fitted"] else "not fitted"
        line = "{name:50} {published_fps:7.1f} measured {predicted_fps:7.1f} modelled {error:+6.1%}  {0}"
        click.echo(line.format(kind, **design))
    for entry in results.get("designs_left_out", ()):
        click.echo("left out of the fit: {name}: {error:+.1%} with {overhead} cycles a pass".format(**entry))
    for entry in results.get("scenario", ()):
        verdict = "{bits} bits" if entry["met"] else "refused, {shortfall:.1%} short at {bits} bits"
        rates = "{predicted_fps:.2f} FPS predicted" + (", {simulated_fps:.2f} simulated" if entry["met"] else "")
        line = "DeiT-base at {fps:g} FPS: " + verdict + ", " + rates + ", {0:g} MHz, LUTs {luts:.1%}, "
        click.echo((line + "bound by {binding}, {search_s:.2f} s").format(entry["clock_hz"] / 1e6, **entry))
    if "analytic_s" in results:
        line = "DeiT-base: analytic {analytic_s:.4f} s, events {event_s:.2f} s, cycles differ {analytic_error:+.2%}"
        click.echo(line.format(**results))
    if "scalesim" in results:
        _print_scalesim(results)
    click.echo("passed" if results["passed"] else "FAILED")


def _print_scalesim(results: Dict[str, Any]) -> None:
    own, peer = results["product"], results["scalesim"]
    shape = "{tokens} x {inputs} x {outputs}".format(**own["shape"])
    line = "{0} on {array} x {array}: events {event_s:.4f} s for {event_cycles:,} cycles, "
    click.echo((line + "analytic {analytic_s:.5f} s for {analytic_cycles:,}").format(shape, **own))
    line = "  without overlap {not_overlapped_error:+.2%} from the closed form {systolic_closed_form_cycles:,}"
    click.echo(line.format(**results))
    if "skipped" in peer:
        click.echo("SCALE-Sim: " + peer["skipped"])
        return
    line = "SCALE-Sim {version} (numpy {numpy}): {seconds:.1f} s for {0:,} cycles; "
    line += "{scalesim_ratio:,.0f} times the event simulation, {scalesim_ratio_analytic:,.0f} times the analytic model"
    click.echo(line.format(peer["layers"][0]["cycles"], **{**results, **peer}))
    differences = results["scalesim_closed_form_differences"]
    click.echo(f"  its cycles less those of the closed form, product by product: {', '.join(map(str, differences))}")
