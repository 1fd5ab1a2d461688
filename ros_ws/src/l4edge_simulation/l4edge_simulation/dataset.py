"""Labelled images for training: many short drives, each a folder that is complete or absent.

``DATASET/SPLIT/drive_000123/`` holds ``images/000000.jpg`` and on, ``ground_truth.npz`` and ``drive.json``.
"""

import dataclasses
import io
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import numpy as np

from l4edge_perception.files import new_folder, write_bytes, write_text
from l4edge_perception.types import GroundTruth

from .appearance import drive_seed, stream

SIMULATOR_VERSION = 1
"""Rises when the same seed would give other images or labels."""

SPACING_S = (0.5, 1.0)  # between images while driving
STANDING_SPACING_S = 3.0  # between images while the ego stands, which would else all be alike
WARM_UP_S = (1.0, 6.0)

_renderer = None


def write_drive(folder: Path, split: str, index: int, frames: int, width: int, height: int) -> None:
    """Simulate drive ``index`` of a split and write it to ``folder``, whole or not at all."""
    from .renderer import Renderer
    from .simulation import Simulation

    global _renderer  # one graphics context serves all drives of a process
    if _renderer is None or (_renderer.width, _renderer.height) != (width, height):
        _renderer = Renderer(width, height)
    seed = drive_seed(split, index)
    rng = stream(seed, "sampling")
    spacing = float(rng.uniform(*SPACING_S))
    simulation = Simulation(seed, split, WARM_UP_S[1] + frames * spacing + 5.0, _renderer)
    simulation.advance(float(rng.uniform(*WARM_UP_S)))
    truths: List[GroundTruth] = []
    with new_folder(folder) as unfinished:
        for number in range(frames):
            observation = simulation.observe()
            image = simulation.camera.jpeg(observation.image)
            write_image(unfinished / "images" / f"{number:06d}.jpg", image)
            truths.append(observation.ground_truth)
            standing = observation.true_ego.speed < 0.5
            simulation.advance(max(spacing, STANDING_SPACING_S) if standing else spacing)
        write_bytes(unfinished / "ground_truth.npz", ground_truth_archive(truths))
        camera = simulation.camera_model()
        write_text(unfinished / "drive.json", json.dumps({
            "simulator_version": SIMULATOR_VERSION, "seed": seed, "split": split, "frames": frames,
            "spacing_s": spacing, "theme": simulation.world.layout.theme,
            "look": dataclasses.asdict(simulation.look),
            "camera_pose": dataclasses.asdict(simulation.camera_pose),
            "camera_noise": dataclasses.asdict(simulation.camera.noise),
            "camera": {"width": camera.width, "height": camera.height, "intrinsics": camera.intrinsics.tolist(),
                       "distortion": camera.distortion.tolist(),
                       "camera_from_base": camera.camera_from_base.tolist()},
        }, indent=1))


def write_image(path: Path, content: bytes) -> None:
    """Write one image of a folder that becomes visible only when it is complete."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def ground_truth_archive(truths: List[GroundTruth]) -> bytes:
    """An npz of flat arrays over all frames; ``frame`` says which image a row belongs to."""
    def joined(name: str, empty: np.ndarray) -> np.ndarray:
        return np.concatenate([empty, *[getattr(truth, name) for truth in truths]])

    attributes = [word for truth in truths for word in truth.attributes]
    stream_ = io.BytesIO()
    np.savez_compressed(
        stream_,
        stamps_ns=np.array([truth.stamp_ns for truth in truths], np.int64),
        frame=np.repeat(np.arange(len(truths), dtype=np.int32), [len(truth) for truth in truths]),
        ids=joined("ids", np.zeros(0, np.int64)),
        class_ids=joined("class_ids", np.zeros(0, np.int32)),
        boxes=joined("boxes", np.zeros((0, 4), np.float32)),
        visibilities=joined("visibilities", np.zeros(0, np.float32)),
        positions=joined("positions", np.zeros((0, 3))),
        yaws=joined("yaws", np.zeros(0)),
        velocities=joined("velocities", np.zeros((0, 2))),
        sizes=joined("sizes", np.zeros((0, 3), np.float32)),
        ignore=joined("ignore", np.zeros(0, bool)),
        attributes=np.array(attributes, dtype="U12") if attributes else np.zeros(0, "U12"),
    )
    return stream_.getvalue()


def _work(task: Tuple[str, str, int, int, int, int]) -> str:
    folder, split, index, frames, width, height = task
    write_drive(Path(folder), split, index, frames, width, height)
    return folder


def _start_worker() -> None:
    # Each process draws with one thread; several processes share the cores better than the threads of one would.
    os.environ["LP_NUM_THREADS"] = "0"


def missing_drives(out: Path, counts: Dict[str, Tuple[int, int]], size: Tuple[int, int]) -> List[tuple]:
    """The drives that ``out`` does not hold yet; ``counts``: split to (drives, frames a drive)."""
    tasks = []
    for split, (drives, frames) in counts.items():
        for index in range(drives):
            folder = out / split / f"drive_{index:06d}"
            if not (folder / "drive.json").exists():
                tasks.append((str(folder), split, index, frames, *size))
    return tasks


def write_dataset(out: Path, counts: Dict[str, Tuple[int, int]], size: Tuple[int, int], processes: int
                  ) -> Iterator[Tuple[int, int]]:
    """Write all missing drives; yields (done, of how many) at the start and after each."""
    tasks = missing_drives(out, counts, size)
    yield 0, len(tasks)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        futures = [pool.submit(_work, task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                yield done, len(tasks)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
