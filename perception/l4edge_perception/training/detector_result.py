"""Judging a trained detector: during training by torch, at the end by the very package that ships."""

import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from l4edge_perception.camera.decoders import cell_grid, grid
from l4edge_perception.camera.detector import Detector, in_picture
from l4edge_perception.camera.preprocessing import Preprocessor
from l4edge_perception.camera.suppression import suppress
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor
from l4edge_perception.metrics.detection import AveragePrecision, average_precision, calibration_error, judged
from l4edge_perception.models.detector import DIVISIONS, STRIDES, DetectorNetwork
from l4edge_perception.models.export import SCORE_THRESHOLD, export_detector, input_spec
from l4edge_perception.packages import Accuracy, ModelPackage
from l4edge_perception.training.calibration import fit_scaling, scaled
from l4edge_perception.training.dataset import Frame, read_image, read_split, summarise
from l4edge_perception.training.records import training_record
from l4edge_perception.types import Detections, GroundTruth

LOWEST_SCORE = 0.01
"""Boxes below are not judged: they hardly change average precision and there are very many of them."""

OVERLAP = 0.6
"""Suppression while a network is judged, as in the package it becomes."""


def evaluate_network(network: DetectorNetwork, frames: Sequence[Frame]) -> AveragePrecision:
    """Average precision of a network in torch, in bf16 as it is trained: for the curve of a training."""
    cells = cell_grid(network.config.height, network.config.width, STRIDES, DIVISIONS)
    preprocess = Preprocessor(input_spec(network.config))
    device = next(network.parameters()).device
    network.eval()
    found = []
    for frame in frames:
        picture = read_image(frame.path)
        pixels, placement = preprocess(picture)
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).to(torch.bfloat16)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            output = network(images).float().cpu().numpy()
        best = suppress(grid(output, LOWEST_SCORE, cells), OVERLAP, 100)
        found.append(in_picture(best, placement, picture.shape[:2], frame.truth.stamp_ns))
    return average_precision(found, [frame.truth for frame in frames])


def detect_all(package: ModelPackage, frames: Sequence[Frame], level: str | None = None) -> list[Detections]:
    """What a package finds in some frames as the vehicle would run it, down to the lowest score that is judged."""
    detector = Detector(package, level, score_threshold=LOWEST_SCORE)
    return [detector.detect(read_image(frame.path), frame.truth.stamp_ns) for frame in frames]


def measure_time(package: ModelPackage, frames: Sequence[Frame], rounds: int = 3) -> dict[str, float]:
    """Milliseconds of processor time per frame of ``Detector.detect`` on one thread: smallest and median."""
    detector = Detector(package, threads=1)
    pictures = [read_image(frame.path) for frame in frames]
    times = []
    for pixels in pictures * rounds:
        before = time.process_time()
        detector.detect(pixels, 0)
        times.append(1e3 * (time.process_time() - before))
    return {"min_ms": round(min(times), 2), "median_ms": round(float(np.median(times)), 2), "runs": len(times)}


def finish_run(
    data: Path,
    out: Path,
    network: DetectorNetwork,
    config: dict[str, Any],
    history: list[dict],
    elapsed_s: float,
    notes: Sequence[str] = (),
) -> ModelPackage:
    """Calibrate on validation, export, judge on validation and test, write ``package/`` and ``result.json``.

    ``config`` and ``history`` go into the record as they are; ``notes`` say what a reader of the figures must know.
    """
    splits = {split: read_split(data, split) for split in ("validation", "test")}
    pictures = [read_image(frame.path) for frame in splits["test"][:: max(1, len(splits["test"]) // 8)]]
    made_by = "python -m l4edge_perception.training.detector"
    record = training_record(made_by, config, summarise(data), history, elapsed_s, notes)
    truths = {split: [frame.truth for frame in frames] for split, frames in splits.items()}
    with tempfile.TemporaryDirectory() as folder:
        raw = export_detector(network, Path(folder) / "raw", pictures, None, {})
        found = detect_all(raw, splits["validation"])
        scaling = fit_scaling(found, truths["validation"], network.config.class_count)
        network = scaled(network, scaling)
        unjudged = export_detector(network, Path(folder) / "package", pictures, None, {})
        found_by_split = {split: detect_all(unjudged, frames) for split, frames in splits.items()}
        record["time"] = measure_time(unjudged, splits["test"][:: max(1, len(splits["test"]) // 100)])
    record["calibration"] = {name: values.round(4).tolist() for name, values in scaling._asdict().items()}
    results = {split: average_precision(found_by_split[split], truths[split]) for split in splits}
    for split, result in results.items():
        record[split] = _plain(asdict(result))
        record[split]["calibration_error"] = _plain(_calibration_error(found_by_split[split], truths[split]))
    accuracy = Accuracy(
        metrics={"AP50": round(results["test"].ap50, 4), "AP": round(results["test"].ap, 4)},
        dataset=f"simulated drives, test split, {results['test'].images} images",
        seed=config["seed"],
        device=f"{processor()}, onnxruntime {onnxruntime.__version__}, float32",
    )
    package = export_detector(network, out / "package", pictures, accuracy, record)
    write_text(out / "result.json", json.dumps(record, indent=1) + "\n")
    return package


def _calibration_error(found: Sequence[Detections], truths: Sequence[GroundTruth]) -> float:
    """Of the scores that the package reports; the many below would hide any error among these."""
    pairs = [judged(detections, truth) for detections, truth in zip(found, truths, strict=True)]
    scores, right = (np.concatenate(values) for values in zip(*((c.scores, r) for c, r in pairs), strict=True))
    reported = scores >= SCORE_THRESHOLD
    return calibration_error(scores[reported], right[reported])


def _plain(value: Any) -> Any:
    """The same with None for what is no number, which JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
