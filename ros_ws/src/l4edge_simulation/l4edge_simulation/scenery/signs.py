"""Traffic signs: outlines and prints."""

from collections.abc import Sequence

import cv2
import numpy as np

from l4edge_simulation.scenery.textures import noise

SIGN_KINDS = ("stop", "yield", "speed_30", "speed_50", "speed_80", "priority")
"""What a sign can mean; the words of ``GroundTruth.attributes``."""

SIGN_WIDTHS = {"stop": 0.75, "yield": 0.85, "speed_30": 0.62, "speed_50": 0.62, "speed_80": 0.62, "priority": 0.62}
"""Width of a plate in metres before a drive's own scale."""

PRINT_MARGIN = 1.1
"""Edge of a print relative to the plate's width."""

SUPERSAMPLING = 4
Ink = Sequence[float]


def sign_outline(kind: str, width: float) -> np.ndarray:
    """The plate's outline (P, 2) in metres about its middle, to the reader's right and up."""
    if kind == "yield":
        height = width * np.sqrt(3.0) / 2.0
        return np.array([[-width / 2, height / 2], [0.0, -height / 2], [width / 2, height / 2]])
    corners = {"stop": 8, "priority": 4}.get(kind, 24)
    octagon = kind == "stop"
    angle = (np.pi / 8 if octagon else 0.0) + np.arange(corners) * 2.0 * np.pi / corners
    radius = width / 2 / (np.cos(np.pi / 8) if octagon else 1.0)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * radius


def sign_face(kind: str, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """A plate's print, (size, size, 3) uint8 red green blue, with dirt."""
    red = (rng.uniform(165, 215), rng.uniform(10, 40), rng.uniform(15, 45))
    white, black = (rng.uniform(225, 250),) * 3, (20, 20, 22)
    sheet = _Print(kind, size * SUPERSAMPLING, white)
    if kind == "stop":
        sheet.outline(1.3, white)
        sheet.outline(0.92, red)
        sheet.text("STOP", 0.2, white, 4.5)
    elif kind == "yield":
        sheet.image[:] = red
        # The triangle's middle of gravity lies above its middle of height.
        sheet.outline(0.58, white, (0.0, -0.06 * size * SUPERSAMPLING))
    elif kind == "priority":
        for scale, ink in ((1.3, white), (0.86, black), (0.8, white)):
            sheet.outline(scale, ink)
        sheet.outline(0.62, (rng.uniform(235, 250), rng.uniform(175, 205), rng.uniform(10, 50)))
    else:
        sheet.image[:] = red
        sheet.disc(0.345, white)
        sheet.text(kind.split("_")[1], 0.32, black, 5.0)
    image = cv2.resize(sheet.image, (size, size), interpolation=cv2.INTER_AREA)
    dirt = 1.0 - 0.12 * np.clip(noise(rng, size, 4, 4), 0.0, 1.0)[..., None] * rng.uniform(0.0, 2.0)
    return np.clip(image * dirt * rng.uniform(0.85, 1.0), 0, 255).astype(np.uint8)


class _Print:
    """A square sheet to draw a sign on; positions and sizes are shares of its edge."""

    def __init__(self, kind: str, edge: int, paper: Ink) -> None:
        self.image = np.full((edge, edge, 3), np.uint8(paper[0]), np.uint8)
        metre = edge / (SIGN_WIDTHS[kind] * PRINT_MARGIN)
        self._edge = edge
        self._outline = sign_outline(kind, SIGN_WIDTHS[kind]) * metre * [1.0, -1.0]

    def outline(self, scale: float, ink: Ink, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        """Fill the plate's own outline, scaled about the middle; ``shift`` in pixels."""
        corners = self._outline * scale + self._edge / 2 + shift
        cv2.fillPoly(self.image, [np.round(corners).astype(np.int32)], ink, cv2.LINE_AA)

    def disc(self, radius: float, ink: Ink) -> None:
        """Fill a circle in the middle."""
        cv2.circle(self.image, (self._edge // 2, self._edge // 2), int(radius * self._edge), ink, -1, cv2.LINE_AA)

    def text(self, word: str, height: float, ink: Ink, weight: float) -> None:
        """Write a word into the middle."""
        font, thickness = cv2.FONT_HERSHEY_DUPLEX, int(weight * SUPERSAMPLING)
        (_, tall), _ = cv2.getTextSize(word, font, 1.0, 1)
        scale = height * self._edge / tall
        (wide, tall), _ = cv2.getTextSize(word, font, scale, thickness)
        origin = (int(self._edge / 2 - wide / 2), int(self._edge / 2 + tall / 2))
        cv2.putText(self.image, word, origin, font, scale, ink, thickness, cv2.LINE_AA)
