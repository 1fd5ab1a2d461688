"""Stickers on one side of an object: drawn into pictures in a way that gradients pass through, fitted, and written.

What surrounds the sticker comes from looks at the real place: windows of pictures before the camera's noise, with the
corners of the object's side in perspective (``l4edge_pipeline.demonstration.views`` writes them). Expectation over
transforms (Athalye et al. 2018, arXiv 1707.07397) is over these looks and over exposures, tone curves and noise.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from l4edge_perception.errors import InputError
from l4edge_perception.files import write_bytes, write_text
from l4edge_perception.packages import ModelPackage

FIELDS = ("windows", "origins", "sides", "visible", "light", "boxes", "distances")
SUPERSAMPLING = 3
GAINS, GAMMAS, NOISE = (0.8, 1.4), (0.85, 1.12), (1.0, 4.5)
"""Of the camera: exposure, tone curve, and standard deviation of the noise on the scale of 0 to 255."""

SMOOTHNESS = 0.15
"""Weight of the texture's total variation."""


@dataclass(frozen=True)
class Looks:
    """Looks at an object, K of them.

    Attributes:
        windows: (K, h, w, 3) uint8 without camera noise.
        origins: (K, 2) x and y of the windows' corners in the picture.
        sides: (K, 4, 2) corners of the object's side in the picture, clockwise from the top left as it is read.
        visible: (K, h, w) where the object is seen.
        light: (K, 3) share of a printed colour that comes back.
        boxes: (K, 4) around the object in the picture.
        distances: (K,) metres.
    """

    windows: np.ndarray
    origins: np.ndarray
    sides: np.ndarray
    visible: np.ndarray
    light: np.ndarray
    boxes: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.windows)


def read_looks(path: Path) -> Looks:
    """Read what ``l4edge_pipeline.demonstration.views`` wrote.

    Raises:
        InputError: no such file, or another one.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return Looks(*(content[name] for name in FIELDS))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no looks at an object ({error}); write them with demonstration.views") from error


@dataclass(frozen=True)
class Placement:
    """Where a sticker is on the side, in its shares: its middle from the side's middle, its width and height."""

    right: float
    up: float
    width: float
    height: float


@dataclass(frozen=True)
class _Spot:
    """Where the sticker falls in one window: its rows and columns, where each sample lies on the sticker, coverage."""

    rows: slice
    columns: slice
    samples: Tensor
    coverage: Tensor
    pooling: int


class Printer:
    """Draws a texture into looks.

    Args:
        looks: to draw into. placement: of the sticker. texels: edge of its texture.
    """

    def __init__(self, looks: Looks, placement: Placement, texels: int) -> None:
        self.looks = looks
        self._texels = texels
        self._spots = [_spot(looks, index, placement, texels) for index in range(len(looks))]

    def draw(self, texture: Tensor, index: int) -> Tensor:
        """The window ``index`` (3, h, w), 0..1, with ``texture`` (3, T, T), 0..1, stuck on."""
        looks, spot = self.looks, self._spots[index]
        window = torch.from_numpy(looks.windows[index]).permute(2, 0, 1).float() / 255.0
        if spot is None:
            return window
        print_ = functional.avg_pool2d(texture[None], spot.pooling) if spot.pooling > 1 else texture[None]
        drawn = functional.grid_sample(print_, spot.samples, align_corners=False, padding_mode="border")
        drawn = functional.avg_pool2d(drawn, SUPERSAMPLING)[0]
        light = torch.from_numpy(looks.light[index]).float().reshape(3, 1, 1)
        below = window[:, spot.rows, spot.columns]
        mixed = below + spot.coverage * (drawn * light - below)
        result = window.clone()
        result[:, spot.rows, spot.columns] = mixed
        return result


def _spot(looks: Looks, index: int, placement: Placement, texels: int) -> _Spot | None:
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    side = (looks.sides[index] - looks.origins[index]).astype(np.float32)
    to_side = cv2.getPerspectiveTransform(unit, side).astype(np.float64)
    middle = np.array([0.5 + placement.right, 0.5 - placement.up])
    size = np.array([placement.width, placement.height])
    corners = _moved(to_side, middle + size * (unit - 0.5))
    height, width = looks.windows.shape[1:3]
    low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, [width, height])
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, [width, height])
    if (high - low < 1).any():
        return None
    across = (np.arange((high[0] - low[0]) * SUPERSAMPLING) + 0.5) / SUPERSAMPLING + low[0]
    down = (np.arange((high[1] - low[1]) * SUPERSAMPLING) + 0.5) / SUPERSAMPLING + low[1]
    points = np.stack(np.meshgrid(across, down), axis=-1)
    on_side = _moved(np.linalg.inv(to_side), points.reshape(-1, 2))
    samples = ((on_side - middle) / size * 2.0).reshape(points.shape)  # -1..1 over the sticker
    inside = torch.from_numpy((np.abs(samples) <= 1.0).all(axis=-1)).float()
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    seen = torch.from_numpy(looks.visible[index][rows, columns]).float()
    coverage = functional.avg_pool2d(inside[None], SUPERSAMPLING)[0] * seen
    pixels = max(1.0, float(np.linalg.norm(corners[1] - corners[0])))
    pooling = max(1, int(texels / (pixels * SUPERSAMPLING)))
    return _Spot(rows, columns, torch.from_numpy(samples).float()[None], coverage, pooling)


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def exposed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, h, w), 0..1, as cameras of other exposure, tone and noise give them, (B, 3, h, w), 0..255."""
    count = len(pictures)

    def drawn(span: tuple[float, float]) -> Tensor:
        return span[0] + (span[1] - span[0]) * torch.rand(count, 1, 1, 1, generator=generator)

    light = (pictures * drawn(GAINS)).clamp(1e-4, 1.0) ** drawn(GAMMAS) * 255.0
    noise = torch.randn(pictures.shape, generator=generator) * drawn(NOISE)
    return (light + noise).clamp(0.0, 255.0)


def as_png(texture: Tensor) -> np.ndarray:
    """A texture (3, T, T), 0..1, as (T, T, 3) uint8."""
    return (texture.detach().clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def less_noise(texture: Tensor) -> Tensor:
    """Total variation: mean absolute difference of neighbours; what has little of it survives being seen from afar."""
    return (texture[:, 1:] - texture[:, :-1]).abs().mean() + (texture[:, :, 1:] - texture[:, :, :-1]).abs().mean()


@dataclass(frozen=True)
class Fitting:
    """How a texture is looked for.

    Attributes:
        steps: of Adam. batch: looks in one step, at most; all where there are fewer.
        texels: edge of the texture.
        learning_rate: at the beginning; it falls to a twentieth along a cosine.
        seed: of everything random.
    """

    steps: int
    batch: int
    texels: int
    learning_rate: float
    seed: int


Loss = Callable[[Tensor, list[int], np.random.Generator], tuple[Tensor, Callable[[], str]]]
"""What a texture is to lower, of windows (B, 3, h, w), 0..255, of the given looks; and words on how it stands."""


def fit_texture(
    looks: Looks, placement: Placement, fitting: Fitting, loss: Loss, report: Console, told: int,
    start: Tensor | None = None,
) -> Tensor:
    """A texture (3, T, T), 0..1, of low loss over looks, exposures and noise, with little total variation.

    Args:
        looks: to draw into. placement: of the sticker. fitting: how it is looked for.
        loss: see there; may draw from the generator that it is given.
        report: told every ``told`` steps.
        start: texture (3, T, T), 0..1, to go on with; None begins with noise.
    """
    generator = torch.Generator().manual_seed(fitting.seed)
    rng = np.random.default_rng(fitting.seed)
    printer, batch = Printer(looks, placement, fitting.texels), min(fitting.batch, len(looks))
    free = torch.zeros(3, fitting.texels, fitting.texels).uniform_(-1, 1, generator=generator)
    if start is not None:
        free = torch.logit(start.clamp(0.02, 0.98))
    free.requires_grad_()
    optimizer = torch.optim.Adam([free], fitting.learning_rate)
    for step in range(fitting.steps):
        share = 0.05 + 0.95 * (1 + math.cos(math.pi * step / fitting.steps)) / 2
        optimizer.param_groups[0]["lr"] = fitting.learning_rate * share
        texture = torch.sigmoid(free)
        rows = rng.choice(len(looks), batch, replace=False).tolist()
        drawn = exposed(torch.stack([printer.draw(texture, row) for row in rows]), generator)
        wanted, words = loss(drawn, rows, rng)
        total = wanted + SMOOTHNESS * less_noise(texture)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        if (step + 1) % told == 0:
            report.print(f"step {step + 1}: loss {float(total.detach()):.3f}, {words()}")
    return torch.sigmoid(free).detach()


def write_sticker(
    out: Path, texture: Tensor, made_by: str, against: ModelPackage, looks: Looks, placement: Placement,
    fitting: Fitting, **more: Any,
) -> None:
    """Write a texture as it would be printed, a PNG, and beside it how it was made, a JSON.

    Args:
        out: the PNG. texture: (3, T, T), 0..1.
        made_by: the command. against: the network that it was fitted to. more: fields of the record.
        looks, placement, fitting: what it was fitted with.
    """
    write_bytes(out, cv2.imencode(".png", as_png(texture)[..., ::-1])[1].tobytes())
    level = against.levels[0]
    record = {
        "made_by": made_by, "against": against.name, **more, "level": level.name, "graph_sha256": level.sha256,
        "looks": len(looks), "width_share": placement.width, "height_share": placement.height,
        "right": placement.right, "up": placement.up, "steps": fitting.steps, "batch": fitting.batch,
        "texels": fitting.texels, "learning_rate": fitting.learning_rate, "seed": fitting.seed,
        "torch": torch.__version__,
    }
    write_text(out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
