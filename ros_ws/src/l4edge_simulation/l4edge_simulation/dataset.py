"""Labelled images for training: many short drives, each a folder that is complete or absent.

``DATASET/SPLIT/drive_000123/`` holds

* ``images/000000.jpg`` and on,
* ``ground_truth.npz``: flat arrays over all images, the fields of ``GroundTruth`` and ``frame``, the number of the
  image that a row belongs to; ``stamps_ns`` has one entry an image,
* ``drive.json``: the seed, what was drawn from it, and the camera.
"""

import dataclasses
import functools
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.files import new_folder
from l4edge_perception.types import GroundTruth
from l4edge_simulation.appearance import drive_seed, stream

if TYPE_CHECKING:
    from l4edge_simulation.rendering.renderer import Renderer
    from l4edge_simulation.simulation import Simulation

SIMULATOR_VERSION = 2
"""Rises when the same seed would give other images or labels."""

SPACING_S = (0.5, 1.0)  # between images while driving
STANDING_SPACING_S = 3.0  # between images while the ego stands, which would else all be alike
STANDING_SPEED = 0.5  # metres per second
WARM_UP_S = (1.0, 6.0)

ARRAYS = {
    "ids": ((0,), np.int64),
    "class_ids": ((0,), np.int32),
    "boxes": ((0, 4), np.float32),
    "visibilities": ((0,), np.float32),
    "positions": ((0, 3), np.float64),
    "yaws": ((0,), np.float64),
    "velocities": ((0, 2), np.float64),
    "sizes": ((0, 3), np.float32),
    "ignore": ((0,), np.bool_),
}
"""Field of ``GroundTruth``: shape and type of no objects."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One drive to write: drive ``index`` of a split, ``frames`` images of ``width`` by ``height``.

    With ``visits`` the ego is put before signs and lights, see ``visits.py``, instead of driving.
    """

    folder: Path
    split: str
    index: int
    frames: int
    width: int
    height: int
    visits: bool = False


def write_dataset(
    out: Path, counts: dict[str, tuple[int, int]], size: tuple[int, int], processes: int, visits: bool = False
) -> Iterator[tuple[int, int]]:
    """Write all drives that ``out`` does not hold yet; yields (done, of how many) at the start and after each.

    Args:
        counts: split to (drives, images a drive). size: width and height of the images.
        processes: drives at a time. visits: look at signs and lights instead of driving.

    Raises:
        InputError: ``out`` holds a drive of another size, number of images or version of the simulator.
    """
    tasks = missing_drives(out, counts, size, visits)
    yield 0, len(tasks)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        futures = [pool.submit(write_drive, task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                yield done, len(tasks)
        finally:
            for future in futures:
                future.cancel()


def missing_drives(
    out: Path, counts: dict[str, tuple[int, int]], size: tuple[int, int], visits: bool = False
) -> list[Task]:
    """The drives that ``out`` does not hold yet; arguments and errors as of :func:`write_dataset`."""
    tasks = []
    for split, (drives, frames) in counts.items():
        for index in range(drives):
            task = Task(out / split / f"drive_{index:06d}", split, index, frames, *size, visits)
            if not task.folder.exists():
                tasks.append(task)
            elif _made_as(task.folder) != (SIMULATOR_VERSION, frames, *size, visits):
                raise InputError(
                    f"{task.folder}: holds another size, number of images, simulator version or kind of drive; "
                    "choose another folder"
                )
    return tasks


def write_drive(task: Task) -> None:
    """Simulate one drive and write it, whole or not at all."""
    from l4edge_simulation.simulation import Simulation
    from l4edge_simulation.visits import visit

    seed = drive_seed(task.split, task.index)
    rng = stream(seed, "sampling")
    spacing = float(rng.uniform(*SPACING_S))
    duration = WARM_UP_S[1] + task.frames * spacing + 5.0
    simulation = Simulation(seed, task.split, duration, _renderer(task.width, task.height))
    simulation.advance(float(rng.uniform(*WARM_UP_S)))
    truths: list[GroundTruth] = []
    with new_folder(task.folder) as unfinished:
        images = unfinished / "images"
        images.mkdir()
        for number in range(task.frames):
            if task.visits:
                visit(simulation, rng)
            seen = simulation.observe()
            (images / f"{number:06d}.jpg").write_bytes(simulation.camera.jpeg(seen.image))
            truths.append(seen.ground_truth)
            standing = seen.true_ego.speed < STANDING_SPEED
            if not task.visits:
                simulation.advance(STANDING_SPACING_S if standing else spacing)
        (unfinished / "ground_truth.npz").write_bytes(pack(truths))
        description = json.dumps(_describe(simulation, task, spacing), indent=1)
        (unfinished / "drive.json").write_text(description, encoding="utf-8")


def pack(truths: Sequence[GroundTruth]) -> bytes:
    """The ground truth of a drive as an npz file."""
    arrays: dict[str, Any] = {
        name: np.concatenate([np.zeros(shape, kind), *(getattr(truth, name) for truth in truths)])
        for name, (shape, kind) in ARRAYS.items()
    }
    attributes = [word for truth in truths for word in truth.attributes]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        stamps_ns=np.array([truth.stamp_ns for truth in truths], np.int64),
        frame=np.repeat(np.arange(len(truths), dtype=np.int32), [len(truth) for truth in truths]),
        attributes=np.array(attributes, dtype=np.str_),
        **arrays,
    )
    return file.getvalue()


def _describe(simulation: "Simulation", task: Task, spacing: float) -> dict:
    camera = simulation.camera_model()
    return {
        "simulator_version": SIMULATOR_VERSION,
        "seed": simulation.seed,
        "split": task.split,
        "frames": task.frames,
        "spacing_s": spacing,
        "visits": task.visits,
        "theme": simulation.world.state.layout.theme,
        "look": dataclasses.asdict(simulation.look),
        "camera_pose": dataclasses.asdict(simulation.camera_pose),
        "camera_noise": dataclasses.asdict(simulation.camera.noise),
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "intrinsics": camera.intrinsics.tolist(),
            "distortion": camera.distortion.tolist(),
            "camera_from_base": camera.camera_from_base.tolist(),
        },
    }


def _made_as(folder: Path) -> tuple:
    """Simulator version, number of images, their size and whether of visits; () where a drive does not say."""
    try:
        drive = json.loads((folder / "drive.json").read_text(encoding="utf-8"))
        size = drive["camera"]["width"], drive["camera"]["height"]
        return drive["simulator_version"], drive["frames"], *size, drive.get("visits", False)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


@functools.lru_cache(maxsize=1)
def _renderer(width: int, height: int) -> "Renderer":
    """One graphics context serves all drives of a process."""
    from l4edge_simulation.rendering.renderer import Renderer

    return Renderer(width, height)


def _start_worker() -> None:
    # Each process draws with one thread; several processes share the cores better than the threads of one would.
    os.environ["LP_NUM_THREADS"] = "0"
