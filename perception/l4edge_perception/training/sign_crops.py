"""Cut what the sign classifier learns from out of labelled drives.

``python -m l4edge_perception.training.sign_crops --data DATASET --data VISITS --out CROPS``

``CROPS/{train,validation,test}.npz`` hold tiles: the pixels around a box as the camera took them, so that training can
cut the box out anew each time, moved and scaled as detectors do, in the very way the vehicle does. Arrays over K tiles:
``pixels`` (flat uint8), ``shapes`` (K, 2) height and width, ``boxes`` (K, 4) in pixels of the tile, ``labels`` (K,)
indices into ``MEANINGS``, ``class_ids`` (K,) as a detector would say, ``kinds`` (K,) indices into ``KINDS``,
``drives`` (K,) numbers of drives.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from l4edge_perception.camera.classifier import READABLE
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError, exit_on_input_error
from l4edge_perception.files import write_bytes
from l4edge_perception.packages import load_package
from l4edge_perception.training.dataset import SPLITS, Frame, read_drive, read_image
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, GroundTruth

KINDS = ("label", "detection", "false detection", "turned away", "object", "background", "misplaced")
"""Where a tile's box comes from: the first two mean something, the others are ``none``."""

NONE = MEANINGS.index("none")

LEAST_HEIGHT_PX = 8.0
LEAST_VISIBILITY = 0.6
"""Smaller and more covered signs and lights are neither read nor taken for ``none``."""

AROUND = 0.5
"""A tile reaches so many of the longer edge of its box beyond it on each side."""

SAME, NEAR, APART = 0.4, 0.25, 0.1
"""Overlaps from which a detection is a labelled object, below which a box is misplaced, below which it is elsewhere."""

LIGHT_ASPECT = 0.4  # width over height of a box that looks for lights


@dataclass(frozen=True)
class Tile:
    """Pixels around a box; see the head of this module."""

    pixels: np.ndarray
    box: np.ndarray
    label: int
    class_id: int
    kind: int


@dataclass(frozen=True)
class Tiles:
    """K tiles, read back. Fields as in the head of this module; ``pixels`` is a list of (H, W, 3) views."""

    pixels: list[np.ndarray]
    boxes: np.ndarray
    labels: np.ndarray
    class_ids: np.ndarray
    kinds: np.ndarray
    drives: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def heights(self) -> np.ndarray:
        """(K,) heights of the boxes in pixels of the camera's picture."""
        return self.boxes[:, 3] - self.boxes[:, 1]


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-9)


def frame_tiles(frame: Frame, pixels: np.ndarray, detector: Detector | None, rng: np.random.Generator) -> list[Tile]:
    """All tiles of one picture; ``detector`` gives boxes as the vehicle has them."""
    truth = frame.truth
    boxes = truth.boxes.astype(np.float64)
    signs = READABLE[np.minimum(truth.class_ids, len(OBJECT_CLASSES) - 1)] & (truth.class_ids < len(OBJECT_CLASSES))
    height = boxes[:, 3] - boxes[:, 1]
    readable = signs & ~truth.ignore & (height >= LEAST_HEIGHT_PX) & (truth.visibilities >= LEAST_VISIBILITY)
    turned = signs & truth.ignore & (height >= 10.0) & (truth.visibilities >= LEAST_VISIBILITY)
    turned &= boxes[:, 2] - boxes[:, 0] >= 4.0
    chosen: list[tuple[np.ndarray, int, int, int]] = []
    for row in np.flatnonzero(readable):
        label = MEANINGS.index(truth.attributes[row])
        chosen.append((boxes[row], label, int(truth.class_ids[row]), KINDS.index("label")))
        if rng.random() < 0.3:
            chosen.append((_misplaced(boxes[row], rng), NONE, int(truth.class_ids[row]), KINDS.index("misplaced")))
    away = KINDS.index("turned away")
    chosen += [(boxes[row], NONE, int(truth.class_ids[row]), away) for row in np.flatnonzero(turned)]
    if detector is not None:
        chosen += _detected(detector, pixels, truth, boxes, signs, readable, turned)
    chosen += _elsewhere(boxes, signs, pixels.shape, rng)
    return [_tile(pixels, *entry) for entry in chosen]


def _detected(
    detector: Detector,
    pixels: np.ndarray,
    truth: GroundTruth,
    boxes: np.ndarray,
    signs: np.ndarray,
    readable: np.ndarray,
    turned: np.ndarray,
) -> list[tuple[np.ndarray, int, int, int]]:
    """The detector's signs and lights: what they are where they are right, ``none`` where nothing of the kind is."""
    found = detector.detect(pixels, truth.stamp_ns)
    found = found.select(READABLE[found.class_ids])
    result = []
    shared = overlaps(found.boxes.astype(np.float64), boxes)
    for box, class_id, share in zip(found.boxes, found.class_ids.tolist(), shared, strict=True):
        if box[3] - box[1] < LEAST_HEIGHT_PX:
            continue
        on_sign = np.where(signs, share, 0.0)
        best = int(on_sign.argmax()) if len(on_sign) else -1
        if best >= 0 and on_sign[best] >= SAME and readable[best]:
            result.append((box, MEANINGS.index(truth.attributes[best]), class_id, KINDS.index("detection")))
        elif best >= 0 and on_sign[best] >= SAME and turned[best]:
            result.append((box, NONE, class_id, KINDS.index("turned away")))
        elif best < 0 or on_sign[best] < APART:
            result.append((box, NONE, class_id, KINDS.index("false detection")))
    return result


def _misplaced(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The box moved away and scaled until it overlaps with itself by less than ``NEAR``."""
    edges = np.tile(box[2:] - box[:2], 2)
    for _ in range(20):
        shift = rng.uniform(-1.3, 1.3, 2) * edges[:2]
        scale = np.exp(rng.uniform(-0.7, 0.7))
        middle, half = 0.5 * (box[:2] + box[2:]) + shift, 0.5 * scale * edges[:2]
        moved = np.concatenate([middle - half, middle + half])
        if overlaps(moved[None], box[None])[0, 0] < NEAR:
            return moved
    return box + edges


def _elsewhere(
    boxes: np.ndarray, signs: np.ndarray, shape: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Boxes where no sign or light is: on parts of other objects, and anywhere."""
    others = np.flatnonzero(~signs & (boxes[:, 3] - boxes[:, 1] >= 16.0))
    wanted = ["object"] * min(1, len(others)) + ["background"] * int(rng.random() < 0.5)
    for kind in wanted:
        is_light = bool(rng.random() < 0.4)
        height = float(np.exp(rng.uniform(np.log(LEAST_HEIGHT_PX), np.log(50.0))))
        width = height * (LIGHT_ASPECT if is_light else 1.0) * float(np.exp(rng.normal(0.0, 0.2)))
        if kind == "object":
            x_min, y_min, x_max, y_max = boxes[rng.choice(others)]
            x, y = rng.uniform(x_min, x_max), rng.uniform(y_min, y_max)
        else:
            x, y = rng.uniform(0, shape[1]), rng.uniform(0, 0.7 * shape[0])
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        if not signs.any() or overlaps(box[None], boxes[signs]).max() < APART:
            class_id = OBJECT_CLASSES.index("light" if is_light else "sign")
            yield box, NONE, class_id, KINDS.index(kind)


def _tile(pixels: np.ndarray, box: np.ndarray, label: int, class_id: int, kind: int) -> Tile:
    box = np.asarray(box, np.float64)
    reach = AROUND * max(box[2] - box[0], box[3] - box[1]) + 1.0
    height, width = pixels.shape[:2]
    left, top = max(0, int(box[0] - reach)), max(0, int(box[1] - reach))
    right, bottom = min(width, int(np.ceil(box[2] + reach))), min(height, int(np.ceil(box[3] + reach)))
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    return Tile(pixels[top:bottom, left:right].copy(), box - [left, top, left, top], label, class_id, kind)


def pack_tiles(tiles: Sequence[Tile], drives: Sequence[int]) -> bytes:
    """The npz file of some tiles."""
    file = io.BytesIO()
    np.savez(
        file,
        pixels=np.concatenate([np.zeros(0, np.uint8), *(tile.pixels.ravel() for tile in tiles)]),
        shapes=np.array([tile.pixels.shape[:2] for tile in tiles], np.int32).reshape(-1, 2),
        boxes=np.array([tile.box for tile in tiles], np.float32).reshape(-1, 4),
        labels=np.array([tile.label for tile in tiles], np.int32),
        class_ids=np.array([tile.class_id for tile in tiles], np.int32),
        kinds=np.array([tile.kind for tile in tiles], np.int32),
        drives=np.array(drives, np.int32),
    )
    return file.getvalue()


def read_tiles(path: Path) -> Tiles:
    """Tiles as :func:`pack_tiles` wrote them. Raises InputError where the file is missing or no such file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = ("pixels", "shapes", "boxes", "labels", "class_ids", "kinds", "drives")
            arrays = {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: no tiles ({error}); cut them with l4edge_perception.training.sign_crops") from error
    ends = np.cumsum(3 * arrays["shapes"].prod(axis=1, dtype=np.int64))
    if len(ends) == 0 or ends[-1] != len(arrays["pixels"]):
        raise InputError(f"{path}: holds no tiles, or not all of them; cut them again")
    pieces = np.split(arrays["pixels"], ends[:-1])
    pixels = [piece.reshape(*shape, 3) for piece, shape in zip(pieces, arrays["shapes"].tolist(), strict=True)]
    return Tiles(pixels, *(arrays[name] for name in ("boxes", "labels", "class_ids", "kinds", "drives")))


@click.command()
@click.option(
    "--data",
    "datasets",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder with train, validation, test; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the crops.")
@click.option("--detector", type=click.Path(path_type=Path), help="Model package that gives boxes as well.")
@click.option("--split", "splits", type=click.Choice(SPLITS), multiple=True, default=SPLITS, help="Default: all.")
@click.option("--seed", type=int, default=0, show_default=True)
def command(datasets: tuple[Path, ...], out: Path, detector: Path | None, splits: tuple[str, ...], seed: int) -> None:
    """Cut signs, lights and what is neither out of labelled drives."""
    finder = Detector(load_package(detector)) if detector else None
    for split in splits:
        folders = [folder for data in datasets for folder in sorted((data / split).glob("drive_??????"))]
        if not folders:
            raise InputError(f"{', '.join(map(str, datasets))}: no drives in {split}; make them first")
        tiles: list[Tile] = []
        drives: list[int] = []
        for number, folder in enumerate(folders):
            rng = np.random.default_rng([seed, SPLITS.index(split), number])
            cut = [
                tile for frame in read_drive(folder) for tile in frame_tiles(frame, read_image(frame.path), finder, rng)
            ]
            tiles += cut
            drives += [number] * len(cut)
        write_bytes(out / f"{split}.npz", pack_tiles(tiles, drives))
        counts = np.bincount([tile.label for tile in tiles], minlength=len(MEANINGS))
        listed = ", ".join(f"{name} {count}" for name, count in zip(MEANINGS, counts.tolist(), strict=True))
        click.echo(f"{split}: {len(folders)} drives, {len(tiles)} tiles: {listed}", err=True)


if __name__ == "__main__":
    with exit_on_input_error():
        command()
