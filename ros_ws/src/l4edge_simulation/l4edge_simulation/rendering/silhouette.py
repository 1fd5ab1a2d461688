"""How many pixels an object would cover with nothing before it, without rendering it alone."""

from typing import Any

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.rendering.scene import Scene

NEAREST_M = 0.3  # points nearer to the camera, or behind it, are left out
LIMIT_PX = 4000.0
SUBPIXEL_BITS = 4
SUPERSAMPLING = 3  # OpenCV fills the border's pixels as well, which would make thin limbs too thick


class Silhouettes:
    """Projects objects that are made of convex pieces, nearly: the union of the pieces' projected convex hulls.

    Args:
        scene: as it is posed when :meth:`area` is called.
        geoms: ids of all geoms that will be asked for.
    """

    def __init__(self, scene: Scene, geoms: list[int]) -> None:
        self._scene = scene
        self._intrinsics = scene.camera.intrinsics()
        meshes: dict[int, list[np.ndarray]] = {}
        self._pieces = {geom: convex_pieces(scene.model, geom, meshes) for geom in geoms}

    def area(self, geoms: list[int]) -> int:
        """Pixels inside the image that the geoms cover."""
        hulls = [hull for geom in geoms for hull in self._hulls(geom)]
        if not hulls:
            return 0
        corners = np.concatenate(hulls)
        size = [self._scene.camera.width, self._scene.camera.height]
        low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0)), size).astype(int)
        if (high <= low).any():
            return 0
        columns, rows = (high - low) * SUPERSAMPLING
        mask = np.zeros((rows, columns), np.uint8)
        for hull in hulls:
            # OpenCV's pixel centres are at whole numbers, this project's at halves.
            fixed = np.round(((hull - low) * SUPERSAMPLING - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
            cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, SUBPIXEL_BITS)
        return round(np.count_nonzero(mask) / SUPERSAMPLING**2)

    def _hulls(self, geom: int) -> list[np.ndarray]:
        """(P, 2) pixels around each piece of a geom that is before the camera."""
        data, pose = self._scene.data, self._scene.map_from_camera
        rotation = pose[:3, :3].T @ data.geom_xmat[geom].reshape(3, 3)
        translation = (data.geom_xpos[geom] - pose[:3, 3]) @ pose[:3, :3]
        hulls = []
        for piece in self._pieces[geom]:
            points = piece @ rotation.T + translation
            points = points[points[:, 2] > NEAREST_M]
            if len(points) > 2:
                pixels = points @ self._intrinsics.T
                pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -LIMIT_PX, LIMIT_PX)
                hulls.append(cv2.convexHull(pixels.astype(np.float32))[:, 0])
        return hulls


def convex_pieces(model: Any, geom: int, meshes: dict[int, list[np.ndarray]]) -> list[np.ndarray]:
    """Points (P, 3) of each convex piece of a geom in its own frame; ``meshes`` keeps those of meshes seen before."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        if mesh not in meshes:
            meshes[mesh] = _mesh_pieces(model, mesh)
        return meshes[mesh]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return [size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)]
    angle, height = np.meshgrid(np.arange(12) * np.pi / 6, np.linspace(-1.0, 1.0, 7))
    around = np.sqrt(np.maximum(0.0, 1.0 - height**2))
    sphere = np.stack([around * np.cos(angle), around * np.sin(angle), height], -1).reshape(-1, 3)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return [sphere * size[0]]
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return [sphere * size]
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        ends = sphere * size[0]
    else:
        ends = np.column_stack([np.cos(angle[0]), np.sin(angle[0]), np.zeros(12)]) * size[0]
    return [np.concatenate([ends + [0.0, 0.0, size[1]], ends - [0.0, 0.0, size[1]]])]


def _mesh_pieces(model: Any, mesh: int) -> list[np.ndarray]:
    """The connected pieces of a mesh."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[first : first + count].astype(np.float64)
    first = model.mesh_faceadr[mesh]
    faces = model.mesh_face[first : first + model.mesh_facenum[mesh]]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    links = coo_array((np.ones(len(edges), bool), edges.T), shape=(count, count))
    pieces, labels = connected_components(links, directed=False)
    return [vertices[labels == piece] for piece in range(pieces)]
