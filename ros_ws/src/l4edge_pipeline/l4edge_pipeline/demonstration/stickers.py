"""The stickers that ship: textures made by the attacks of ``l4edge_compression.defense.attacks``, and where they go.

Each is a PNG with a JSON beside it that says how it was made; no torch is needed to use them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy as np

from l4edge_perception.errors import InputError

FOLDER = Path(__file__).resolve().parent / "textures"


@dataclass(frozen=True)
class Print:
    """A texture and where it is stuck.

    Attributes:
        name: of its files. texture: (h, w, 3) uint8 red green blue.
        width, height: shares of the target's side. right, up: of its middle from the side's middle, shares as well.
        made: the whole record of how it was made.
    """

    name: str
    texture: np.ndarray
    width: float
    height: float
    right: float
    up: float
    made: Dict[str, Any]

    @property
    def area(self) -> float:
        """Share of the side's area (of a sign: of the square around it)."""
        return self.width * self.height


def load_print(name: str, folder: Path = FOLDER) -> Print:
    """Read a sticker.

    Raises:
        InputError: a file is missing or broken.
    """
    path = folder / f"{name}.png"
    picture = cv2.imread(str(path))
    if picture is None:
        raise InputError(f"{path}: no picture; make it with l4edge_compression.defense.attacks")
    try:
        made = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        width, height, right, up = (float(made[key]) for key in ("width_share", "height_share", "right", "up"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path.with_suffix('.json')}: does not say where the sticker goes ({error})") from error
    return Print(name, np.ascontiguousarray(picture[..., ::-1]), width, height, right, up, made)
