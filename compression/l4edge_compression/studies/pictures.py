"""CIFAR-10 from the archive or folder of its pictures, and the variation of training batches.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009: 50,000 training and 10,000 test pictures of
32 x 32 pixels in ten classes. Layout: ``train/CLASS/NAME`` and ``test/CLASS/NAME``.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4edge_perception.errors import InputError
from l4edge_perception.files import new_folder

SIZE = 32
MARGIN = 4
"""Pixels by which training pictures are shifted at most."""

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
"""Of the training pictures' channels, for pixels in 0..1."""

SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pictures:
    """One split in memory.

    Attributes:
        images: (N, 3, 32, 32) uint8, red green blue.
        labels: (N,) long, indices into ``classes``.
        classes: their names in alphabetical order.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def read_pictures(source: Path, cache: Path | None = None) -> dict[str, Pictures]:
    """Both splits by name.

    Args:
        source: a tar archive (of any compression) or a folder.
        cache: folder that keeps the decoded pictures for the next run; belongs to one source.

    Raises:
        InputError: no such file, nothing to read in it, or a picture of another size.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; give the archive of CIFAR-10's pictures")
    stamp = {"source": source.name, "bytes": source.stat().st_size if source.is_file() else 0}
    if cache is not None and (cache / "content.json").exists():
        content = json.loads((cache / "content.json").read_text(encoding="utf-8"))
        if {name: content[name] for name in stamp} == stamp:
            return {split: _cached(cache, split, tuple(content["classes"])) for split in SPLITS}
    pictures = _decoded(source)
    if cache is not None:
        with new_folder(cache) as folder:
            for split, part in pictures.items():
                np.save(folder / f"{split}_images.npy", part.images.numpy())
                np.save(folder / f"{split}_labels.npy", part.labels.numpy())
            classes = list(pictures["train"].classes)
            (folder / "content.json").write_text(json.dumps({**stamp, "classes": classes}), encoding="utf-8")
    return pictures


def _cached(cache: Path, split: str, classes: tuple[str, ...]) -> Pictures:
    images, labels = (torch.from_numpy(np.load(cache / f"{split}_{part}.npy")) for part in ("images", "labels"))
    return Pictures(images, labels, classes)


def _decoded(source: Path) -> dict[str, Pictures]:
    found: dict[str, list[tuple[str, str, np.ndarray]]] = {split: [] for split in SPLITS}
    for name, content in _files(source):
        parts = Path(name).parts
        if len(parts) < 3 or parts[-3] not in found or not name.lower().endswith(SUFFIXES):
            continue
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (SIZE, SIZE, 3):
            raise InputError(f"{source}: {name}: not a picture of {SIZE} x {SIZE} pixels; use CIFAR-10's own")
        found[parts[-3]].append((parts[-2], parts[-1], picture[:, :, ::-1].transpose(2, 0, 1)))
    classes = tuple(sorted({label for label, _, _ in found["train"]}))
    result = {}
    for split, entries in found.items():
        if not entries or {label for label, _, _ in entries} != set(classes):
            raise InputError(
                f"{source}: {split}/CLASS/*.jpg: missing, or other classes than in train; give both splits"
            )
        entries.sort(key=lambda entry: entry[:2])
        images = torch.from_numpy(np.stack([picture for _, _, picture in entries]))
        labels = torch.tensor([classes.index(label) for label, _, _ in entries])
        result[split] = Pictures(images, labels, classes)
    return result


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{source}: not a whole tar archive ({error}); get it again") from error


def fingerprint(pictures: dict[str, Pictures]) -> str:
    """SHA-256 of the decoded pictures and labels, so that results say what they were measured on."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(pictures[split].images.numpy().tobytes())
        digest.update(pictures[split].labels.numpy().tobytes())
    return digest.hexdigest()


def normalized(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 to float32 with mean 0 and deviation 1 per channel over the training pictures."""
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    return (images.float() - mean) / std


def varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 3, 32, 32) uint8: each shifted by up to 4 pixels, black at the border, and mirrored or not."""
    count, size = len(images), images.shape[-1]
    padded = functional.pad(images, (MARGIN,) * 4)
    offsets = torch.randint(0, 2 * MARGIN + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows, columns = offsets + torch.arange(size)
    columns = torch.where(mirrored, columns.flip(1), columns)
    picked, channels = torch.arange(count)[:, None, None, None], torch.arange(3)[None, :, None, None]
    return padded[picked, channels, rows[:, None, :, None], columns[:, None, None, :]]


def image_file(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 red green blue as a PNG file: what tests and tools fill a folder with."""
    written, content = cv2.imencode(".png", picture[:, :, ::-1])
    if not written:
        raise InputError(f"picture of shape {picture.shape}: cannot be written as PNG; give (H, W, 3) uint8")
    return io.BytesIO(content.tobytes()).getvalue()
