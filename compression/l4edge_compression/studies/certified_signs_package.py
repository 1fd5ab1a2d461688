"""Export and judge a certified sign classifier: ``python -m l4edge_compression.studies.certified_signs_package``.

``--run`` is the folder of a training (``l4edge_compression.studies.certified_signs``). ``--out`` becomes the model
package with its certified files; ``--result`` the JSON file that docs/certified_signs.md is made from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.numerics import largest_difference, margin_for
from l4edge_compression.defense.packages import CertifiedPackage, load_certified, write_certified
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.studies.certified_signs_judging import (
    BANDS,
    SQUARES,
    double_mask,
    judged,
    one_mask,
    recovery_rates,
    share,
)
from l4edge_compression.studies.certified_signs_network import (
    OFFSET,
    PATCH_PX,
    RECEPTIVE_FIELD,
    STRIDE,
    CertifiedSignClassifier,
    FeaturesToLogits,
    PixelsToFeatures,
    PixelsToLogits,
    deployed,
    load_trained,
)
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_bytes, write_text
from l4edge_perception.graphs import count_macs
from l4edge_perception.machine import processor
from l4edge_perception.models.export import check_parity, export_graph
from l4edge_perception.models.sign_classifier import LEAST_HEIGHT_PX, config_of, input_spec, output_spec
from l4edge_perception.packages import Accuracy, Level, ModelPackage, write_package
from l4edge_perception.training.processor import without_matrix_tiles
from l4edge_perception.training.sign_batches import plain_crops
from l4edge_perception.training.sign_classifier import for_training
from l4edge_perception.training.sign_classifier_result import JITTER_SEED, fit_temperature, summarise
from l4edge_perception.training.sign_crops import NONE, Tiles, read_tiles
from l4edge_perception.types import MEANINGS

LEVEL = "certified"
NAME = "sign_classifier_certified"
DECLARED = BANDS
"""Windows per axis that the package declares."""

SELF_TEST = "self_test.npz"
"""What the vehicle's monitor keeps in the folder; it is made from the package, after it."""


def graphs_of(classifier: CertifiedSignClassifier, crops: np.ndarray) -> tuple[dict[str, bytes], float]:
    """ONNX files of the whole, the stem and the head, and the largest difference to torch on (K, S, S, 3) crops."""
    example = torch.from_numpy(crops[:2].copy())
    whole, stem, head = PixelsToLogits(classifier), PixelsToFeatures(classifier), FeaturesToLogits(classifier)
    with torch.no_grad():
        features = classifier.selected(stem(torch.from_numpy(crops)))
    graphs = {
        LEVEL: export_graph(whole, example, "crops", "logits", any_batch=True),
        "stem": export_graph(stem, example, "crops", "features", any_batch=True),
        "head": export_graph(head, features[:2], "features", "logits", any_batch=True),
    }
    worst = max(
        check_parity(whole.eval(), graphs[LEVEL], [crops]),
        check_parity(stem.eval(), graphs["stem"], [crops]),
        check_parity(head.eval(), graphs["head"], [features.numpy()]),
    )
    return graphs, worst


def settings_of(classifier: CertifiedSignClassifier, margin: float, counts: tuple[int, int]) -> ScaleCertSettings:
    """What certificates of the deployed network depend on."""
    return ScaleCertSettings(
        input_size=(64, 64), patch=(PATCH_PX, PATCH_PX), counts=counts, receptive_field=(RECEPTIVE_FIELD,) * 2,
        stride=(STRIDE,) * 2, offset=(OFFSET,) * 2, map_size=(64 // STRIDE,) * 2, rule="threshold",
        keep=classifier.threshold, confidence=0.0, margin=margin, layout="HWC",
    )


def read_crops(tiles: Tiles, nones: int | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Crops that the vehicle would read, and their meanings; of ``none`` so many, or all."""
    rows = np.flatnonzero(tiles.heights >= LEAST_HEIGHT_PX)
    if nones is not None:
        empty = rows[tiles.labels[rows] == NONE]
        few = np.random.default_rng(seed).choice(empty, min(nones, len(empty)), replace=False)
        rows = np.sort(np.concatenate([rows[tiles.labels[rows] != NONE], few]))
    return plain_crops(tiles, rows, 64, JITTER_SEED), tiles.labels[rows].astype(np.int64)


def accuracies(classify: Any, crops: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """Clean accuracy of the shipped network, all and by meaning."""
    named = np.concatenate([classify(part).argmax(axis=1) for part in np.array_split(crops, 1 + len(crops) // 64)])
    right = named == wanted
    return {
        "count": len(wanted),
        "accuracy": round(float(right.mean()), 4),
        "meanings": {
            word: share(right[wanted == label]) for label, word in enumerate(MEANINGS)
        },
    }


def certifiers_of(
    graphs: Mapping[str, bytes], classifier: CertifiedSignClassifier, margin: float
) -> dict[str, Certifier]:
    """Methods to compare, all of the same network: by windows on features, and by windows on pixels."""
    whole, stem, head = (graph_runner(graphs[name]) for name in (LEVEL, "stem", "head"))
    result: dict[str, Certifier] = {}
    for counts in (*SQUARES, BANDS):
        word = f"{counts[0]} x {counts[1]}"
        result[f"ScaleCert-style, {word}"] = ScaleCert(stem, head, settings_of(classifier, margin, counts))
        result[f"one-mask, {word}"] = one_mask(whole, PATCH_PX, counts, 64, margin)
    return result


def recoveries_of(
    graphs: Mapping[str, bytes], classifier: CertifiedSignClassifier, margin: float
) -> dict[str, Certifier]:
    """Double masking in the features and in the pixels."""
    whole, stem, head = (graph_runner(graphs[name]) for name in (LEVEL, "stem", "head"))
    result: dict[str, Certifier] = {}
    for counts in (DECLARED, (3, 3)):
        word = f"{counts[0]} x {counts[1]}"
        result[f"features, {word}"] = ScaleCert(stem, head, settings_of(classifier, margin, counts))
        result[f"pixels, {word}"] = double_mask(whole, PATCH_PX, counts, 64, margin)
    return result


@click.command()
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Folder of the training.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the crops.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the model package.")
@click.option("--result", type=click.Path(path_type=Path), help="File of the figures; none are made without.")
@click.option("--nones", type=click.IntRange(1), default=400, show_default=True, help="Held-out crops of no sign.")
@click.option("--pairs", type=click.IntRange(1), default=400, show_default=True, help="Crops of the recovery tables.")
@click.option("--note", "notes", multiple=True, help="Something to be said beside the figures; may be given again.")
def main(
    run: Path, data: Path, out: Path, result: Path | None, nones: int, pairs: int, notes: tuple[str, ...]
) -> None:
    """Export the trained network, certify held-out crops, and write the package and the figures.

    The crops of a self-test in the package's folder stay; for another network they are to be made again.
    """
    without_matrix_tiles()
    torch.set_num_threads(1)
    trained, content = load_trained(run / "checkpoint.pt")
    tiles = {split: read_tiles(data / f"{split}.npz") for split in ("train", "validation", "test")}
    seen, labels = read_crops(tiles["validation"], None)
    with torch.no_grad():
        logits = torch.cat([trained(for_training(part)) for part in np.array_split(seen, 1 + len(seen) // 64)])
    temperature = fit_temperature(logits.numpy().astype(np.float64), labels)
    classifier = deployed(trained, temperature)
    crops, wanted = read_crops(tiles["test"], nones)
    graphs, difference = graphs_of(classifier, crops[:: max(1, len(crops) // 32)].copy())
    head, some = graph_runner(graphs["head"]), graph_runner(graphs["stem"])(crops[:: max(1, len(crops) // 64)])
    margin = margin_for(largest_difference(head, head, some))
    record = {
        "made_by": "python -m l4edge_compression.studies.certified_signs",
        "seed": content["config"]["seed"],
        "device": f"{processor()}, 1 thread",
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "training_s": round(content["elapsed_s"]),
        "steps": content["step"],
        "config": content["config"],
        "dataset": summarise(data, tiles),
        "history": content["history"],
        "torch_onnxruntime_difference": difference,
        "temperature": round(temperature, 4),
        "kept": share(np.abs(some).sum(axis=1) > classifier.threshold),
    }
    everything, meant = read_crops(tiles["test"], None)
    judged_clean = accuracies(graph_runner(graphs[LEVEL]), everything, meant)
    settings = settings_of(classifier, margin, DECLARED)
    before = hash_of(out)
    package = write_files(out, graphs, content, record, judged_clean, settings, crops)
    console = Console(stderr=True)
    if (out / SELF_TEST).exists() and package.hash != before:
        console.print(f"another network than before: make {out / SELF_TEST} again, see docs/safety.md")
    console.print(f"{judged_clean} margin {margin:.2g} kept {record['kept']}")
    if result is None:
        return
    record["clean"] = judged_clean
    record["settings"] = asdict(settings)
    sizes = {name: len(graph) for name, graph in graphs.items()}
    record["package"] = {"bytes": sizes, "hash": package.hash}
    record["detection"] = judged(certifiers_of(graphs, classifier, margin), crops, wanted, margin)
    picked = np.random.default_rng(0).permutation(len(crops))[:pairs]
    record["recovery"] = {
        name: recovery_rates(certifier, crops[picked], wanted[picked])
        for name, certifier in recoveries_of(graphs, classifier, margin).items()
    }
    if notes:
        record["notes"] = list(notes)
    write_text(result, json.dumps(record, indent=1) + "\n")


def hash_of(folder: Path) -> str | None:
    """Of the certified package in a folder; None if there is none that can be read."""
    try:
        return load_certified(folder).hash
    except InputError:
        return None


def write_files(
    out: Path, graphs: Mapping[str, bytes], content: Mapping[str, Any], record: Mapping[str, Any],
    clean: Mapping[str, Any], settings: ScaleCertSettings, crops: np.ndarray,
) -> CertifiedPackage:
    """The model package and its certified files; what lies in its folder as self-test stays."""
    dataset = f"simulated drives, test split, {clean['count']} crops"
    accuracy = Accuracy({"accuracy": clean["accuracy"]}, dataset, record["seed"], record["device"])
    macs = count_macs(graphs[LEVEL], {"crops": crops[:1].copy()})
    package = ModelPackage(
        path=out, name=NAME, task="classification", input=input_spec(config_of(content["start"])),
        output=output_spec(1.0), classes=MEANINGS, class_map=(),
        levels=(Level(LEVEL, f"{LEVEL}.onnx", "", 0, macs, accuracy),), minimum_onnxruntime="1.16.0",
        provenance={name: value for name, value in record.items() if name != "history"},
    )
    stored = out / SELF_TEST
    kept = stored.read_bytes() if stored.exists() else None
    write_package(package, {LEVEL: graphs[LEVEL]})
    if kept is not None:
        write_bytes(stored, kept)
    parts = {name: graphs[name] for name in ("stem", "head")}
    told = {"made_by": record["made_by"]}
    return write_certified(out, "scalecert", settings, parts, MEANINGS, LEVEL, provenance=told)


if __name__ == "__main__":
    main()
