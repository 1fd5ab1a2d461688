"""Judging a trained detector: during training by torch, at the end by the very package that ships."""

import json
import math
import platform
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
from l4edge_perception.metrics.detection import AveragePrecision, average_precision
from l4edge_perception.models.detector import DIVISIONS, STRIDES, DetectorNetwork
from l4edge_perception.models.export import export_detector, input_spec
from l4edge_perception.packages import Accuracy, ModelPackage
from l4edge_perception.training.dataset import Frame, read_image, read_split, summarise

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


def evaluate_package(package: ModelPackage, frames: Sequence[Frame], threads: int = 1) -> AveragePrecision:
    """Average precision of a package as the vehicle would run it."""
    detector = Detector(package, threads=threads, score_threshold=LOWEST_SCORE)
    found = [detector.detect(read_image(frame.path), frame.truth.stamp_ns) for frame in frames]
    return average_precision(found, [frame.truth for frame in frames])


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
    """Export, judge on validation and test, write ``package/`` and ``result.json`` into the run folder.

    ``config`` and ``history`` go into the record as they are; ``notes`` say what a reader of the figures must know.
    """
    splits = {split: read_split(data, split) for split in ("validation", "test")}
    pictures = [read_image(frame.path) for frame in splits["test"][:: max(1, len(splits["test"]) // 8)]]
    record = {
        "made_by": "python -m l4edge_perception.training.detector",
        "seed": config["seed"],
        "device": f"{processor()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "training_s": round(elapsed_s),
        "config": config,
        "dataset": summarise(data),
        "history": history,
        "notes": list(notes),
    }
    with tempfile.TemporaryDirectory() as folder:
        unjudged = export_detector(network, Path(folder) / "package", pictures, None, {})
        judged = {split: evaluate_package(unjudged, frames) for split, frames in splits.items()}
        record["time"] = measure_time(unjudged, splits["test"][:: max(1, len(splits["test"]) // 100)])
    record.update({split: _plain(asdict(result)) for split, result in judged.items()})
    accuracy = Accuracy(
        metrics={"AP50": round(judged["test"].ap50, 4), "AP": round(judged["test"].ap, 4)},
        dataset=f"simulated drives, test split, {judged['test'].images} images",
        seed=config["seed"],
        device=f"{processor()}, onnxruntime {onnxruntime.__version__}, float32",
    )
    package = export_detector(network, out / "package", pictures, accuracy, record)
    write_text(out / "result.json", json.dumps(record, indent=1) + "\n")
    return package


def _plain(value: Any) -> Any:
    """The same with None for what is no number, which JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def processor() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
