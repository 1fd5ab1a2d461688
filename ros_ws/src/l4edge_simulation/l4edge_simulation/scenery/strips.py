"""Ribbons along the main road and along side roads."""

from collections.abc import Sequence

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh, ribbon
from l4edge_simulation.world.layout import CROSSWALK_WIDTH, SIDE_ROAD_HALF, Layout


def strip(
    layout: Layout,
    start: float,
    end: float,
    profile: Sequence[tuple[float, float]],
    step: float = 2.0,
    scale: float = 1.0,
) -> Mesh:
    """A ribbon along the main road.

    Args:
        start, end: stations. step: metres between its cross-sections.
        profile: (d, height) from right to left.
        scale: metres that one unit of texture coordinates covers.
    """
    stations = np.linspace(start, end, max(2, int(np.ceil((end - start) / step)) + 1))
    across = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(np.array(profile), axis=0).T))])
    lines = []
    for d, height in profile:
        x, y, _ = layout.road.pose(stations, d)
        lines.append(np.column_stack([x, y, np.full(len(stations), height)]))
    return ribbon(lines, stations / scale, across / scale)


def side_strip(
    layout: Layout,
    s: float,
    ends: tuple[float, float],
    across: tuple[float, float],
    height: float,
    scale: float = 1.0,
) -> Mesh:
    """A flat ribbon along the side road at station ``s``.

    Args:
        ends: ``d`` where it begins and ends. across: its edges, metres along the main road from ``s``.
    """
    x, y, yaw = layout.road.pose(s, 0.0)
    d = np.linspace(*ends, max(2, int(abs(ends[1] - ends[0]) / 4.0)))
    edges = sorted(across, reverse=True)
    lines = [
        np.column_stack(
            [
                x + edge * np.cos(yaw) - d * np.sin(yaw),
                y + edge * np.sin(yaw) + d * np.cos(yaw),
                np.full(len(d), height),
            ]
        )
        for edge in edges
    ]
    return upward(ribbon(lines, d / scale, np.array(edges[::-1]) / scale))


def upward(mesh: Mesh) -> Mesh:
    """A flat mesh turned so that it is seen from above."""
    corners = mesh.vertices[mesh.faces[0]]
    if np.cross(corners[1] - corners[0], corners[2] - corners[0])[2] >= 0:
        return mesh
    return Mesh(mesh.vertices, mesh.faces[:, ::-1], mesh.uv, mesh.flat)


def free_ranges(layout: Layout, margin: float, walks: bool) -> list[tuple[float, float]]:
    """Stretches of the main road without side roads and, with ``walks``, without crosswalks."""
    half = SIDE_ROAD_HALF + margin
    blocked = [(junction.s - half, junction.s + half) for junction in layout.junctions]
    if walks:
        half = CROSSWALK_WIDTH / 2 + 0.3
        blocked += [(walk.s - half, walk.s + half) for walk in layout.crosswalks]
    start, ranges = 0.0, []
    for low, high in sorted(blocked):
        if low > start + 1.0:
            ranges.append((start, low))
        start = max(start, high)
    return [*ranges, (start, layout.road.length)]
