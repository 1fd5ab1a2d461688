"""Keep the figures of docs/fpga_rtl.md and docs/fpga_compiler.md those of the result files: nobody writes them by hand.

``l4edge bench rtl --json > docs/results/accelerator/rtl.json``, ``l4edge bench accel --json >
docs/results/accelerator/accel.json``, then ``python -m l4edge_accel.rtl.results_page docs/results/accelerator docs``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.pages import replaced_parts

BEGIN = "<!-- {}: written by l4edge_accel.rtl.results_page -->"
END = "<!-- end of {} -->"

Table = list[str]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _apart(error: float) -> str:
    return f"off by {_percent(error)} at most" if error else "equal"


def measured_table(found: Mapping[str, Any]) -> Table:
    """Integers, packages and cycles of ``bench rtl``."""
    total, packages = found["total"], found["packages"]
    levels = ", ".join(f"{entry['package']} {entry['level']}" for entry in packages)
    layers = [layer for entry in packages for layer in entry["layers"]]
    keys = ("onnxruntime_mismatches", "rtl_mismatches", "cycle_differences")
    wrong = sum(any(layer[key] for key in keys) for layer in layers)
    least = min(entry["cycles_checked"] for entry in found["engines"].values())
    findings = {
        "integers": f"{total['integer_mismatches']:,} of {total['integers_compared']:,} outputs differ, in at least "
        f"{least:,} random cycles for each of {len(found['engines'])} engines, {total['cycles_checked']:,} in all",
        "packages": f"{wrong} of {len(layers)} layers differ ({levels}), from onnxruntime's integer operators and "
        "from RTL, cycles included",
        "cycles": f"{_apart(total['cycle_error_max'])} on {total['cycle_points']} random points without stalls, fill "
        f"and drain included; {total['cycle_differences']} layers off where pauses were given",
        "cycles, random latency": f"{_percent(total['latency_error_mean'])} mean, "
        f"{_percent(total['latency_error_max'])} worst of {total['latency_points']} points",
        "closed form": f"{_apart(total['closed_form_error_max'])} on the points without stalls",
    }  # fmt: skip
    return _table(("what", "found"), list(findings.items()))


def resources_table(found: Mapping[str, Any]) -> Table:
    """Tables of arrays, each predicted by constants that have not seen it."""
    rows = [
        (name, str(model["points"]), *(_percent(model[f"lut_error_{kind}"]) for kind in ("mean", "max")))
        for name, model in found["resources"].items()
    ]
    whole = [entry["modelled_luts"] / entry["luts"] - 1 for entry in found["whole_accelerators"]]
    arrays = sum(model["points"] for model in found["resources"].values())
    others = max(max(model["ff_error_max"], model["dsp_differences"]) for model in found["resources"].values())
    off = ", ".join(f"{100 * one:+.0f} %" for one in whole)
    counted = f"Flip-flops and DSPs of the {arrays} arrays are {'not ' if others else ''}as counted."
    fitted = f"Whole accelerators, to which nothing is fitted: tables off by {off}."
    return [*_table(("model", "points", "mean", "worst"), rows), "", counted, fitted]


def scenario_table(found: Mapping[str, Any]) -> Table:
    """VAQF's scenario."""
    rows = []
    for entry in found["scenario"]:
        paper = f"{entry['paper_bits']} bits" if entry["paper_bits"] else ""
        if entry["met"]:
            bits, rates = f"{entry['bits']} bits", f"{entry['predicted_fps']:.2f} | {entry['simulated_fps']:.2f}"
        else:
            bits = f"refused: {100 * entry['shortfall']:.1f} % short at {entry['bits']} bit"
            rates = f"{entry['predicted_fps']:.2f} | "
        seconds = f"{entry['search_s']:.2f} s"
        rows.append((f"{entry['fps']:,g} FPS", paper, bits, _percent(entry["luts"]), *rates.split(" | "), seconds))
    return _table(("asked", "paper's abstract", "this model", "LUTs", "FPS predicted", "simulated", "search"), rows)


def designs_table(found: Mapping[str, Any]) -> Table:
    """Published designs."""
    rows = [
        (
            entry["name"], f"{entry['published_fps']:.1f}", f"{entry['predicted_fps']:.1f}",
            f"{100 * entry['error']:+.1f} %", "yes" if entry["fitted"] else "no",
        )
        for entry in found["designs"]
    ]  # fmt: skip
    left_out = ", ".join(
        f"{100 * entry['error']:+.1f} % (fit: {entry['overhead']} cycles)" for entry in found["designs_left_out"]
    )
    words = ["", f"Left out of the fit in turn, the three are off by {left_out}."]
    return _table(("design, FPS", "measured", "modelled", "error", "in the fit"), rows) + words


def speed_table(found: Mapping[str, Any]) -> Table:
    """Processor seconds, beside SCALE-Sim's."""
    own, peer = found["product"], found["scalesim"]
    if "skipped" in peer:
        raise InputError(f"bench accel ran without SCALE-Sim ({peer['skipped']}); run it again with it")
    events, analytic = (f"{found[name]:,.0f} times" for name in ("scalesim_ratio", "scalesim_ratio_analytic"))
    rows = [
        (f"SCALE-Sim {peer['version']}", f"{peer['layers'][0]['cycles']:,}", f"{peer['seconds']:.1f}", ""),
        ("event simulation", f"{own['event_cycles']:,}", f"{own['event_s']:.3f}", events),
        ("analytic model", f"{own['analytic_cycles']:,}", f"{own['analytic_s']:.5f}", analytic),
    ]
    differences = found["scalesim_closed_form_differences"]
    agreement = (
        f"SCALE-Sim's cycles differ from the closed form by {max(map(abs, differences))} at most, on "
        f"{len(differences)} products; the analytic model without overlap by "
        f"{100 * found['not_overlapped_error']:+.2f} %."
    )
    network = (
        f"DeiT-base, 8-bit design: analytic {found['analytic_s']:.4f} s, events {found['event_s']:.2f} s; their cycles "
        f"differ by {100 * abs(found['analytic_error']):.1f} %."
    )
    return [*_table(("one product", "cycles", "processor seconds", "SCALE-Sim takes"), rows), "", agreement, network]


PAGES: Mapping[str, tuple[str, Mapping[str, Callable[[Mapping[str, Any]], Table]]]] = {
    "fpga_rtl.md": ("rtl.json", {"measured": measured_table, "resources": resources_table}),
    "fpga_compiler.md": (
        "accel.json", {"scenario": scenario_table, "designs": designs_table, "speed": speed_table}
    ),
}  # fmt: skip
"""Per page the result file, and what makes each of its parts."""


def written(page: str, results: Path, file: str) -> str:
    """The text of the page named ``file`` with the figures of the result files.

    Raises:
        InputError: a result file is missing or lacks a part, or a place is not marked on the page.
    """
    name, parts = PAGES[file]
    path = results / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        figures = {part: "\n".join(make(found)) for part, make in parts.items()}
    except (OSError, ValueError, KeyError) as error:
        bench = f"l4edge bench {path.stem} --json"
        raise InputError(f"{path}: not the whole output of {bench} ({error!r}); make it again") from error
    return replaced_parts(page, BEGIN, END, figures, file)


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("docs", type=click.Path(path_type=Path))
def command(results: Path, docs: Path) -> None:
    """Write the figures of the result files in RESULTS into the pages in DOCS."""
    for file in PAGES:
        write_text(docs / file, written((docs / file).read_text(encoding="utf-8"), results, file))


if __name__ == "__main__":
    command()
