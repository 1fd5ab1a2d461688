"""Designs of passenger cars and vans."""

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh, box, loft, merged, quad
from l4edge_simulation.shapes.vehicles import Design, body, both_sides, number_plates, wheels

# Length, width, height and clearance in metres before the design's own variation.
MEASURES = {
    "sedan": (4.65, 1.83, 1.44, 0.2),
    "hatchback": (4.0, 1.76, 1.48, 0.19),
    "estate": (4.7, 1.83, 1.48, 0.2),
    "suv": (4.55, 1.88, 1.68, 0.27),
    "van": (5.1, 1.98, 2.1, 0.24),
}
COWLS = {"sedan": 0.28, "hatchback": 0.25, "estate": 0.27, "suv": 0.27, "van": 0.17}  # hood's share of the length
CABIN_REARS = {"sedan": 0.62, "hatchback": 0.08, "estate": 0.08, "suv": 0.1, "van": 0.05}  # cabin behind the tail
ROOF_REARS = {"sedan": 0.62, "hatchback": 0.5, "estate": 0.3, "suv": 0.35, "van": 0.1}  # roof behind the cabin's rear


def car(kind: str, rng: np.random.Generator) -> Design:
    """Draw a design; ``kind`` is a key of ``MEASURES``."""
    length, width, height, clearance = MEASURES[kind]
    length, width, height = (value * rng.uniform(0.94, 1.06) for value in (length, width, height))
    back, front, half = -length / 2, length / 2, width / 2
    belt = height * (0.52 if kind == "van" else 0.63) * rng.uniform(0.97, 1.03)
    hood = belt - rng.uniform(0.0, 0.06)
    nose = hood - rng.uniform(0.08, 0.2)
    cowl = front - length * COWLS[kind]
    tail = belt + (0.02 if kind == "sedan" else 0.0)
    lower = body(
        [
            (back, 0.84, clearance + 0.2, tail - 0.14),
            (back + 0.06, 0.93, clearance + 0.06, tail - 0.04),
            (back + 0.35, 0.99, clearance, tail),
            (back + length * 0.4, 1.0, clearance, belt),
            (cowl, 1.0, clearance, belt),
            (cowl + 0.12, 0.99, clearance, hood),
            (front - 0.35, 0.97, clearance, (hood + nose) / 2),
            (front - 0.07, 0.91, clearance + 0.03, nose),
            (front, 0.8, clearance + 0.15, nose - 0.15),
        ],
        width,
    )
    rake = rng.uniform(0.65, 0.9)
    narrowing = 0.86 if kind == "van" else rng.uniform(0.74, 0.82)
    rear = back + CABIN_REARS[kind]
    base = (rear, cowl + 0.1, half * 0.93)
    roof = (rear + ROOF_REARS[kind], cowl + 0.1 - (0.55 if kind == "van" else rake), half * narrowing)
    shell, glass = _cabin(base, roof, (belt - 0.03, height))
    axles = (back + length * 0.19, front - length * 0.185)
    tyres, coarse, hubs = wheels(axles, half, {"suv": 0.36, "van": 0.34}.get(kind, 0.315), 0.21)
    grille = rng.uniform(0.4, 0.6)
    trim = [
        *tyres,
        box((0.1, width * 0.86, 0.14), (front - 0.05, 0.0, clearance + 0.1)),
        box((0.1, width * 0.86, 0.14), (back + 0.05, 0.0, clearance + 0.1)),
        box((0.05, width * grille, 0.14), (front - 0.03, 0.0, nose - 0.2)),
        box((0.14, 0.08, 0.1), (cowl - 0.25, half + 0.06, belt + 0.05)),
        box((0.14, 0.08, 0.1), (cowl - 0.25, -half - 0.06, belt + 0.05)),
    ]
    lamp_z, tail_z = nose - rng.uniform(0.14, 0.2), tail - rng.uniform(0.17, 0.25)
    tail_height = rng.uniform(0.12, 0.18) if kind == "sedan" else rng.uniform(0.14, 0.34)
    head_lamps = [box((0.12, 0.32, 0.13), (front - 0.1, side * half * 0.68, lamp_z)) for side in (-1, 1)]
    tail_lamps = [box((0.1, 0.26, tail_height), (back + 0.05, side * half * 0.74, tail_z)) for side in (-1, 1)]
    return Design(
        class_name="car",
        size=(length, width, height),
        painted=(lower, shell),
        second=(),
        glass=glass,
        trim=merged(trim),
        coarse_trim=coarse,
        hubs=hubs,
        front_lamps=merged(head_lamps),
        rear_lamps=merged(tail_lamps),
        plates=number_plates((front + 0.012, clearance + 0.2), (back - 0.012, tail_z - 0.1)),
    )


def _cabin(
    base: tuple[float, float, float], roof: tuple[float, float, float], heights: tuple[float, float]
) -> tuple[Mesh, Mesh]:
    """The greenhouse and its panes; base and roof are (rear x, front x, half width) at the two heights."""

    def level(share: float) -> np.ndarray:
        """Rear, front, half width and height between base (0) and roof (1)."""
        return np.array([*base, heights[0]]) * (1.0 - share) + np.array([*roof, heights[1]]) * share

    rings = []
    for share in (0.0, 0.55, 0.93, 1.0):
        rear, front, half, z = level(share)
        inset = 0.05 if share == 1.0 else 0.0  # rounds the roof's edge
        rear, front, half = rear + inset, front - inset, half - inset
        cut, corner = 0.09, 0.09 * 1.5
        right = [(rear, -half + corner), (rear + cut, -half), (front - cut, -half), (front, -half + corner)]
        ring = right[2:] + [(x, -y) for x, y in reversed(right)] + right[:2]
        rings.append([(x, y, z) for x, y in ring])

    def at(along: float, share: float) -> np.ndarray:
        """A point just outside the left side."""
        rear, front, half, z = level(share)
        return np.array([rear + (front - rear) * along, half + 0.008, z])

    low, high = 0.08, 0.86
    panes = []
    for first, last in ((0.07, 0.45), (0.5, 0.93)):
        panes += both_sides(np.array([at(first, low), at(last, low), at(last, high), at(first, high)]))
    for along, facing in ((1.0, 1.0), (0.0, -1.0)):
        bottom, top = at(along, low), at(along, high)
        corners = np.array([bottom * [1, -0.86, 1], bottom * [1, 0.86, 1], top * [1, 0.84, 1], top * [1, -0.84, 1]])
        panes.append(quad((corners if facing > 0 else corners[::-1]) + [facing * 0.012, 0.0, 0.0]))
    return loft(np.array(rings)), merged(panes)
