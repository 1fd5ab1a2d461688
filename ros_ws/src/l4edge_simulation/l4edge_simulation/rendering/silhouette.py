"""How many pixels an object would cover with nothing before it, without rendering it alone."""

from typing import Any

import cv2
import numpy as np

from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.rendering.scene import Scene

NEAREST_M = 0.3  # points nearer to the camera, or behind it, are left out
LIMIT_PX = 4000.0
SUBPIXEL_BITS = 4


class Silhouettes:
    """Projects objects whose parts are convex, nearly: the union of the parts' projected convex hulls.

    Args:
        scene: as it is posed when :meth:`area` is called. geoms: ids of all geoms that will be asked for.
    """

    def __init__(self, scene: Scene, geoms: list[int]) -> None:
        self._scene = scene
        self._intrinsics = scene.camera.intrinsics()
        self._points = {geom: surface_points(scene.model, geom) for geom in geoms}

    def area(self, geoms: list[int]) -> int:
        """Pixels inside the image that the geoms cover."""
        hulls = [hull for hull in map(self._hull, geoms) if hull is not None]
        if not hulls:
            return 0
        corners = np.concatenate(hulls)
        size = [self._scene.camera.width, self._scene.camera.height]
        low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0)), size).astype(int)
        if (high <= low).any():
            return 0
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        for hull in hulls:
            # OpenCV's pixel centres are at whole numbers, this project's at halves.
            fixed = np.round((hull - low - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
            cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, SUBPIXEL_BITS)
        return int(mask.sum())

    def _hull(self, geom: int) -> np.ndarray | None:
        """(P, 2) pixels around a geom's image, None for what is not before the camera."""
        data, pose = self._scene.data, self._scene.map_from_camera
        points = self._points[geom] @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        points = (points - pose[:3, 3]) @ pose[:3, :3]
        points = points[points[:, 2] > NEAREST_M]
        if len(points) < 3:
            return None
        pixels = points @ self._intrinsics.T
        pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -LIMIT_PX, LIMIT_PX)
        return cv2.convexHull(pixels.astype(np.float32))[:, 0]


def surface_points(model: Any, geom: int) -> np.ndarray:
    """Points (P, 3) on a geom's surface, in its own frame, whose convex hull is the geom, nearly."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return model.mesh_vert[first : first + model.mesh_vertnum[mesh]].astype(np.float64)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    angle, height = np.meshgrid(np.arange(12) * np.pi / 6, np.linspace(-1.0, 1.0, 7))
    around = np.sqrt(np.maximum(0.0, 1.0 - height**2))
    sphere = np.stack([around * np.cos(angle), around * np.sin(angle), height], -1).reshape(-1, 3)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return sphere * size[0]
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return sphere * size
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        ends = sphere * size[0]
    else:
        ends = np.column_stack([np.cos(angle[0]), np.sin(angle[0]), np.zeros(12)]) * size[0]
    return np.concatenate([ends + [0.0, 0.0, size[1]], ends - [0.0, 0.0, size[1]]])
