"""Batches of changed training images, made ahead of the network by threads (OpenCV works outside Python's lock)."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l4edge_perception.training.augmentation import AugmentationConfig, Labels, augment, cut_band
from l4edge_perception.training.dataset import Frame, read_image
from l4edge_perception.training.detector_loss import Targets


class Batch(NamedTuple):
    """B images and their objects. pixels: (B, H, W, 3) uint8."""

    pixels: Tensor
    targets: Targets


def training_batches(
    frames: Sequence[Frame],
    batch_size: int,
    canvas: tuple[int, int],
    band_height: int,
    seed: tuple[int, int],
    config: AugmentationConfig,
    threads: int = 2,
) -> Iterator[Batch]:
    """One pass over the frames in a random order; the last incomplete batch is left out.

    Each image shows a band of ``band_height`` rows of the canvas, anywhere. Chance depends on ``seed`` (of the run, of
    the pass) and a frame's place in the order only, never on the threads.
    """
    order = np.random.default_rng(seed).permutation(len(frames))

    def prepare(place: int) -> tuple[np.ndarray, Labels]:
        frame = frames[order[place]]
        generator = np.random.default_rng((*seed, place))
        pixels, labels = augment(read_image(frame.path), Labels.of(frame.truth), canvas, generator, config)
        return cut_band(pixels, labels, band_height, generator, config)

    pending: deque[Future] = deque()
    usable = len(order) // batch_size * batch_size
    with ThreadPoolExecutor(threads) as pool:
        try:
            for place in range(usable):
                pending.append(pool.submit(prepare, place))
                if len(pending) >= 3 * batch_size:
                    yield _collected(pending, batch_size)
            while pending:
                yield _collected(pending, batch_size)
        finally:
            for future in pending:
                future.cancel()


def _collected(pending: "deque[Future]", batch_size: int) -> Batch:
    images, labels = zip(*(pending.popleft().result() for _ in range(batch_size)), strict=True)
    return Batch(torch.from_numpy(np.stack(images)), make_targets(labels))


def make_targets(labels: Sequence[Labels]) -> Targets:
    """The labels of a batch as the loss reads them."""
    image = np.repeat(np.arange(len(labels)), [len(entry.boxes) for entry in labels])
    boxes = np.concatenate([entry.boxes for entry in labels])
    class_ids = np.concatenate([entry.class_ids for entry in labels])
    ignore = np.concatenate([entry.ignore for entry in labels])
    counted = ~ignore
    arrays = (image[counted], boxes[counted], class_ids[counted], image[ignore], boxes[ignore])
    return Targets(*(torch.from_numpy(array) for array in arrays))
