"""Procedural triangle meshes: lofts, prisms, ribbons. Pure numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles seen from outside counter-clockwise.

    Attributes:
        vertices: (N, 3) float64, metres. faces: (M, 3) int. uv: (N, 2) texture coordinates, or None.
        flat: an open surface without a volume.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    flat: bool = False

    def moved(self, offset: Sequence[float]) -> "Mesh":
        """The mesh shifted by ``offset``."""
        return Mesh(self.vertices + np.asarray(offset, float), self.faces, self.uv, self.flat)


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """All meshes as one; texture coordinates survive when every part has them."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    with_uv = all(mesh.uv is not None for mesh in meshes)
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.uv for mesh in meshes]) if with_uv else None,
        any(mesh.flat for mesh in meshes),
    )


def loft(rings: np.ndarray) -> Mesh:
    """The closed body through R rings of P points each, (R, P, 3), with both ends capped."""
    rings = np.asarray(rings, float)
    count, points = rings.shape[:2]
    vertices = np.concatenate([rings.reshape(-1, 3), rings[0].mean(0)[None], rings[-1].mean(0)[None]])
    faces = []
    for ring in range(count - 1):
        for point in range(points):
            after = (point + 1) % points
            a, b = ring * points + point, ring * points + after
            faces += [[a, b, b + points], [a, b + points, a + points]]
    for point in range(points):
        after = (point + 1) % points
        faces.append([count * points, after, point])
        faces.append([count * points + 1, (count - 1) * points + point, (count - 1) * points + after])
    mesh = Mesh(vertices, np.array(faces))
    corners = vertices[mesh.faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()
    return mesh if volume > 0 else Mesh(vertices, mesh.faces[:, ::-1])


def box(size: Sequence[float], centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box of full edge lengths ``size``."""
    half = np.asarray(size, float) / 2.0
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:2]
    rings = [np.column_stack([corners, np.full(4, height)]) for height in (-half[2], half[2])]
    return loft(np.array(rings)).moved(centre)


def cylinder(radius: float, width: float, centre: Sequence[float], segments: int = 16) -> Mesh:
    """A disc of ``width`` along y, as wheels stand."""
    angle = np.arange(segments) * 2.0 * np.pi / segments
    ring = np.column_stack([np.cos(angle) * radius, np.zeros(segments), np.sin(angle) * radius])
    return loft(np.array([ring - [0.0, width / 2, 0.0], ring + [0.0, width / 2, 0.0]])).moved(centre)


def torus(radius: float, tube: float, centre: Sequence[float], segments: int = 22, sides: int = 6) -> Mesh:
    """A ring about the y axis, as a bicycle's tyre."""
    angle = np.arange(segments) * 2.0 * np.pi / segments
    around = np.arange(sides) * 2.0 * np.pi / sides
    reach = radius + tube * np.cos(around)[None, :]
    vertices = np.stack(
        [
            np.cos(angle)[:, None] * reach,
            np.broadcast_to(tube * np.sin(around), (segments, sides)),
            np.sin(angle)[:, None] * reach,
        ],
        axis=-1,
    ).reshape(-1, 3)
    faces = []
    for i in range(segments):
        for j in range(sides):
            a, b = i * sides + j, i * sides + (j + 1) % sides
            c, d = ((i + 1) % segments) * sides + j, ((i + 1) % segments) * sides + (j + 1) % sides
            faces += [[a, b, d], [a, d, c]]
    return Mesh(vertices + np.asarray(centre, float), np.array(faces)[:, ::-1])


def blob(radii: Sequence[float], centre: Sequence[float], rough: np.ndarray) -> Mesh:
    """An uneven ball with texture coordinates; ``rough`` (stacks, slices) scales the radius, 1 for a smooth ball."""
    stacks, slices = rough.shape
    tilt = np.pi * (np.arange(stacks) + 0.5) / stacks
    turn = 2.0 * np.pi * np.arange(slices) / slices
    directions = np.stack(
        [
            np.sin(tilt)[:, None] * np.cos(turn),
            np.sin(tilt)[:, None] * np.sin(turn),
            np.broadcast_to(-np.cos(tilt)[:, None], (stacks, slices)),
        ],
        -1,
    )
    body = loft(directions * rough[..., None] * np.asarray(radii, float) + np.asarray(centre, float))
    u, v = np.meshgrid(np.arange(slices) / slices * 3.0, np.arange(stacks) / stacks * 1.5)
    uv = np.concatenate([np.column_stack([u.ravel(), v.ravel()]), [[0.0, 0.0], [0.0, 1.5]]])
    return Mesh(body.vertices, body.faces, uv)


def quad(corners: np.ndarray, uv: np.ndarray | None = None) -> Mesh:
    """A flat four-corner surface, (4, 3) counter-clockwise as seen."""
    return Mesh(np.asarray(corners, float), np.array([[0, 1, 2], [0, 2, 3]]), uv, True)


def ribbon(lines: Sequence[np.ndarray], stations: np.ndarray, across: Sequence[float] | np.ndarray) -> Mesh:
    """The surface between neighbouring lines, each (K, 3), from right to left in driving direction.

    Texture coordinates are metres: ``stations`` (K,) along, ``across`` one value a line.
    """
    count = len(stations)
    vertices = np.concatenate(lines)
    uv = np.concatenate([np.column_stack([stations, np.full(count, value)]) for value in across])
    start = (np.arange(len(lines) - 1)[:, None] * count + np.arange(count - 1)[None, :]).ravel()
    faces = np.concatenate(
        [
            np.column_stack([start, start + 1, start + count + 1]),
            np.column_stack([start, start + count + 1, start + count]),
        ]
    )
    return Mesh(vertices, faces, uv, True)


def prism(outline: np.ndarray, thickness: float) -> Mesh:
    """A plate: the convex ``outline`` (P, 2) in the y-z plane, from x = 0 back to x = ``-thickness``."""
    ring = np.column_stack([np.zeros(len(outline)), outline])
    return loft(np.array([ring, ring - [thickness, 0.0, 0.0]]))


def face_plate(outline: np.ndarray, extent: float) -> Mesh:
    """The front of a plate facing +x, textured: ``extent`` is the texture's edge length in metres, centred at 0."""
    points = np.concatenate([outline.mean(0)[None], outline])
    vertices = np.column_stack([np.zeros(len(points)), points])
    # Seen from +x the image's right is +y, its bottom is -z.
    uv = np.column_stack([0.5 + points[:, 0] / extent, 0.5 - points[:, 1] / extent])
    count = len(outline)
    fan = np.array([[0, 1 + i, 1 + (i + 1) % count] for i in range(count)])
    area = np.cross(vertices[1] - vertices[0], vertices[2] - vertices[0])[0]
    return Mesh(vertices, fan if area > 0 else fan[:, ::-1], uv, True)
