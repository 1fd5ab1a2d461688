"""Keep the figures of docs/quantization_accuracy.md those of the result files: nobody writes them by hand.

``python -m l4edge_compression.studies.accuracy_page docs/results/quantization docs/quantization_accuracy.md``
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.pages import replaced_parts

BEGIN = "<!-- {}: written by l4edge_compression.studies.accuracy_page -->"
END = "<!-- end of {} -->"

REFERENCE = "fp32-longer"
"""What methods that train are compared with: the float network, trained on by the same number of steps."""

START = "fp32"

LABELS = {
    "fp32": "FP32, where all others start",
    "fp32-longer": "FP32 trained on",
    "w8a8-ptq": "W8A8, post-training",
    "fixed-w4a4": "Fixed-W4A4",
    "pot-w4a4": "PoT-W4A4",
    "rmsmp": "RMSMP 65:30:5",
    "ilmpq": "ILMPQ 95:5",
    "esb-4-1": "ESB (4,1)",
    "esb-5-2": "ESB (5,2)",
    "w1a32": "W1A32, three stages",
    "w1a8": "W1A8, three stages",
    "w1a6": "W1A6, three stages",
    "progressive": "W1A8, three stages (again)",
    "one-shot": "W1A8, one shot",
}
"""Methods in the order of the tables."""

REQUIREMENTS = {
    "resnet20": (
        ("rmsmp", REFERENCE, -0.5, "RMSMP within 0.5 points of FP32 trained on"),
        ("rmsmp", "fixed-w4a4", 0.0, "RMSMP not below Fixed-W4A4"),
        ("rmsmp", "pot-w4a4", 0.0, "RMSMP not below PoT-W4A4"),
        ("ilmpq", "fixed-w4a4", 0.0, "ILMPQ not below Fixed-W4A4"),
        ("esb-5-2", "esb-4-1", 0.0, "ESB (5,2) not below ESB (4,1)"),
        ("w8a8-ptq", START, -0.3, "W8A8 post-training within 0.3 points of FP32"),
    ),
    "vit": (
        ("w1a8", "w1a32", -0.5, "W1A8 within 0.5 points of W1A32"),
        ("w1a6", "w1a8", -0.5, "W1A6 within 0.5 points of W1A8"),
        ("w1a8", "one-shot", 0.0, "three stages not below one shot"),
    ),
}
"""By network: method, what it is compared with, the least difference in points, and the claim in words."""


@dataclass(frozen=True)
class Result:
    """What one run wrote.

    Attributes:
        network, method, seed: which run.
        correct, images: test pictures named rightly, and all of them.
        bits: mean bits of a quantized weight.
        record: everything else in the file.
    """

    network: str
    method: str
    seed: int
    correct: int
    images: int
    bits: float
    record: dict[str, Any]

    @property
    def top1(self) -> float:
        """In percent."""
        return 100 * self.correct / self.images


def read_results(folder: Path) -> list[Result]:
    """All results in a folder. Raises InputError if there is none, or a file is not a result of the study."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.get("made_by") != "python -m l4edge_compression.studies.cifar10":
                continue
            images, bits = record["data"]["test_images"], record["bits_per_weight"]
            who = record["network"], record["method"], record["seed"]
            results.append(Result(*who, record["correct"], images, bits, record))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a result of the study ({error!r}); make it again") from error
    if not results:
        raise InputError(f"{folder}: no result files; run l4edge_compression.studies.cifar10 first")
    return results


def deviation(results: Sequence[Result]) -> float:
    """Standard deviation, in points, that drawing other test pictures gives the mean accuracy of runs.

    All runs are judged on the same pictures, so several of them do not make it smaller.
    """
    share = sum(result.correct for result in results) / sum(result.images for result in results)
    return 100 * math.sqrt(share * (1 - share) / results[0].images)


def table(results: Sequence[Result], network: str) -> list[str]:
    """Rows of Markdown, one per method that was run."""
    grouped = _grouped(results, network)
    lines = [
        "| method | bits per weight | top-1 % | against FP32 trained on | seeds | passes x pictures | minutes |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    reference = grouped.get(REFERENCE)
    for method, runs in grouped.items():
        mean = _mean(runs)
        spread = f" ± {deviation(runs):.2f}"
        apart = "" if reference is None or method == REFERENCE else f"{mean - _mean(reference):+.2f}"
        record = runs[0].record
        passes = f"{record['epochs']} x {record['pass_images']}" if record["epochs"] else "none"
        minutes = statistics.mean(run.record["processor_seconds"] for run in runs) / 60
        seeds = ", ".join(f"{run.seed}: {run.top1:.2f}" for run in runs)
        lines.append(
            f"| {LABELS.get(method, method)} | {runs[0].bits:.2f} | {mean:.2f}{spread} | {apart} | {seeds} | {passes} "
            f"| {minutes:.1f} |"
        )
    return lines


def claims(results: Sequence[Result], network: str) -> list[str]:
    """What was asked for, and whether it holds, from the same numbers as the table."""
    grouped = _grouped(results, network)
    lines = ["| claim | difference in points | holds |", "|---|---:|---|"]
    for method, other, least, words in REQUIREMENTS[network]:
        if method not in grouped or other not in grouped:
            continue
        runs, others = grouped[method], grouped[other]
        apart = _mean(runs) - _mean(others)
        lines.append(f"| {words} | {apart:+.2f} | {_verdict(apart, least, _noise(runs, others))} |")
    return lines


def _verdict(apart: float, least: float, noise: float) -> str:
    if apart >= least:
        return "yes"
    return f"no, though within noise (± {noise:.2f})" if apart >= least - noise else f"**no** (noise ± {noise:.2f})"


def _noise(runs: Sequence[Result], others: Sequence[Result]) -> float:
    """Two deviations of the difference of two independent accuracies: an upper bound, as the pictures are the same."""
    return 2 * math.hypot(deviation(runs), deviation(others))


def facts(results: Iterable[Result]) -> list[str]:
    """Where and with what the runs were made, and what their readers must know."""
    records = [result.record for result in results]
    lines = []
    for title, name in (("machine", "device"), ("torch", "torch")):
        lines.append(f"* {title}: {', '.join(sorted({str(record[name]) for record in records}))}")
    lines.append(f"* pictures: sha256 {', '.join(sorted({record['data']['sha256'][:16] for record in records}))}…")
    notes = {(record["network"], record["method"], note) for record in records for note in record["notes"]}
    lines += [f"* {network}, {LABELS.get(method, method)}: {note}" for network, method, note in sorted(notes)]
    return lines


def _grouped(results: Sequence[Result], network: str) -> dict[str, list[Result]]:
    """Runs of a network by method, in the order of the table; seeds ascending."""
    order = list(LABELS)
    own = sorted(
        (result for result in results if result.network == network),
        key=lambda result: (order.index(result.method) if result.method in order else len(order), result.seed),
    )
    grouped: dict[str, list[Result]] = {}
    for result in own:
        grouped.setdefault(result.method, []).append(result)
    return grouped


def _mean(runs: Sequence[Result]) -> float:
    return statistics.mean(run.top1 for run in runs)


def figures(results: Sequence[Result]) -> dict[str, str]:
    """The measured parts of the page as Markdown, by the name of their place."""
    parts = {}
    for network in REQUIREMENTS:
        if any(result.network == network for result in results):
            parts[network] = "\n".join([*table(results, network), "", *claims(results, network)])
    parts["facts"] = "\n".join(facts(results))
    return parts


def updated(page: str, parts: dict[str, str], file: str) -> str:
    """The page with its figures replaced. Raises InputError if a place is not marked."""
    return replaced_parts(page, BEGIN, END, parts, file)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
def command(folder: Path, page: Path) -> None:
    """Write the figures of the results in FOLDER into PAGE."""
    write_text(page, updated(page.read_text(encoding="utf-8"), figures(read_results(folder)), str(page)))


if __name__ == "__main__":
    command()
