"""Procedural textures: ground, facades, posters and the sky. Each is (H, W, 3) uint8, red green blue."""

from typing import Sequence, Tuple

import cv2
import numpy as np

from .appearance import Look, hsv


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
        (0.27, 0.5, 0.38), (0.2, 0.45, 0.45), (0.12, 0.35, 0.5), (0.09, 0.3, 0.4), (0.1, 0.06, 0.55)
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
    """Two storeys by three bays of a house front, tileable; ``lit`` puts light into some windows."""
    earthy = family.random() < 0.8
    wall = np.array(hsv(family.uniform(0.0, 0.15) if earthy else family.random(),
                        family.uniform(0.02, 0.5 if earthy else 0.2), family.uniform(0.35, 0.95)))
    image = np.empty((size, size, 3), np.float32)
    image[:] = wall
    style = family.choice(["plain", "brick", "bands", "glass"], p=[0.35, 0.3, 0.2, 0.15])
    if style == "brick":
        course = int(family.choice([6, 8, 10]))
        rows = np.arange(size) // course
        mortar = (np.arange(size) % course == 0)[:, None] | (
            (np.arange(size)[None, :] + (rows[:, None] % 2) * course) % (2 * course) == 0
        )
        image[mortar] *= family.uniform(0.75, 1.2)
    elif style == "bands":
        image[:: int(family.choice([8, 16, 32]))] *= 0.75
    image *= 1.0 + 0.1 * noise(rng, size, 4, 5)[..., None]
    rows, columns = 2, int(family.choice([2, 3, 4]))
    share_x, share_y = family.uniform(0.35, 0.75), family.uniform(0.4, 0.75)
    if style == "glass":
        share_x, share_y = 0.92, 0.85
    frame = np.array(hsv(family.random(), family.uniform(0.0, 0.3), family.choice([0.15, 0.5, 0.95])))
    for row in range(rows):
        for column in range(columns):
            width, height = size / columns, size / rows
            x0 = int((column + 0.5 - share_x / 2) * width)
            x1 = int((column + 0.5 + share_x / 2) * width)
            y0, y1 = int((row + 0.55 - share_y / 2) * height), int((row + 0.55 + share_y / 2) * height)
            cv2.rectangle(image, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), frame.tolist(), -1)
            pane = np.array([0.95, 0.85, 0.55]) if lit and rng.random() < 0.3 else rng.uniform(0.08, 0.35) * np.array(
                [0.8, 0.95, 1.1]
            )
            slope = np.linspace(1.3, 0.8, y1 - y0)[:, None, None] if not lit else 1.0
            image[y0:y1, x0:x1] = pane * slope
            if family.random() < 0.6:
                cv2.line(image, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), frame.tolist(), 2)
    return _finish(image)


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


def sky(look: Look, rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Six stacked faces of a cube map, (6 * size, size, 3): gradient, clouds, the sun's glow and a far skyline.

    The faces look along +x, -x, +z (up), -z (down), -y, +y of the map; their rows and columns run as OpenGL's cube
    maps do.
    """
    edge = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    u, v = np.meshgrid(edge, edge)
    one = np.ones_like(u)
    directions = np.stack(
        [
            np.stack([one, u, -v], -1),
            np.stack([-one, -u, -v], -1),
            np.stack([u, -v, one], -1),
            np.stack([u, v, -one], -1),
            np.stack([u, -one, -v], -1),
            np.stack([-u, one, -v], -1),
        ]
    ).reshape(6 * size, size, 3)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    elevation = directions[..., 2]
    blend = np.clip(elevation, 0.0, 1.0)[..., None] ** 0.5
    image = np.array(look.horizon) * (1.0 - blend) + np.array(look.zenith) * blend
    if look.clouds > 0.05:
        pattern = noise(rng, 512, 4, 6, 0.55)
        height = np.maximum(elevation, 0.03)
        column = ((directions[..., 0] / height * 0.07) % 1.0 * 512).astype(np.float32)
        row = ((directions[..., 1] / height * 0.07) % 1.0 * 512).astype(np.float32)
        cover = cv2.remap(pattern, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        cover = np.clip((cover + 1.4 * look.clouds - 0.6) * 1.6, 0.0, 1.0) * np.clip(elevation * 6.0, 0.0, 1.0)
        white = np.clip(np.array(look.horizon) * 1.05, 0.0, 1.0) * (0.92 + 0.08 * cover[..., None])
        image = image * (1.0 - cover[..., None]) + white * cover[..., None]
    glow = np.clip(directions @ -np.array(look.sun_direction), 0.0, 1.0)
    image += (glow**60)[..., None] * np.array(look.sun) * 0.5 + (glow**900)[..., None] * np.array(look.sun) * 2.0
    azimuth = (np.arctan2(directions[..., 1], directions[..., 0]) / (2.0 * np.pi) % 1.0 * 511).astype(np.float32)
    hills = noise(rng, 512, 8, 5)[0]
    skyline = 0.015 + 0.05 * np.clip(hills + 0.3, 0.0, 1.0)
    if rng.random() < 0.5:
        skyline = np.maximum(skyline, np.repeat(rng.uniform(-0.02, 0.07, 128), 4))
    far = np.array(look.horizon) * rng.uniform(0.45, 0.85) * np.array([0.92, 0.97, 1.0])
    below = elevation < skyline.astype(np.float32)[azimuth.astype(int)]
    return _finish(np.where(below[..., None], far, image))


SIGN_KINDS = ("stop", "yield", "speed_30", "speed_50", "speed_80", "priority")
"""What a sign can mean; the words of ``GroundTruth.attributes``."""

SIGN_WIDTHS = {"stop": 0.75, "yield": 0.85, "speed_30": 0.62, "speed_50": 0.62, "speed_80": 0.62, "priority": 0.62}
"""Width of a plate in metres before a drive's own scale."""


def sign_outline(kind: str, width: float) -> np.ndarray:
    """The plate's outline (P, 2) in metres about its centre, x right and y up as a driver sees it."""
    if kind == "yield":
        height = width * np.sqrt(3.0) / 2.0
        return np.array([[-width / 2, height / 2], [0.0, -height / 2], [width / 2, height / 2]])
    corners = {"stop": 8, "priority": 4}.get(kind, 24)
    offset = {"stop": np.pi / 8, "priority": 0.0}.get(kind, 0.0)
    angle = offset + np.arange(corners) * 2.0 * np.pi / corners
    radius = width / 2 / (np.cos(np.pi / 8) if kind == "stop" else 1.0)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * radius


def sign_face(kind: str, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """A plate's print; the texture's edge is the plate's width times 1.1."""
    scale, big = 4, size * 4
    red = (rng.uniform(165, 215), rng.uniform(10, 40), rng.uniform(15, 45))
    white, black = (rng.uniform(225, 250),) * 3, (20, 20, 22)
    image = np.full((big, big, 3), np.uint8(white[0]), np.uint8)
    centre = np.array([big / 2, big / 2])
    metre = big / (SIGN_WIDTHS[kind] * 1.1)

    def polygon(factor: float, colour: Sequence[float], shift: Tuple[float, float] = (0.0, 0.0)) -> None:
        outline = sign_outline(kind, SIGN_WIDTHS[kind]) * factor * metre * [1.0, -1.0] + centre + shift
        cv2.fillPoly(image, [np.round(outline).astype(np.int32)], colour, cv2.LINE_AA)

    def text(word: str, height: float, colour: Sequence[float], weight: float) -> None:
        font = cv2.FONT_HERSHEY_DUPLEX
        thickness = int(weight * scale)
        (_, tall), _ = cv2.getTextSize(word, font, 1.0, 1)
        factor = height * big / tall
        (wide, tall), _ = cv2.getTextSize(word, font, factor, thickness)
        origin = (int(big / 2 - wide / 2), int(big / 2 + tall / 2))
        cv2.putText(image, word, origin, font, factor, colour, thickness, cv2.LINE_AA)

    if kind == "stop":
        polygon(1.3, white)
        polygon(0.92, red)
        text("STOP", 0.2, white, 4.5)
    elif kind == "yield":
        image[:] = red
        # The triangle's middle of gravity lies above its middle of height.
        polygon(0.58, white, (0.0, -0.06 * big))
    elif kind == "priority":
        polygon(1.3, white)
        polygon(0.86, black)
        polygon(0.8, white)
        polygon(0.62, (rng.uniform(235, 250), rng.uniform(175, 205), rng.uniform(10, 50)))
    else:
        image[:] = red
        cv2.circle(image, (big // 2, big // 2), int(0.345 * big), white, -1, cv2.LINE_AA)
        text(kind.split("_")[1], 0.32, black, 5.0)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    dirt = 1.0 - 0.12 * np.clip(noise(rng, size, 4, 4), 0.0, 1.0)[..., None] * rng.uniform(0.0, 2.0)
    return np.clip(image * dirt * rng.uniform(0.85, 1.0), 0, 255).astype(np.uint8)
