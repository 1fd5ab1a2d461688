"""The certification table: what each method certifies of clean pictures, and what it costs.

``python -m l4edge_compression.studies.certified_table --data ARCHIVE --package models/NAME --out RESULT.json``
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.packages import load_certified
from l4edge_compression.defense.refining import CoarseToFine
from l4edge_compression.defense.selection import saliency
from l4edge_compression.defense.verdicts import Certificate, Verdict
from l4edge_compression.studies.certified_methods import Methods
from l4edge_compression.studies.certified_package import pixels, shuffled
from l4edge_compression.studies.pictures import MEAN, fingerprint, read_pictures
from l4edge_perception.errors import exit_on_input_error
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor

FILL = (round(255 * MEAN[0]), round(255 * MEAN[1]), round(255 * MEAN[2]))
"""Masked pixels have the training pictures' mean colour."""

COUNTS = (2, 3, 4, 6, 13)
"""Windows per axis. 13 on the stem's map of 16 cells are as small as windows that hide a patch can be: 4 cells."""
SWEPT = 6
"""Windows per axis for which the confidence and the share of kept cells are varied."""
KEPT = (0.35, 0.5, 0.65, 0.8, 0.95)
LEVELS = ((3, 13), (3, 6, 13), (2, 3, 6, 13))
"""Windows per axis, coarse to fine, to choose from."""

TRUSTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONFIDENCES = (0.0, 0.3, 0.5, 0.7, 0.9)

TIMED = 30
LEAST_SHARE = 0.76
"""Of the undefended accuracy: ScaleCert's own ratio on ImageNet, ResNet-50, one 2 % patch (55.4 of 73.0)."""

Say = Callable[[str], None]


def rates(certificates: Sequence[Certificate], labels: np.ndarray) -> dict[str, float]:
    """The four rates that belong together, and clean accuracy: right and no alarm."""
    right = np.array([each.label for each in certificates]) == labels
    verdicts = np.array([int(each.verdict) for each in certificates])
    certified = verdicts == Verdict.CERTIFIED
    return {
        "clean": float((right & (verdicts != Verdict.ALARM)).mean()),
        "certified": float((certified & right).mean()),
        "alarm": float((verdicts == Verdict.ALARM).mean()),
        "certified_wrong": float((certified & ~right).mean()),
        "uncertified": float((verdicts == Verdict.UNCERTIFIED).mean()),
    }


def detection_row(
    name: str, windows: str, certifier: Certifier | CoarseToFine, images: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """What a detection method does with clean pictures."""
    certificates = certifier.certify_batch(images)
    return {
        "method": name,
        "windows": windows,
        **rates(certificates, labels),
        "passes": float(np.mean([each.passes for each in certificates])),
        "ms": processor_ms(certifier.certify, images),
    }


def recovery_rates(certifier: Certifier, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What double masking does with clean pictures, on pixels or on features."""
    certificates = [certifier.certify_recovery(image) for image in images]
    recoveries = [certifier.recover(image) for image in images]
    right = np.array([each.label for each in recoveries]) == labels
    certified = np.array([each.certified for each in certificates])
    return {
        "recovered_clean": float(right.mean()),
        "certified_recovery": float((certified & right).mean()),
        "certified_recovery_wrong": float((certified & ~right).mean()),
        "recovery_passes": float(np.mean([each.passes for each in recoveries])),
        "recovery_certificate_passes": float(np.mean([each.passes for each in certificates])),
        "recovery_ms": processor_ms(certifier.recover, images),
    }


def processor_ms(run: Callable[[np.ndarray], object], images: np.ndarray) -> float:
    """Median processor time of one picture on one thread, in milliseconds."""
    times = []
    for image in images[:TIMED]:
        begin = time.process_time()
        run(image)
        times.append(1e3 * (time.process_time() - begin))
    return float(np.median(times))


def measure(
    methods: Methods, images: np.ndarray, labels: np.ndarray, recovered: int, chosen: dict[str, Any],
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """All rows of the table.

    Args:
        methods: of the package.
        images: (N, H, W, 3) uint8, clean.
        labels: (N,).
        recovered: of these pictures, the first so many for the recovery columns, whose certificates take hundreds of
            passes.
        chosen: levels and trust of windows that are refined, chosen on other pictures by :func:`choose_trust`.
        say: told what is going on.
    """
    say("undefended")
    plain = methods.scalecert().undefended(images)
    rows: list[dict[str, Any]] = [
        {
            "method": "undefended", "windows": "", "clean": float((plain == labels).mean()), "passes": 1.0,
            "ms": processor_ms(lambda image: methods.network(image[None]), images),
        }
    ]
    sweeps = []
    for family, make in (("scalecert", methods.scalecert), ("one-mask", methods.one_mask)):
        for count in COUNTS:
            say(f"{family}, {count} x {count}")
            rows.append(detection_row(family, f"{count} x {count}", make(count), images, labels))
        swept = make(SWEPT)
        seen = swept.predict(images)
        for confidence in CONFIDENCES:
            certificates = [swept.decide(each, confidence=confidence) for each in seen if each is not None]
            sweeps.append({"method": family, "confidence": confidence, **rates(certificates, labels)})
    levels, trust = chosen["levels"], chosen["trust"]
    named = " to ".join(f"{count} x {count}" for count in levels)
    for family, refined in (
        ("scalecert, refined", methods.refined_scalecert(levels, trust)),
        ("one-mask, refined", methods.refined_one_mask(levels, trust)),
    ):
        say(family)
        rows.append(detection_row(family, named, refined, images, labels))
    for family, count, certifier in (
        ("scalecert", 3, methods.scalecert(3)), ("scalecert", 6, methods.scalecert(6)),
        ("double masking", 3, methods.double_mask(3)), ("double masking", 6, methods.double_mask(6)),
    ):
        say(f"recovery: {family}, {count} x {count}")
        found = recovery_rates(certifier, images[:recovered], labels[:recovered])
        row = next((row for row in rows if row["method"] == family and row["windows"] == f"{count} x {count}"), None)
        if row is None:
            row = {"method": family, "windows": f"{count} x {count}"}
            rows.append(row)
        row.update(found)
    return {"images": len(images), "recovery_images": recovered, "tuning": chosen, "rows": rows, "sweeps": sweeps,
            **compared(rows)}


def kept_sweep(methods: Methods, others: np.ndarray, images: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """What the share of kept cells does, with the weights as they are.

    Args:
        methods: of a package whose rule is a threshold; of another one nothing is said.
        others: (M, H, W, 3) uint8 that the thresholds are set by.
        images: (N, H, W, 3) uint8 to judge. labels: (N,).
    """
    if methods.settings.rule != "threshold":
        return []
    cells = np.sort(saliency(methods.stem(others)), axis=None)[::-1]
    rows = []
    for share in KEPT:
        certifier = methods.keeping(float(cells[round(share * (len(cells) - 1))]), SWEPT)
        certificates = certifier.certify_batch(images)
        plain = float((certifier.undefended(images) == labels).mean())
        passes = float(np.mean([each.passes for each in certificates]))
        rows.append({"kept": share, "undefended": plain, **rates(certificates, labels), "passes": passes})
    return rows


def compared(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures that were asked for, from the rows.

    ``certified_share`` is that of the ScaleCert-style row with most certified pictures. Passes are compared twice.
    ``usual``: one-mask detection with the finest windows against the cheapest ScaleCert-style row that certifies as
    many. ``cheapest``: each ScaleCert-style row against the cheapest one-mask row that certifies as many, or, where
    none does, against the one that certifies most; the best of these ratios.
    """
    undefended = rows[0]["clean"]
    ours = [row for row in rows if row["method"].startswith("scalecert") and "passes" in row]
    theirs = [row for row in rows if row["method"] == "one-mask"]
    usual = max(theirs, key=lambda each: each["passes"])
    as_good = [row for row in ours if row["certified"] >= usual["certified"]]
    ratios = []
    for row in ours:
        equal = [other for other in theirs if other["certified"] >= row["certified"]]
        most = max(theirs, key=lambda each: each["certified"])
        other = min(equal, key=lambda each: each["passes"]) if equal else most
        ratios.append(_ratio(row, other, reached=bool(equal)))
    best = max(row["certified"] for row in ours)
    cheapest = min(as_good, key=lambda each: each["passes"]) if as_good else None
    return {
        "certified_share": best / undefended if undefended else 0.0,
        "passes_ratio": {
            "usual": None if cheapest is None else _ratio(cheapest, usual, reached=True),
            "cheapest": max(ratios, key=lambda each: each["ratio"]),
        },
    }


def _ratio(ours: dict[str, Any], theirs: dict[str, Any], *, reached: bool) -> dict[str, Any]:
    return {
        "ratio": theirs["passes"] / ours["passes"], "method": ours["method"], "windows": ours["windows"],
        "certified": ours["certified"], "against": theirs["windows"], "against_certified": theirs["certified"],
        "reached": reached,
    }


def choose_trust(methods: Methods, images: np.ndarray, labels: np.ndarray, loss: float = 0.01) -> dict[str, Any]:
    """Levels and trust with the fewest passes whose certified accuracy is within ``loss`` of the finest windows'."""
    finest = rates(methods.scalecert(LEVELS[0][-1]).certify_batch(images), labels)["certified"]
    tried: list[dict[str, Any]] = []
    for levels in LEVELS:
        for trust in TRUSTS:
            certificates = methods.refined_scalecert(levels, trust).certify_batch(images)
            passes = float(np.mean([each.passes for each in certificates]))
            certified = rates(certificates, labels)["certified"]
            tried.append({"levels": list(levels), "trust": trust, "passes": passes, "certified": certified})
    fit = [entry for entry in tried if entry["certified"] >= finest - loss]
    chosen = min(fit, key=lambda each: each["passes"]) if fit else tried[-1]
    return {**chosen, "images": len(images), "finest": finest, "tried": tried}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Archive or folder of CIFAR-10.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps the decoded pictures.")
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Certified package.")
@click.option("--training", type=click.Path(path_type=Path), multiple=True, help="result.json of the package's runs.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Result file to write.")
@click.option("--images", type=click.IntRange(1), default=1000, show_default=True, help="Test pictures.")
@click.option("--recovered", type=click.IntRange(1), default=200, show_default=True, help="Of them, for recovery.")
@click.option("--tuning", type=click.IntRange(1), default=200, show_default=True, help="Others, to choose trust.")
@click.option("--note", multiple=True, help="What readers of the result must know.")
def command(
    data: Path, cache: Path | None, package: Path, training: tuple[Path, ...], out: Path, images: int, recovered: int,
    tuning: int, note: tuple[str, ...],
) -> None:
    """Measure the table on CIFAR-10's test pictures."""
    pictures = read_pictures(data, cache)
    test = shuffled(pictures["test"])
    certified = load_certified(package)
    methods = Methods(certified, FILL)
    begin = len(test.labels) - tuning
    chosen = choose_trust(methods, pixels(test, tuning, begin), test.labels[begin:].numpy())
    click.echo(json.dumps(chosen), err=True)
    measured = measure(
        methods, pixels(test, images), test.labels[:images].numpy(), recovered, chosen,
        lambda text: click.echo(text, err=True),
    )
    click.echo("share of kept cells", err=True)
    kept = kept_sweep(methods, pixels(test, tuning, begin), pixels(test, images), test.labels[:images].numpy())
    result = {
        "made_by": "python -m l4edge_compression.studies.certified_table",
        "data": {"name": "CIFAR-10", "sha256": fingerprint(pictures)},
        "package": {"hash": certified.hash, "settings": asdict(certified.settings)},
        "device": f"{processor()}, 1 thread",
        **measured,
        "kept": kept,
        "training": [json.loads(path.read_text(encoding="utf-8")) for path in training],
        "notes": list(note),
    }
    write_text(out, json.dumps(result, indent=1) + "\n")
    click.echo(f"wrote {out}", err=True)


if __name__ == "__main__":
    with exit_on_input_error("l4edge"):
        command()
