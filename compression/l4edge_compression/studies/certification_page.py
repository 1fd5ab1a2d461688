"""Keep the figures of docs/certification_results.md those of the result files: nobody writes them by hand.

``python -m l4edge_compression.studies.certification_page docs/results/certification docs/certification_results.md``
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from l4edge_compression.studies.certified_table import LEAST_SHARE
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.pages import replaced_parts

BEGIN = "<!-- {}: written by l4edge_compression.studies.certification_page -->"
END = "<!-- end of {} -->"

TABLE = "table.json"
ATTACKS = "attacks.json"

LABELS = {
    "undefended": "undefended",
    "scalecert": "ScaleCert-style",
    "scalecert, refined": "ScaleCert-style, coarse to fine",
    "one-mask": "one-mask detection",
    "one-mask, refined": "one-mask detection, coarse to fine",
    "double masking": "double masking",
}

LEAST_RATIO = 3.0


def read(folder: Path, name: str, maker: str) -> dict[str, Any]:
    """A result file. Raises InputError if it is missing or of another maker."""
    path = folder / name
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no result file ({error}); make it with {maker}") from error
    if not isinstance(found, dict) or found.get("made_by", maker) != maker:
        raise InputError(f"{path}: was not made by {maker}; make it again")
    return found


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def rates_table(found: Mapping[str, Any]) -> list[str]:
    """One row per method and set of windows."""
    lines = [
        ("| method | windows | clean % | certified detection % | certified recovery % | alarm on clean % "
        "| certified wrong % | uncertified % | passes | ms |"),
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        recovering = "passes" not in row
        values = [
            _percent(row.get("recovered_clean") if recovering else row["clean"]),
            *(_percent(row.get(key)) for key in ("certified", "certified_recovery", "alarm")),
            _percent(row.get("certified_recovery_wrong") if recovering else row.get("certified_wrong")),
            _percent(row.get("uncertified")),
            _number(row.get("recovery_passes") if recovering else row["passes"]),
            _number(row.get("recovery_ms") if recovering else row["ms"]),
        ]
        lines.append(f"| {LABELS[row['method']]} | {row['windows']} | " + " | ".join(values) + " |")
    return lines


def claims_table(found: Mapping[str, Any]) -> list[str]:
    """What was asked for, and whether it holds."""
    share, ratio = found["certified_share"], found["passes_ratio"]
    deviation = math.sqrt(0.25 / found["images"]) * 100
    lines = [
        "| claim | measured | holds |", "|---|---|---|",
        (f"| ScaleCert-style certified detection at least {LEAST_SHARE} of the undefended accuracy | {share:.3f} "
        f"| {'yes' if share >= LEAST_SHARE else '**no**'} |"),
    ]
    for name, words in (("usual", "with as fine windows"), ("cheapest", "with the fewest windows that do as well")):
        found_ratio = ratio[name]
        claim = f"at least {LEAST_RATIO:g} times fewer passes than one-mask detection {words}"
        if found_ratio is None:
            lines.append(f"| {claim} | no ScaleCert-style row certifies as many | **no** |")
            continue
        measured = (
            f"{found_ratio['ratio']:.2f} times: {LABELS[found_ratio['method']]}, {found_ratio['windows']}, certifies "
            f"{_percent(found_ratio['certified'])} %, one-mask detection, {found_ratio['against']}, "
            f"{_percent(found_ratio['against_certified'])} %"
        )
        lines.append(f"| {claim} | {measured} | {'yes' if found_ratio['ratio'] >= LEAST_RATIO else '**no**'} |")
    spread = f"One standard deviation of a share of {found['images']} pictures is up to {deviation:.1f} points."
    return [*lines, "", spread]


def sweep_table(found: Mapping[str, Any]) -> list[str]:
    """Rates by confidence."""
    lines = [
        ("| method | confidence | clean % | certified detection % | alarm on clean % | certified wrong % "
        "| uncertified % |"),
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["sweeps"]:
        keys = ("clean", "certified", "alarm", "certified_wrong", "uncertified")
        values = " | ".join(_percent(row[key]) for key in keys)
        lines.append(f"| {LABELS[row['method']]} | {row['confidence']} | {values} |")
    return lines


def trust_table(found: Mapping[str, Any]) -> list[str]:
    """How the trust of refined windows was chosen."""
    tuning = found["tuning"]
    lines = ["| windows per axis | trust | passes | certified detection % |", "|---|---:|---:|---:|"]
    lines += [
        f"| {_levels(row)} | {row['trust']} | {row['passes']:.1f} | {_percent(row['certified'])} |"
        for row in tuning["tried"]
    ]
    words = (
        f"Chosen: {_levels(tuning)} with {tuning['trust']}, on {tuning['images']} other pictures, of which the finest "
        f"windows certify {_percent(tuning['finest'])} %."
    )
    return [*lines, "", words]


def _levels(row: Mapping[str, Any]) -> str:
    return " to ".join(str(count) for count in row["levels"])


def attacks_table(found: Mapping[str, Any]) -> list[str]:
    """What attacks on certified images came to."""
    lines = [
        "| attacked | certified images | attacks | label of the undefended network changed | alarms | silent |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rows = {
        **found["networks"], "control: naive order, top-k": found["naive_order"],
        "control: right order, top-k": found["right_order"],
    }
    for name, entry in rows.items():
        counts = (entry[key] for key in ("certified", "attacks", "changed", "alarms", "silent"))
        lines.append(f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |")
    lines += ["", "By kind, all networks together:", "", "| attack | attacks | label changed | alarms | silent |"]
    lines.append("|---|---:|---:|---:|---:|")
    kinds: dict[str, list[int]] = {}
    for entry in found["networks"].values():
        for kind, tally in entry["kinds"].items():
            counted = kinds.setdefault(kind, [0, 0, 0, 0])
            for index, key in enumerate(("attacks", "changed", "alarms", "silent")):
                counted[index] += tally[key]
    lines += [f"| {kind} | " + " | ".join(f"{count:,}" for count in counts) + " |" for kind, counts in kinds.items()]
    return lines


def outside_table(found: Mapping[str, Any]) -> list[str]:
    """Silent failures under attacks that no certificate speaks of."""
    lines = ["| network | attack | attacks | label changed | alarms | silent % |", "|---|---|---:|---:|---:|---:|"]
    for network, kinds in found["outside"].items():
        for name, tally in kinds.items():
            share = tally["silent"] / max(1, tally["attacks"])
            lines.append(
                f"| {network} | {name} | {tally['attacks']} | {tally['changed']} | {tally['alarms']} "
                f"| {_percent(share)} |"
            )
    return lines


def checks(found: Mapping[str, Any]) -> list[str]:
    """The other figures of the bench."""
    mutants = ", ".join(f"{name}: {count}" for name, count in found["covering_mutants"].items())
    skip = found["skip"]
    lines = [
        (f"* covering sets: {found['covering_settings']:,} random settings, {found['covering_violations']} violations; "
        f"violations under mutants of the rule: {mutants}"),
        (f"* lossless skip: {skip['different']} of {skip['images']} decisions differ; {skip['passes']:.1f} passes "
        f"instead of {skip['passes_without']:.1f}"),
    ]
    for name, entry in found["engines"].items():
        lines.append(
            f"* torch against onnxruntime at batch sizes 1 and 32, {name}: {entry['different']} of {entry['images']} "
            f"decisions differ, {entry['uncertified_by_margin']} are uncertified for a small margin"
        )
    for name, entry in found["engines_int8"].items():
        lines.append(
            f"* the same in static int8, {name}: {entry['different']} of {entry['images']} decisions differ, "
            f"{entry['uncertified_by_margin']} are uncertified for a small margin; the engines' logits of other "
            f"pictures differ by up to {entry['differences']['logits']:.2g}, the margin is {entry['margin']:g}; "
            f"{entry['certified']} are certified ({entry['certified_float']} in float), "
            f"{entry['same_as_float']} decided as in float"
        )
    lines.append(f"* machine: {found['machine']['cpu']}, {found['seconds']:.0f} s for all of the bench")
    return lines


def kept_table(found: Mapping[str, Any]) -> list[str]:
    """What the share of kept cells does."""
    lines = [
        "| cells kept % | undefended % | certified detection % | share of undefended | alarm on clean % | passes |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["kept"]:
        values = (_percent(row[name]) for name in ("kept", "undefended", "certified"))
        share = row["certified"] / row["undefended"]
        lines.append(f"| {' | '.join(values)} | {share:.2f} | {_percent(row['alarm'])} | {row['passes']:.1f} |")
    return lines


def training_facts(runs: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> list[str]:
    """How the network was made."""
    lines = ["| step | passes x pictures | top-1 %, nothing hidden | minutes of one thread |", "|---|---|---:|---:|"]
    for run in runs:
        draws = 1 if run["method"] == "float" else run["config"]["occlusion"].get("hardest", 1)
        name = "float" if run["method"] == "float" else "sparse stem and occlusion"
        name += f", the worst of {draws} draws" if draws > 1 else ""
        name += "" if run["method"] == "float" else f"; {run['config']['keep']:.0%} of the cells kept"
        lines.append(
            f"| {name} | {run['epochs']} x {run['pass_images']:,} | {_percent(run['top1'])} "
            f"| {run['processor_seconds'] / 60:.1f} |"
        )
    settings = found["package"]["settings"]
    lines += [
        "",
        (f"* machine: {found['device']}; the table took {found['images']} test pictures, recovery the first "
        f"{found['recovery_images']} of them"),
        (f"* package: hash {found['package']['hash'][:16]}…, rule {settings['rule']}, keep {settings['keep']:.3f}, "
        f"margin {settings['margin']:g}"),
    ]
    lines += [f"* {note}" for run in [*runs, found] for note in run.get("notes", [])]
    return lines


def figures(folder: Path) -> dict[str, str]:
    """The measured parts of the page as Markdown, by the name of their place."""
    table = read(folder, TABLE, "python -m l4edge_compression.studies.certified_table")
    attacks = read(folder, ATTACKS, "l4edge bench certification")
    parts = {
        "claims": claims_table(table), "rates": rates_table(table), "confidences": sweep_table(table),
        "kept": kept_table(table),
        "trust": trust_table(table), "training": training_facts(table["training"], table),
        "attacks": attacks_table(attacks), "outside": outside_table(attacks), "checks": checks(attacks),
    }
    return {name: "\n".join(lines) for name, lines in parts.items()}


def updated(page: str, parts: Mapping[str, str], file: str) -> str:
    """The page with its figures replaced. Raises InputError if a place is not marked."""
    return replaced_parts(page, BEGIN, END, parts, file)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
def command(folder: Path, page: Path) -> None:
    """Write the figures of the results in FOLDER into PAGE."""
    write_text(page, updated(page.read_text(encoding="utf-8"), figures(folder), str(page)))


if __name__ == "__main__":
    command()
