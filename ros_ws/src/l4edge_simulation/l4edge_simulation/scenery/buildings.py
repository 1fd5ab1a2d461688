"""Shapes of buildings, trees and fences: none of it is labelled."""

import numpy as np

from l4edge_simulation.appearance import hsv
from l4edge_simulation.shapes.geometry import Mesh, blob, box, loft, merged, quad
from l4edge_simulation.shapes.parts import Colour, Part, Shape, capsule, unlabelled

SECTION_M = 12.0  # length of one piece of fence, hedge or wall
ROOF_HUES = (0.02, 0.07, 0.6)
FENCE_HEIGHTS = {"hedge": (0.8, 1.6), "fence": (0.8, 1.3), "wall": (0.6, 1.8)}
WHITE: Colour = (1.0, 1.0, 1.0)


def building(
    rng: np.random.Generator, size: tuple[float, float, float], facades: list[str], gable_share: float
) -> Shape:
    """Draw a building; ``size``: depth, width along the road and height in metres."""
    gable = bool(rng.random() < gable_share) if gable_share > 0.0 else False
    walls, top = _walls_and_roof(size, gable, float(rng.uniform(5.5, 8.0)))
    tone = np.clip(rng.uniform(0.75, 1.0) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    hue, saturation, value = float(rng.choice(ROOF_HUES)), float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.2, 0.5))
    return unlabelled(
        Part("mesh", tuple(tone), mesh=walls, texture=str(rng.choice(facades))),
        Part("mesh", hsv(hue, saturation, value), mesh=top),
    )


def tree(rng: np.random.Generator, leaf: str) -> Shape:
    """Draw a conifer or a broad-leaved tree; ``leaf`` names its texture."""
    height = float(rng.uniform(3.5, 9.0))
    trunk = height * float(rng.uniform(0.25, 0.45))
    bark = hsv(0.08, 0.35, float(rng.uniform(0.15, 0.35)))
    parts = [capsule((0, 0, 0), (0, 0, trunk + 0.6), float(rng.uniform(0.08, 0.2)), bark)]
    shade: Colour = (float(rng.uniform(0.7, 1.0)),) * 3
    if rng.random() < 0.25:
        angle = np.arange(9) * 2 * np.pi / 9
        rings = [
            np.column_stack([np.cos(angle) * radius, np.sin(angle) * radius, np.full(9, z)])
            for radius, z in ((height * 0.22, trunk * 0.6), (height * 0.12, height * 0.7), (0.05, height))
        ]
        crowns = [loft(np.array(rings))]
    else:
        crowns = [_crown(rng, height, trunk) for _ in range(int(rng.integers(2, 5)))]
    parts += [Part("mesh", shade, mesh=mesh, texture=leaf) for mesh in crowns]
    return unlabelled(*parts)


def fence(kind: str, height: float, colour: Colour, leaf: str) -> Shape:
    """A piece of a "fence", "hedge" or "wall", along x; ``leaf`` names a hedge's texture."""
    if kind == "fence":
        rails = [box((SECTION_M, 0.05, 0.08), (0, 0, height * level)) for level in (0.45, 0.9)]
        places = np.arange(-SECTION_M / 2, SECTION_M / 2 + 0.1, 1.5)
        posts = [box((0.08, 0.08, height), (x, 0, height / 2)) for x in places]
        return unlabelled(Part("mesh", colour, mesh=merged(rails + posts)))
    size, middle = (SECTION_M / 2, 0.35 if kind == "hedge" else 0.12, height / 2), (0.0, 0.0, height / 2)
    return unlabelled(Part("box", colour, size=size, position=middle, texture=leaf if kind == "hedge" else ""))


def draw_fence_style(rng: np.random.Generator) -> tuple[str, float, Colour]:
    """Kind, height in metres and colour of the fences along one side of the road."""
    kind = str(rng.choice(list(FENCE_HEIGHTS)))
    heights = {name: float(rng.uniform(*span)) for name, span in FENCE_HEIGHTS.items()}
    if kind == "hedge":
        return kind, heights[kind], WHITE
    return kind, heights[kind], hsv(float(rng.uniform(0, 0.15)), 0.2, float(rng.uniform(0.3, 0.9)))


def _walls_and_roof(size: tuple[float, float, float], gable: bool, tile: float) -> tuple[Mesh, Mesh]:
    """Origin at the ground's middle; a texture covers ``tile`` metres, whole or half of it to a wall's edge."""
    x, y, height = size[0] / 2, size[1] / 2, size[2]
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    walls = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        wide = max(1.0, round(np.hypot(x1 - x0, y1 - y0) / tile * 2) / 2)
        tall = max(0.5, round(height / tile * 2) / 2)
        wall = np.array([[x0, y0, 0], [x1, y1, 0], [x1, y1, height], [x0, y0, height]])
        walls.append(quad(wall, np.array([[0, tall], [wide, tall], [wide, 0], [0, 0]])))
    if not gable:
        return merged(walls), box((size[0] + 0.3, size[1] + 0.3, 0.5), (0.0, 0.0, height + 0.1))
    peak = height + min(x, y) * 0.8
    rings = [[(end, -y - 0.4, height), (end, y + 0.4, height), (end, 0, peak)] for end in (-x - 0.3, x + 0.3)]
    return merged(walls), loft(np.array(rings))


def _crown(rng: np.random.Generator, height: float, trunk: float) -> Mesh:
    """One ball of leaves."""
    wide = height * rng.uniform(0.16, 0.28)
    radii = (wide, wide, wide * rng.uniform(0.7, 1.2))
    middle = (rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), trunk + rng.uniform(0.3, 0.6) * height)
    return blob(radii, middle, rng.uniform(0.82, 1.12, (6, 10)))
