"""Designs of lorries and buses."""

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh, box, cylinder, loft, merged, quad
from l4edge_simulation.shapes.vehicles import Design, body, both_sides, number_plates, wheels

# Length, width and height in metres before the design's own variation.
MEASURES = {
    "box": (7.5, 2.4, 3.2),
    "tipper": (7.0, 2.45, 2.9),
    "tanker": (8.5, 2.45, 3.2),
    "trailer": (13.5, 2.5, 3.7),
    "bus": (11.5, 2.5, 3.0),
}
FLOOR = 0.55


def truck(kind: str, rng: np.random.Generator) -> Design:
    """Draw a design; ``kind`` is a key of ``MEASURES``."""
    spans = ((0.9, 1.1), (0.97, 1.03), (0.93, 1.05))
    length, width, height = (value * rng.uniform(*span) for value, span in zip(MEASURES[kind], spans, strict=True))
    back, front, half = -length / 2, length / 2, width / 2
    if kind == "bus":
        painted, glass = _bus(length, width, height)
        second: tuple[Mesh, ...] = ()
        axles: tuple[float, ...] = (back + length * 0.25, front - 2.4)
    else:
        cab_length = rng.uniform(1.8, 2.2)
        cab_height = min(height, rng.uniform(2.4, 3.0))
        painted, glass = _cab(front, width, cab_length, cab_height)
        start = front - cab_length - rng.uniform(0.1, 0.4)
        cargo = _cargo(kind, rng, (back, start), width, height)
        second = (cargo,)
        height = max(cab_height, float(cargo.vertices[:, 2].max()))
        axles = (back + 1.0, back + 2.3, front - 1.3) if length > 8.0 else (back + 1.5, front - 1.3)
    tyres, coarse, hubs = wheels(axles, half - 0.02, 0.46 if kind == "bus" else 0.48, 0.32)
    trim = [
        *tyres,
        box((length - 0.5, width * 0.5, 0.3), (-0.1, 0.0, FLOOR + 0.05)),
        box((0.12, width * 0.92, 0.25), (front - 0.05, 0.0, FLOOR - 0.1)),
        box((0.08, width * 0.9, 0.15), (back + 0.06, 0.0, FLOOR - 0.05)),
        box((0.15, 0.12, 0.4), (front - 0.3, half + 0.1, height * 0.6)),
        box((0.15, 0.12, 0.4), (front - 0.3, -half - 0.1, height * 0.6)),
    ]
    head_lamps = [box((0.1, 0.35, 0.18), (front - 0.03, side * half * 0.72, FLOOR + 0.2)) for side in (-1, 1)]
    tail_lamps = [box((0.1, 0.28, 0.16), (back, side * half * 0.78, FLOOR + 0.12)) for side in (-1, 1)]
    return Design(
        class_name="truck",
        size=(length, width, height),
        painted=(painted,),
        second=second,
        glass=glass,
        trim=merged(trim),
        coarse_trim=coarse,
        hubs=hubs,
        front_lamps=merged(head_lamps),
        rear_lamps=merged(tail_lamps),
        plates=number_plates((front + 0.025, FLOOR), (back - 0.06, FLOOR - 0.02)),
    )


def _bus(length: float, width: float, height: float) -> tuple[Mesh, Mesh]:
    """Body and panes."""
    back, front, half = -length / 2, length / 2, width / 2
    shell = body(
        [
            (back, 0.95, FLOOR - 0.1, height - 0.15),
            (back + 0.1, 1.0, FLOOR - 0.2, height),
            (front - 0.12, 1.0, FLOOR - 0.2, height),
            (front, 0.95, FLOOR - 0.1, height - 0.25),
        ],
        width,
    )
    low, high, y = height * 0.42, height * 0.82, half + 0.01
    panes = []
    count = int(length // 1.6)
    pitch = (length - 0.8) / count
    for index in range(count):
        x = back + 0.4 + index * pitch
        panes += both_sides(
            np.array([[x, y, low], [x + pitch - 0.12, y, low], [x + pitch - 0.12, y, high], [x, y, high]])
        )
    x, y = front + 0.015, half * 0.88
    panes.append(quad(np.array([[x, -y, low * 0.9], [x, y, low * 0.9], [x, y, high], [x, -y, high]])))
    x, y = back - 0.01, half * 0.8
    panes.append(quad(np.array([[x, y, low * 1.1], [x, -y, low * 1.1], [x, -y, high], [x, y, high]])))
    return shell, merged(panes)


def _cab(front: float, width: float, length: float, height: float) -> tuple[Mesh, Mesh]:
    """A lorry's cab and its panes."""
    half = width / 2
    shell = body(
        [
            (front - length, 0.95, FLOOR, height),
            (front - 0.5, 0.97, FLOOR - 0.15, height),
            (front - 0.12, 0.95, FLOOR - 0.2, height * 0.66),
            (front, 0.9, FLOOR - 0.1, height * 0.55),
        ],
        width,
    )
    low, high = height * 0.6, height * 0.9
    bottom = np.array([front - 0.07, half * 0.82, height * 0.68])
    top = np.array([front - 0.39, half * 0.8, high + 0.1])
    panes = [quad(np.array([bottom * [1, -1, 1], bottom, top, top * [1, -1, 1]]))]
    y = half * 0.985
    side = [[front - 1.35, y, low], [front - 0.5, y, low], [front - 0.62, y, high], [front - 1.35, y, high]]
    return shell, merged(panes + both_sides(np.array(side)))


def _cargo(kind: str, rng: np.random.Generator, span: tuple[float, float], width: float, height: float) -> Mesh:
    """What a lorry carries between x = span[0] and span[1]."""
    long, middle, half = span[1] - span[0], (span[0] + span[1]) / 2, width / 2
    if kind in ("box", "trailer"):
        return box((long, width, height - FLOOR - 0.25), (middle, 0.0, (height + FLOOR + 0.25) / 2))
    if kind == "tipper":
        tall = rng.uniform(1.1, 1.5)
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        rings = []
        for reach, z in (((long / 2 - 0.2, half - 0.15), FLOOR + 0.3), ((long / 2, half), FLOOR + 0.3 + tall)):
            rings.append(np.column_stack([square * reach + [middle, 0.0], np.full(4, z)]))
        return loft(np.array(rings))
    radius = min(half, (height - FLOOR - 0.3) / 2)
    tank = cylinder(radius, long, (0.0, 0.0, 0.0), 18)
    lying = tank.vertices[:, [1, 0, 2]] * [1.0, -1.0, 1.0]
    return Mesh(lying + [middle, 0.0, FLOOR + 0.3 + radius], tank.faces)
