"""Batches of crops for the sign classifier: each tile is cut anew, as a detector might have placed its box."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from l4edge_perception.camera.classifier import crop
from l4edge_perception.models.sign_classifier import ENLARGEMENT
from l4edge_perception.training.sign_crops import KINDS, NONE, Tiles
from l4edge_perception.types import MEANINGS

DETECTED = tuple(KINDS.index(kind) for kind in ("detection", "false detection"))
"""Kinds whose boxes are a detector's own; they are judged where they are."""

NUMBERS = [label for label, word in enumerate(MEANINGS) if word.startswith("speed")]
"""Meanings that differ by digits alone."""


@dataclass(frozen=True)
class CropAugmentation:
    """How much crops differ from their tiles. Standard deviations, shares of the box's edges unless said otherwise.

    Attributes:
        shift: of the box's middle. scale: of both edges together, and of each alone by half as much; logarithms.
        distance: share of crops that are seen from farther away. least_px: to what height at least.
        least_number_px: the same of signs with digits; smaller ones that come do not teach to read digits.
        gain, tone: of the brightness and of a tint of each colour; logarithms. gamma: of the tone curve; logarithm.
        noise: of each pixel, levels. blur: share of crops that are blurred by up to a pixel.
    """

    shift: float = 0.05
    scale: float = 0.08
    distance: float = 0.35
    least_px: float = 10.0
    least_number_px: float = 18.0
    gain: float = 0.2
    tone: float = 0.04
    gamma: float = 0.15
    noise: float = 4.0
    blur: float = 0.25


def plain_crops(tiles: Tiles, rows: np.ndarray, size: int, jitter_seed: int | None = None) -> np.ndarray:
    """(K, size, size, 3) uint8 crops of ``rows``; with a seed, labelled boxes are moved as a detector would."""
    crops = np.empty((len(rows), size, size, 3), np.uint8)
    rng = np.random.default_rng(jitter_seed)
    moved = CropAugmentation()
    for number, row in enumerate(rows):
        box = tiles.boxes[row].astype(np.float64)
        if jitter_seed is not None and tiles.kinds[row] not in DETECTED:
            box = jittered(box, moved, rng)
        crops[number] = crop(tiles.pixels[row], box[None], size, ENLARGEMENT)[0]
    return crops


def jittered(box: np.ndarray, augmentation: CropAugmentation, rng: np.random.Generator) -> np.ndarray:
    """The box (4,) moved and scaled."""
    edges = box[2:] - box[:2]
    middle = 0.5 * (box[:2] + box[2:]) + np.clip(rng.normal(0.0, augmentation.shift, 2), -0.15, 0.15) * edges
    both = np.clip(rng.normal(0.0, augmentation.scale), -0.2, 0.2)
    each = np.clip(rng.normal(0.0, 0.5 * augmentation.scale, 2), -0.1, 0.1)
    half = 0.5 * edges * np.exp(both + each)
    return np.concatenate([middle - half, middle + half])


def training_batches(
    tiles: Tiles,
    rows: np.ndarray,
    batch_size: int,
    steps: int,
    size: int,
    seed: tuple[int, ...],
    augmentation: CropAugmentation,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of (crops (B, size, size, 3) uint8, labels (B,)), rare meanings more often than they come.

    A meaning is drawn in proportion to the root of its count, ``none`` and those with digits twice as often as that.
    """
    rng = np.random.default_rng(seed)
    blurred = np.isin(tiles.labels[rows], NUMBERS) & (tiles.heights[rows] < 0.75 * augmentation.least_number_px)
    rows = rows[~blurred]
    labels = tiles.labels[rows]
    counts = np.bincount(labels, minlength=NONE + 1)
    weights = np.sqrt(counts)
    weights[[NONE, *NUMBERS]] *= 2.0
    share = (weights / np.maximum(counts, 1))[labels]
    share /= share.sum()
    for _ in range(steps):
        drawn = rows[rng.choice(len(rows), batch_size, p=share)]
        crops = np.stack([_augmented(tiles, row, size, augmentation, rng) for row in drawn])
        yield crops, tiles.labels[drawn].astype(np.int64)


def _augmented(
    tiles: Tiles, row: int, size: int, augmentation: CropAugmentation, rng: np.random.Generator
) -> np.ndarray:
    pixels, box = tiles.pixels[row], tiles.boxes[row].astype(np.float64)
    height = box[3] - box[1]
    least = augmentation.least_number_px if tiles.labels[row] in NUMBERS else augmentation.least_px
    if height > 1.2 * least and rng.random() < augmentation.distance:
        scale = float(np.exp(rng.uniform(np.log(least / height), 0.0)))
        wide, high = (max(1, round(scale * edge)) for edge in (pixels.shape[1], pixels.shape[0]))
        box = box * np.tile([wide / pixels.shape[1], high / pixels.shape[0]], 2)
        pixels = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
    if rng.random() < augmentation.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.0)))
    gains = np.exp(rng.normal(0.0, augmentation.gain) + rng.normal(0.0, augmentation.tone, 3))
    tone = np.clip(pixels.astype(np.float32) * (gains / 255.0), 0.0, 1.0)
    light = 255.0 * np.power(tone, np.exp(rng.normal(0.0, augmentation.gamma)))
    noise = rng.standard_normal(light.shape, dtype=np.float32) * abs(rng.normal(0.0, augmentation.noise))
    pixels = np.clip(light + noise, 0.0, 255.0).astype(np.uint8)
    return crop(pixels, jittered(box, augmentation, rng)[None], size, ENLARGEMENT)[0]
