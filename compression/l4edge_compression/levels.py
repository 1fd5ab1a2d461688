"""A compressed network as one more level of a package: written, judged and timed beside the float one."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from torch import nn

from l4edge_compression.quantization.parity import INTEGER_OPERATORS
from l4edge_compression.quantization.saving import SavedLevel, Storage, write_quantized_package
from l4edge_compression.tasks import Task
from l4edge_perception.inference import Session
from l4edge_perception.machine import processor
from l4edge_perception.packages import Accuracy, Level, ModelPackage, write_package

COMPARED_PICTURES = 4
TIMED_RUNS = 60


@dataclass(frozen=True)
class LevelReport:
    """What became of a network, measured on this machine.

    Attributes:
        before, after: metrics of the float level and of the new one.
        bytes_before, bytes_after: of their files.
        time_before_ms, time_after_ms: one run of the network on one thread, smallest and median, taken in turns.
        compared, mismatches: results of integer operators that interpreter and onnxruntime were compared on, and how
            many of them differed.
        float_layers: convolutions and products that onnxruntime runs in float, by kind.
        judged_on: what the metrics were measured on.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    bytes_before: int
    bytes_after: int
    time_before_ms: tuple[float, float]
    time_after_ms: tuple[float, float]
    compared: int
    mismatches: int
    float_layers: Mapping[str, int]
    judged_on: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return dataclasses.asdict(self)


def add_level(
    task: Task,
    model: nn.Module,
    level: str,
    folder: Path,
    storage: Storage,
    provenance: Mapping[str, Any],
    on_step: Callable[[str], None] = lambda text: None,
) -> tuple[ModelPackage, LevelReport]:
    """Write the task's package with the compressed model as a further level.

    The float levels come first, then those that were there, then this one. Nothing is written where interpreter and
    onnxruntime differ.

    Args:
        task: gives the float package, pictures to compare on, and judges.
        model: the task's network after ``compress_``, in evaluation mode.
        level: name of the new level.
        folder: of the package.
        storage: of the weights, ``packed4`` or ``int8``.
        provenance: how the model was made.
        on_step: is told what is done now.
    """
    with tempfile.TemporaryDirectory() as temporary:
        on_step("exporting the float network")
        start = dataclasses.replace(task.description(), path=Path(temporary) / "package")
        float_level = start.levels[0].name
        write_package(start, task.float_graphs())
        on_step("exporting, and comparing onnxruntime with the integer interpreter")
        saved = write_quantized_package(
            model, start.path, start, batches=task.batches(COMPARED_PICTURES), storage=storage, level=level,
            provenance=provenance, keep_levels=True,
        )
        package = saved.package
        before, after = package.level(float_level), package.level(level)
        on_step("judging both levels")
        metrics = {entry.name: task.metrics(package, entry.name) for entry in (before, after)}
        on_step("timing both levels")
        times = time_levels(package, (before, after))
        graphs = {entry.name: package.read_graph(entry) for entry in package.levels}
    judged = _judged(task, package, metrics)
    report = LevelReport(
        before=metrics[before.name],
        after=metrics[after.name],
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        time_before_ms=times[0],
        time_after_ms=times[1],
        compared=saved.parity.integer_outputs,
        mismatches=_mismatches(saved),
        float_layers=saved.float_layers,
        judged_on=task.judged_on,
    )
    return write_package(dataclasses.replace(judged, path=folder), graphs), report


def _mismatches(saved: SavedLevel) -> int:
    return sum(count.mismatches for kind, count in saved.parity.operators.items() if kind in INTEGER_OPERATORS)


def _judged(task: Task, package: ModelPackage, metrics: Mapping[str, Mapping[str, float]]) -> ModelPackage:
    """The package with what was measured, both levels on the same pictures."""
    device = f"{processor()}, onnxruntime {onnxruntime.__version__}"

    def filled(level: Level) -> Level:
        if level.name not in metrics:
            return level
        accuracy = Accuracy(dict(metrics[level.name]), task.judged_on, None, device)
        return dataclasses.replace(level, accuracy=accuracy)

    return dataclasses.replace(package, levels=tuple(filled(level) for level in package.levels))


def time_levels(package: ModelPackage, levels: tuple[Level, ...], threads: int = 1) -> list[tuple[float, float]]:
    """Smallest and median milliseconds of one run of each level, the levels taking turns."""
    sessions = [Session(package, level.name, threads=threads) for level in levels]
    shape = tuple(1 if size < 0 else size for size in package.input.shape)
    generator = np.random.default_rng(0)
    if package.input.dtype == "uint8":
        tensor = generator.integers(0, 256, shape, dtype=np.uint8)
    else:
        tensor = generator.standard_normal(shape).astype(np.float32)
    taken: list[list[float]] = [[] for _ in levels]
    for _ in range(TIMED_RUNS):
        for session, times in zip(sessions, taken, strict=True):
            started = time.perf_counter()
            session.run(tensor)
            times.append(1e3 * (time.perf_counter() - started))
    return [(round(min(times), 3), round(statistics.median(times), 3)) for times in taken]
