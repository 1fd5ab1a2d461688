"""Procedural textures of surfaces. Each is (H, W, 3) uint8, red green blue.

``family`` generators fix what a family of textures has in common; ``rng`` makes each one its own.
"""

import cv2
import numpy as np

from l4edge_simulation.appearance import hsv

FACADES = {"plain": 0.35, "brick": 0.3, "bands": 0.2, "glass": 0.15}
"""Style of a house front: its share."""


def noise(rng: np.random.Generator, size: int, coarsest: int, octaves: int, falloff: float = 0.5) -> np.ndarray:
    """Tileable fractal value noise, (size, size) float32 in about -1..1.

    Args:
        coarsest: cells along an edge of the first octave; each further octave doubles them.
        falloff: strength of an octave relative to the one before.
    """
    total = np.zeros((size, size), np.float32)
    strength, norm, cells = 1.0, 0.0, coarsest
    for _ in range(octaves):
        if cells > size:
            break
        grid = np.pad(rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32), 2, mode="wrap")
        scale = size // cells
        full = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        inner = full[2 * scale : 2 * scale + cells * scale, 2 * scale : 2 * scale + cells * scale]
        total += strength * cv2.resize(inner, (size, size))
        norm += strength
        strength *= falloff
        cells *= 2
    return total / norm


def _finish(colour: np.ndarray) -> np.ndarray:
    return np.clip(colour * 255.0, 0.0, 255.0).astype(np.uint8)


def asphalt(family: np.random.Generator, rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Road surface: grain, stains, cracks and patches."""
    base = family.uniform(0.28, 0.55)
    tint = np.array([1.0 + family.uniform(-0.05, 0.08), 1.0, 1.0 + family.uniform(-0.06, 0.06)])
    shade = base + family.uniform(0.03, 0.12) * noise(rng, size, int(family.choice([2, 4, 8])), 4)
    shade += family.uniform(0.03, 0.1) * rng.standard_normal((size, size)).astype(np.float32)
    image = _finish(shade[..., None] * tint)
    for _ in range(int(family.integers(0, 5))):
        low = rng.integers(0, size - 60, 2)
        high = low + rng.integers(30, 180, 2)
        level = int(255 * base * rng.uniform(0.6, 0.9))
        cv2.rectangle(image, tuple(map(int, low)), tuple(map(int, high)), (level, level, level), -1)
    for _ in range(int(family.integers(0, 14))):
        line = np.cumsum(rng.normal(0.0, 9.0, (30, 2)) + rng.normal(0.0, 5.0, 2), 0) + rng.uniform(0, size, 2)
        level = int(255 * base * 0.45)
        cv2.polylines(image, [line.astype(np.int32)], False, (level, level, level), 1, cv2.LINE_AA)
    return cv2.addWeighted(image, 0.8, cv2.GaussianBlur(image, (0, 0), 1.2), 0.2, 0)


def paving(family: np.random.Generator, rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Sidewalk: slabs or bricks with joints."""
    hue = hsv(family.uniform(0.02, 0.14), family.uniform(0.0, 0.3), family.uniform(0.4, 0.75))
    rows, columns = int(family.choice([2, 4, 8])), int(family.choice([2, 4, 8]))
    slab = cv2.resize(rng.uniform(-1, 1, (rows, columns)).astype(np.float32), (size, size), None, 0, 0, 0)
    shade = 1.0 + family.uniform(0.02, 0.15) * slab + 0.12 * noise(rng, size, 4, 5)
    image = shade[..., None] * np.array(hue)
    height, width = size // rows, size // columns
    for row in range(rows):
        image[row * height : row * height + 3] *= 0.7
        shift = (width // 2) * (row % 2)
        for column in range(columns):
            start = (column * width + shift) % size
            image[row * height : (row + 1) * height, start : start + 3] *= 0.7
    return _finish(image)


def terrain(family: np.random.Generator, rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Open ground: grass, dry grass, soil or gravel."""
    hue, saturation, value = [
        (0.27, 0.5, 0.38),
        (0.2, 0.45, 0.45),
        (0.12, 0.35, 0.5),
        (0.09, 0.3, 0.4),
        (0.1, 0.06, 0.55),
    ][int(family.integers(0, 5))]
    first = np.array(hsv(hue + family.uniform(-0.03, 0.03), saturation, value * family.uniform(0.8, 1.2)))
    second = np.array(hsv(hue + family.uniform(-0.06, 0.06), saturation * 0.8, value * family.uniform(0.6, 1.1)))
    share = np.clip(0.5 + 0.9 * noise(rng, size, int(family.choice([2, 4])), 6, 0.65), 0.0, 1.0)[..., None]
    image = first * share + second * (1.0 - share)
    return _finish(image * (1.0 + 0.12 * rng.standard_normal((size, size, 1))))


def foliage(family: np.random.Generator, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Leaves of trees and hedges."""
    hue = family.uniform(0.18, 0.36) if family.random() < 0.8 else family.uniform(0.03, 0.12)
    colour = np.array(hsv(hue, family.uniform(0.3, 0.7), family.uniform(0.25, 0.55)))
    shade = 1.0 + 0.7 * noise(rng, size, 8, 4, 0.9)
    return _finish(shade[..., None] * colour)


def facade(family: np.random.Generator, rng: np.random.Generator, lit: bool, size: int = 256) -> np.ndarray:
    """Two storeys of a house front with two to four bays, tileable; ``lit`` puts light into some windows."""
    earthy = family.random() < 0.8
    hue = family.uniform(0.0, 0.15) if earthy else family.random()
    wall = hsv(hue, family.uniform(0.02, 0.5 if earthy else 0.2), family.uniform(0.35, 0.95))
    image = np.empty((size, size, 3), np.float32)
    image[:] = wall
    style = str(family.choice(list(FACADES), p=list(FACADES.values())))
    if style == "brick":
        image[_mortar(size, int(family.choice([6, 8, 10])))] *= family.uniform(0.75, 1.2)
    elif style == "bands":
        image[:: int(family.choice([8, 16, 32]))] *= 0.75
    image *= 1.0 + 0.1 * noise(rng, size, 4, 5)[..., None]
    bays = int(family.choice([2, 3, 4]))
    share = (family.uniform(0.35, 0.75), family.uniform(0.4, 0.75))
    if style == "glass":
        share = (0.92, 0.85)
    frame = hsv(family.random(), family.uniform(0.0, 0.3), family.choice([0.15, 0.5, 0.95]))
    for row in range(2):
        for bay in range(bays):
            _window(image, (row + 0.55, bay + 0.5), (size / 2, size / bays), share, frame, lit, rng)
            if family.random() < 0.6:
                middle = int((bay + 0.5) * size / bays)
                low, high = (int((row + 0.55 + side * share[1] / 2) * size / 2) for side in (-1, 1))
                cv2.line(image, (middle, low), (middle, high), frame, 2)
    return _finish(image)


def _mortar(size: int, course: int) -> np.ndarray:
    """(size, size) bool: the joints of a brick wall with courses of ``course`` pixels."""
    line = np.arange(size)
    odd = (line // course % 2)[:, None]
    return (line % course == 0)[:, None] | ((line[None, :] + odd * course) % (2 * course) == 0)


def _window(
    image: np.ndarray,
    middle: tuple[float, float],
    cell: tuple[float, float],
    share: tuple[float, float],
    frame: tuple[float, float, float],
    lit: bool,
    rng: np.random.Generator,
) -> None:
    """Draw one window.

    Args:
        middle: row and column in cells. cell: height and width of one, pixels.
        share: of a cell's width and height that the window takes.
    """
    top, bottom = (int((middle[0] + side * share[1] / 2) * cell[0]) for side in (-1, 1))
    left, right = (int((middle[1] + side * share[0] / 2) * cell[1]) for side in (-1, 1))
    cv2.rectangle(image, (left - 2, top - 2), (right + 2, bottom + 2), frame, -1)
    pane = np.array([0.95, 0.85, 0.55])
    if not lit or rng.random() >= 0.3:
        pane = rng.uniform(0.08, 0.35) * np.array([0.8, 0.95, 1.1])
    # By day the sky is mirrored more strongly from above.
    slope = np.ones((bottom - top, 1, 1)) if lit else np.linspace(1.3, 0.8, bottom - top)[:, None, None]
    image[top:bottom, left:right] = pane * slope


def poster(family: np.random.Generator, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """An advertisement: colour fields, blobs and lines of writing; nothing that looks like a traffic sign."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = np.multiply(hsv(family.random(), family.uniform(0.1, 0.9), family.uniform(0.3, 1.0)), 255)
    for _ in range(int(rng.integers(2, 6))):
        colour = np.multiply(hsv(rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.1, 1.0)), 255).tolist()
        if rng.random() < 0.5:
            corner = rng.integers(0, size, 2)
            cv2.rectangle(image, tuple(map(int, corner)), tuple(map(int, corner + rng.integers(8, 60, 2))), colour, -1)
        else:
            axes = tuple(map(int, rng.integers(6, 40, 2)))
            cv2.ellipse(image, tuple(map(int, rng.integers(0, size, 2))), axes, 30.0, 0, 360, colour, -1)
    words = ["SALE", "cafe", "TAXI", "open", "MARKT", "50%", "NEW", "hotel", "stop & go", "24h"]
    ink = np.multiply(hsv(rng.random(), 0.3, float(rng.choice([0.05, 0.95]))), 255).tolist()
    place = (int(rng.integers(2, 30)), int(rng.integers(30, 120)))
    cv2.putText(image, str(rng.choice(words)), place, cv2.FONT_HERSHEY_DUPLEX, 1.0, ink, 2)
    return image


def number_plate(rng: np.random.Generator) -> np.ndarray:
    """A vehicle's number plate, 32 by 128."""
    paper = (235, 235, 230) if rng.random() < 0.7 else (240, 200, 60)
    image = np.full((32, 128, 3), paper, np.uint8)
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXZ0123456789"), 7))
    cv2.putText(image, letters, (6, 25), cv2.FONT_HERSHEY_DUPLEX, 0.8, (20, 20, 30), 2)
    cv2.rectangle(image, (0, 0), (127, 31), (30, 30, 30), 1)
    return image
