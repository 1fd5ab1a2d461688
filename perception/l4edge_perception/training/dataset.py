"""Reading the drives that a detector learns from and is judged on.

``DATASET/{train,validation,test}/DRIVE/`` holds ``images/000000.jpg`` and following and ``ground_truth.npz``: flat
arrays over all objects of the drive, ``frame`` (K,) telling which image each belongs to, and ``stamps_ns`` (F,).
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES, GroundTruth

SPLITS = ("train", "validation", "test")

OBJECT_FIELDS = ("ids", "class_ids", "boxes", "visibilities", "positions", "yaws", "velocities", "sizes", "ignore")


class Frame(NamedTuple):
    """One labelled image on disk."""

    path: Path
    truth: GroundTruth


def read_split(dataset: Path, split: str) -> list[Frame]:
    """All frames of one split, drive by drive. Raises InputError where files are missing or do not fit together."""
    folder = Path(dataset) / split
    drives = sorted(path.parent for path in folder.glob("*/ground_truth.npz"))
    if not drives:
        raise InputError(f"{folder}: no drives (*/ground_truth.npz); make the dataset first, or name its folder")
    return [frame for drive in drives for frame in read_drive(drive)]


def read_drive(drive: Path) -> list[Frame]:
    """The frames of one drive in time order."""
    path = drive / "ground_truth.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*OBJECT_FIELDS, "frame", "attributes", "stamps_ns")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: not a complete ground truth file ({error}); record the drive again") from error
    order = np.argsort(arrays["frame"], kind="stable")
    edges = np.searchsorted(arrays["frame"][order], np.arange(len(arrays["stamps_ns"]) + 1))
    frames = []
    for number, stamp in enumerate(arrays["stamps_ns"]):
        image = drive / "images" / f"{number:06d}.jpg"
        if not image.exists():
            raise InputError(f"{image}: missing, but {path} describes it; record the drive again")
        rows = order[edges[number] : edges[number + 1]]
        fields = {name: arrays[name][rows] for name in OBJECT_FIELDS}
        attributes = tuple(str(word) for word in arrays["attributes"][rows])
        frames.append(Frame(image, GroundTruth(stamp_ns=int(stamp), attributes=attributes, **fields)))
    return frames


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: not a readable image; record the drive again")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def summarise(dataset: Path) -> dict[str, object]:
    """What a dataset holds, and a hash of all its labels that names it: for the record of a training."""
    digest = hashlib.sha256()
    summary: dict[str, object] = {}
    for split in SPLITS:
        frames = read_split(dataset, split)
        for path in sorted((Path(dataset) / split).glob("*/ground_truth.npz")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        counted = np.concatenate([frame.truth.class_ids[~frame.truth.ignore] for frame in frames])
        counts = np.bincount(counted, minlength=len(OBJECT_CLASSES))
        summary[split] = {
            "drives": len({frame.path.parent for frame in frames}),
            "frames": len(frames),
            "objects": dict(zip(OBJECT_CLASSES, counts.tolist(), strict=True)),
        }
    return {"labels_sha256": digest.hexdigest(), **summary}
