"""Judging a trained sign classifier by the very package that ships, level by level."""

import hashlib
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor
from l4edge_perception.models.sign_classifier import LEAST_HEIGHT_PX, SignClassifierConfig, export_classifier
from l4edge_perception.models.vision_transformer import VisionTransformer
from l4edge_perception.packages import Accuracy, ModelPackage, load_package, write_package
from l4edge_perception.training.records import training_record
from l4edge_perception.training.sign_batches import plain_crops
from l4edge_perception.training.sign_crops import KINDS, Tiles, read_tiles
from l4edge_perception.types import MEANINGS

HEIGHTS_PX = (8, 12, 16, 24, 40, 10_000)
"""Edges of the ranges of box heights that are judged each for itself."""

JITTER_SEED = 1
TEMPERATURES = np.exp(np.linspace(np.log(0.3), np.log(4.0), 60))


def judge(classifier: SignClassifier, tiles: Tiles, size: int) -> dict[str, Any]:
    """How often a level names held-out tiles rightly: all that are read on the vehicle, and by kind and height."""
    crops = plain_crops(tiles, np.arange(len(tiles)), size, JITTER_SEED)
    parts = np.array_split(np.arange(len(tiles)), max(1, len(tiles) // 64))
    probabilities = np.concatenate([classifier.probabilities(crops[part], tiles.class_ids[part]) for part in parts])
    named = probabilities.argmax(axis=1)
    right, read = named == tiles.labels, tiles.heights >= LEAST_HEIGHT_PX
    words = {}
    for label, word in enumerate(MEANINGS):
        these = read & (tiles.labels == label)
        words[word] = {"count": int(these.sum()), "accuracy": _share(right[these])}
    confusion = np.zeros((len(MEANINGS), len(MEANINGS)), np.int64)
    np.add.at(confusion, (tiles.labels[read], named[read]), 1)
    return {
        "count": int(read.sum()),
        "accuracy": _share(right[read]),
        "mean_accuracy": round(float(np.mean([entry["accuracy"] for entry in words.values() if entry["count"]])), 4),
        "meanings": words,
        "kinds": {kind: _counted(right, read & (tiles.kinds == number)) for number, kind in enumerate(KINDS)},
        "heights": {
            f"{low} to {high}" if high < HEIGHTS_PX[-1] else f"{low} and more": _counted(
                right, (tiles.heights >= low) & (tiles.heights < high)
            )
            for low, high in itertools.pairwise(HEIGHTS_PX)
        },
        "confusion": confusion.tolist(),
    }


def _counted(right: np.ndarray, these: np.ndarray) -> dict[str, Any]:
    return {"count": int(these.sum()), "accuracy": _share(right[these])}


def _share(right: np.ndarray) -> float | None:
    return round(float(right.mean()), 4) if len(right) else None


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What (N, C) logits are to be divided by for the greatest likelihood of (N,) labels."""
    best = [
        float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean())
        for scaled in ((logits - logits.max(axis=1, keepdims=True)) / temperature for temperature in TEMPERATURES)
    ]
    return float(TEMPERATURES[int(np.argmin(best))])


def measure_time(classifier: SignClassifier, crops: np.ndarray, counts: Sequence[int] = (1, 2, 4, 8)) -> dict[str, Any]:
    """Milliseconds of processor time of a run on 1, 2, ... crops, one thread: smallest and median of 40."""
    result = {}
    for count in counts:
        times = []
        for _ in range(40):
            before = time.process_time()
            classifier.probabilities(crops[:count], np.full(count, 4))
            times.append(1e3 * (time.process_time() - before))
        result[str(count)] = {"min_ms": round(min(times), 2), "median_ms": round(float(np.median(times)), 2)}
    return result


def finish_run(
    data: Path,
    out: Path,
    network: VisionTransformer,
    sizes: SignClassifierConfig,
    config: Mapping[str, Any],
    history: list[dict],
    elapsed_s: float,
    notes: Sequence[str] = (),
) -> ModelPackage:
    """Calibrate on validation, export, judge on validation and test, write ``package/`` and ``result.json``."""
    tiles = {split: read_tiles(data / f"{split}.npz") for split in ("train", "validation", "test")}
    crops = plain_crops(tiles["test"], np.arange(0, len(tiles["test"]), max(1, len(tiles["test"]) // 32)), sizes.crop)
    made_by = "python -m l4edge_perception.training.sign_classifier"
    record = training_record(made_by, config, summarise(data, tiles), history, elapsed_s, notes)
    path = out / "package"
    raw = SignClassifier(export_classifier(network, sizes, path, crops, 1.0, None, {}))
    rows = np.flatnonzero(tiles["validation"].heights >= LEAST_HEIGHT_PX)
    seen = plain_crops(tiles["validation"], rows, sizes.crop, JITTER_SEED)
    logits = np.concatenate([raw.session.run(part)[0] for part in np.array_split(seen, max(1, len(seen) // 64))])
    temperature = fit_temperature(logits.astype(np.float64), tiles["validation"].labels[rows])
    package = export_classifier(network, sizes, path, crops, temperature, None, record)
    record = judge_levels(package, tiles, record)
    package = with_accuracy(package, record)
    write_text(out / "result.json", json.dumps(record, indent=1) + "\n")
    return package


def judge_levels(package: ModelPackage, tiles: Mapping[str, Tiles], record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` with validation, test and time of every level of a package under ``levels``."""
    size = package.input.size[0]
    levels = {}
    for level in package.levels:
        classifier = SignClassifier(package, level.name)
        crops = plain_crops(tiles["test"], np.arange(8), size)
        levels[level.name] = {
            **{split: judge(classifier, tiles[split], size) for split in ("validation", "test")},
            "time": measure_time(classifier, crops),
            "macs": level.macs,
            "bytes": level.bytes,
        }
    return {**record, "levels": levels}


def with_accuracy(package: ModelPackage, record: Mapping[str, Any]) -> ModelPackage:
    """The package written anew with what ``judge_levels`` found, as it was read back."""
    levels = []
    for level in package.levels:
        test = record["levels"][level.name]["test"]
        metrics = {"accuracy": test["accuracy"], "mean accuracy of meanings": test["mean_accuracy"]}
        dataset = f"simulated drives, test split, {test['count']} crops"
        device = f"{processor()}, onnxruntime {onnxruntime.__version__}"
        levels.append(replace(level, accuracy=Accuracy(metrics, dataset, record["seed"], device)))
    graphs = {level.name: package.read_graph(level) for level in package.levels}
    provenance = {**package.provenance, **record}
    write_package(replace(package, levels=tuple(levels), provenance=provenance), graphs)
    return load_package(package.path)


def summarise(data: Path, tiles: Mapping[str, Tiles]) -> dict[str, Any]:
    """What the crops hold, and a hash of each file: for the record of a training."""
    summary = {}
    for split, these in tiles.items():
        counts = np.bincount(these.labels, minlength=len(MEANINGS)).tolist()
        summary[split] = {
            "sha256": hashlib.sha256((data / f"{split}.npz").read_bytes()).hexdigest(),
            "drives": len(np.unique(these.drives)),
            "crops": len(these),
            "meanings": dict(zip(MEANINGS, counts, strict=True)),
        }
    return summary
