"""What quantization gains and costs, measured here and now: what ``l4edge bench quantization`` prints."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.nn import functional

from l4edge_compression.api import RmsmpConfig, compress_, reassign_rows
from l4edge_compression.quantization.export import export
from l4edge_compression.quantization.formats import level_set, project
from l4edge_compression.quantization.packing import pack
from l4edge_compression.quantization.parity import make_session, runtime_operators
from l4edge_compression.quantization.parity_study import randomized
from l4edge_compression.quantization.rows import row_counts
from l4edge_perception.models.export import export_graph
from l4edge_perception.models.resnet import resnet18, resnet20

SIZE = 224
CLASSES = 1000
CALIBRATION_IMAGES = 32
CALIBRATION_BATCH = 8
EPOCH_IMAGES = 50_000
TRAINING_BATCH = 128
CROSSOVER_SAMPLES = 400_000

Say = Callable[[str], None]


def measure(runs: int = 60, seed: int = 0, say: Say = lambda _: None) -> dict[str, Any]:
    """Everything, as a JSON object; see the functions below.

    Args:
        runs: of each graph, taken in turn.
        seed: of weights, images and samples.
        say: is told what is being measured.
    """
    say("post-training quantization of ResNet-18, in a process of its own")
    cost = post_training_cost(seed)
    say("speed of ResNet-18")
    speed = measure_speed(runs, seed)
    say("re-assignment against an epoch of ResNet-20")
    share = reassignment_share(seed)
    say("rows and crossover")
    return {**speed, **cost, **share, "rows": check_rows(), "crossover": crossover(seed)}


def measure_speed(runs: int, seed: int) -> dict[str, Any]:
    """ResNet-18 with random weights at 224 x 224, one thread: float32, RMSMP with plain and with packed weights.

    The graphs run in turn, so that all meet the same machine. ``speedup`` compares the least times, which say what the
    processor can do; medians also say what else it was doing.
    """
    torch.manual_seed(seed)
    model = randomized(resnet18(CLASSES))
    images = torch.randn(2, 3, SIZE, SIZE)
    graphs = {"fp32": export_graph(model, images[:1], "image", "predictions")}
    # Which rows get which format does not change the time; scores of the weights alone are quick.
    compress_(model, RmsmpConfig(score="weight", calibration="absmax"), [images])
    graphs["rmsmp"] = export(model, images[:1]).content
    graphs["rmsmp packed"] = pack(graphs["rmsmp"])
    sessions = {name: make_session(content) for name, content in graphs.items()}
    feeds = {"image": images[:1].numpy()}
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(runs + 5):
        for name, session in sessions.items():
            begin = time.perf_counter()
            session.run(None, feeds)
            seconds[name].append(time.perf_counter() - begin)
    times = {
        name: {"min_ms": min(values[5:]) * 1e3, "median_ms": float(np.median(values[5:])) * 1e3}
        for name, values in seconds.items()
    }
    return {
        "speedup": times["fp32"]["min_ms"] / times["rmsmp"]["min_ms"],
        "speedup_median": times["fp32"]["median_ms"] / times["rmsmp"]["median_ms"],
        "speedup_packed": times["fp32"]["min_ms"] / times["rmsmp packed"]["min_ms"],
        "times": times,
        "bytes": {name: len(content) for name, content in graphs.items()},
        "size_ratio": len(graphs["rmsmp packed"]) / len(graphs["fp32"]),
        "runtime": runtime_operators(graphs["rmsmp"]),
        "runs": runs,
        "onnxruntime": onnxruntime.__version__,
    }


def post_training_cost(seed: int = 0) -> dict[str, Any]:
    """Time and peak memory of quantizing ResNet-18 by RMSMP with its default settings, in a process of its own.

    Returns:
        ``ptq_seconds`` of ``compress_`` and export by the wall clock, ``ptq_processor_seconds`` of all threads,
        ``ptq_peak_gb`` of the whole process with everything it imports.
    """
    code = f"from l4edge_compression.quantization.cost_study import quantize_once; quantize_once({seed})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"quantizing ResNet-18 failed: {finished.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def quantize_once(seed: int) -> None:
    """Quantize ResNet-18 and print what it took as JSON; the process that calls this is measured as a whole."""
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    model = randomized(resnet18(CLASSES))
    batches = [torch.randn(CALIBRATION_BATCH, 3, SIZE, SIZE) for _ in range(CALIBRATION_IMAGES // CALIBRATION_BATCH)]
    begin, processor = time.perf_counter(), time.process_time()
    compress_(model, RmsmpConfig(), batches)
    pack(export(model, batches[0][:1]).content)
    print(json.dumps({
        "ptq_seconds": time.perf_counter() - begin,
        "ptq_processor_seconds": time.process_time() - processor,
        "ptq_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "ptq_images": CALIBRATION_IMAGES,
        "ptq_threads": torch.get_num_threads(),
    }))


def reassignment_share(seed: int = 0, steps: int = 4) -> dict[str, Any]:
    """Time of one re-assignment with Fisher scores over that of an epoch of training, ResNet-20 on 32 x 32 pixels.

    The epoch is not run: 50,000 images in batches of 128 are 391 times the least of some measured steps. Both are
    taken in processor time, since a busy machine would lengthen either.
    """
    torch.manual_seed(seed)
    model = resnet20()
    images, labels = torch.randn(TRAINING_BATCH, 3, 32, 32), torch.randint(10, (TRAINING_BATCH,))
    compress_(model, RmsmpConfig(score="weight"), [images])
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    step_seconds = min(_processor_seconds(step) for _ in range(steps))
    model.compression = replace(model.compression, config=RmsmpConfig())  # type: ignore[type-var]
    batches = [(images, labels), (images.flip(0), labels.flip(0))]
    seconds = min(
        _processor_seconds(lambda: reassign_rows(model, batches, functional.cross_entropy)) for _ in range(2)
    )
    epoch = step_seconds * EPOCH_IMAGES / TRAINING_BATCH
    return {
        "reassignment_share": seconds / epoch,
        "reassignment_seconds": seconds,
        "step_seconds": step_seconds,
        "epoch_seconds_extrapolated": epoch,
    }


def _processor_seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def check_rows() -> dict[str, Any]:
    """How 64 rows divide at 65:30:5."""
    low, middle, high = row_counts(64, (0.65, 0.30, 0.05))
    return {"rows": 64, "ratio": "65:30:5", "pot4": low, "fixed4": middle, "fixed8": high}


def crossover(seed: int = 0) -> float:
    """From which alpha over sigma on PoT4 has less squared error than Fixed4 on Gaussian rows, by bisection."""
    normal = torch.randn(CROSSOVER_SAMPLES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = 3.0, 8.0
    while high - low > 1e-3:
        alpha = (low + high) / 2
        errors = []
        for name in ("pot4", "fixed4"):
            levels = level_set(name)
            normalized = (normal / alpha).clamp(-1, 1)
            errors.append(float(((project(levels, normalized) / levels.largest * alpha - normal) ** 2).mean()))
        low, high = (low, alpha) if errors[0] < errors[1] else (alpha, high)
    return (low + high) / 2
