"""What is really there in an image: boxes around visible pixels, and everything else the ground truth says."""

from typing import Dict, List

import cv2
import numpy as np
from scipy import ndimage

from l4edge_perception.types import OBJECT_CLASSES, GroundTruth

from .graphics import mujoco
from .scene import Item, Scene
from .world import Actor

MIN_HEIGHT_PX = 8.0
MIN_WIDTH_PX = 3.0
MIN_VISIBILITY = 0.25
"""Below any of these an object is neither to be found nor to be counted as false."""

MAX_FACING_ANGLE = np.radians(70.0)
"""A sign or light seen more obliquely than this, or from behind, cannot be read and is ignored as well."""

NEAREST_M = 0.3


class Labeller:
    """Ground truth of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._owner = np.zeros(scene.model.ngeom + 1, np.int32)  # the last entry is for "no geom"
        for number, item in enumerate(scene.items, start=1):
            self._owner[item.geoms] = number
        self._corners = {geom: _hull_points(scene.model, geom) for item in scene.items for geom in item.geoms}

    def label(self, stamp_ns: int, geoms: np.ndarray, actors: Dict[str, Actor]) -> GroundTruth:
        """Ground truth from the (H, W) image of geom ids."""
        owners = self._owner[geoms]
        counts = np.bincount(owners.ravel(), minlength=len(self._scene.items) + 1)
        places = ndimage.find_objects(owners, max_label=len(self._scene.items))
        rows: List[tuple] = []
        for number, item in enumerate(self._scene.items, start=1):
            place = places[number - 1]
            if place is None:
                continue
            box = (place[1].start, place[0].start, place[1].stop, place[0].stop)
            # What is far too small needs no silhouette to be ignored.
            own = self._silhouette(item) if box[3] - box[1] >= MIN_HEIGHT_PX / 2 else counts[number]
            visibility = min(1.0, counts[number] / max(own, 1))
            rows.append((item, box, visibility))
        return self._table(stamp_ns, rows, actors)

    def _table(self, stamp_ns: int, rows: List[tuple], actors: Dict[str, Actor]) -> GroundTruth:
        found = []
        for item, box, visibility in rows:
            actor = actors.get(item.key)
            if actor is not None:
                identity, yaw = actor.identity, actor.yaw
                position, velocity = (actor.x, actor.y, actor.z), (actor.vx, actor.vy)
            else:
                identity, yaw, position, velocity = item.identity, item.yaw, item.position, (0.0, 0.0)
            ignore = (box[3] - box[1] < MIN_HEIGHT_PX or box[2] - box[0] < MIN_WIDTH_PX
                      or visibility < MIN_VISIBILITY or (item.facing and not self._faces(item)))
            found.append((identity, OBJECT_CLASSES.index(item.class_name), box, visibility, position, yaw, velocity,
                          item.size, ignore, item.attribute))
        columns = list(zip(*found)) if found else [()] * 10
        count = len(found)
        yaws = np.array(columns[5], np.float64)
        return GroundTruth(
            stamp_ns=stamp_ns,
            ids=np.array(columns[0], np.int64),
            class_ids=np.array(columns[1], np.int32),
            boxes=np.array(columns[2], np.float32).reshape(count, 4),
            visibilities=np.array(columns[3], np.float32),
            positions=np.array(columns[4], np.float64).reshape(count, 3),
            yaws=(yaws + np.pi) % (2.0 * np.pi) - np.pi,
            velocities=np.array(columns[6], np.float64).reshape(count, 2),
            sizes=np.array(columns[7], np.float32).reshape(count, 3),
            ignore=np.array(columns[8], bool),
            attributes=tuple(columns[9]),
        )

    def _faces(self, item: Item) -> bool:
        towards = self._scene.map_from_camera[:2, 3] - np.array(item.position[:2])
        front = np.array([np.cos(item.yaw), np.sin(item.yaw)])
        return bool(front @ towards > np.cos(MAX_FACING_ANGLE) * np.linalg.norm(towards))

    def _silhouette(self, item: Item) -> int:
        """Pixels inside the image that the object would cover with nothing before it.

        Each part is nearly convex, so the union of the parts' projected convex hulls is taken; nothing is rendered.
        """
        scene = self._scene
        rotation, origin = scene.map_from_camera[:3, :3], scene.map_from_camera[:3, 3]
        hulls = []
        for geom in item.geoms:
            frame = scene.data.geom_xmat[geom].reshape(3, 3)
            points = (self._corners[geom] @ frame.T + scene.data.geom_xpos[geom] - origin) @ rotation
            points = points[points[:, 2] > NEAREST_M]
            if len(points) < 3:
                continue
            pixels = points @ scene.intrinsics.T
            pixels = pixels[:, :2] / pixels[:, 2:]
            hulls.append(cv2.convexHull(np.clip(pixels, -4000.0, 4000.0).astype(np.float32))[:, 0])
        if not hulls:
            return 0
        every = np.concatenate(hulls)
        low = np.maximum(np.floor(every.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(every.max(0)), [scene.camera.width, scene.camera.height]).astype(int)
        if (high <= low).any():
            return 0
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        for hull in hulls:
            # fillConvexPoly paints the border as well; half a pixel inwards makes the area right on average.
            shifted = np.round((hull - low - 0.5) * 16.0).astype(np.int32)
            cv2.fillConvexPoly(mask, shifted, 1, cv2.LINE_8, 4)
        return int(mask.sum())


def _hull_points(model, geom: int) -> np.ndarray:
    """Points (P, 3) on a geom's surface in its own frame whose convex hull is the geom, nearly."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return model.mesh_vert[first : first + model.mesh_vertnum[mesh]].astype(np.float64)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return signs * size
    angle, height = np.meshgrid(np.arange(12) * np.pi / 6, np.linspace(-1.0, 1.0, 7))
    around = np.sqrt(np.maximum(0.0, 1.0 - height**2))
    sphere = np.stack([around * np.cos(angle), around * np.sin(angle), height], -1).reshape(-1, 3)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return sphere * size[0]
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return sphere * size
    disc = np.column_stack([np.cos(angle[0]), np.sin(angle[0]), np.zeros(12)]) * size[0]
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return np.concatenate([disc + [0, 0, size[1]], disc - [0, 0, size[1]]])
    end = sphere * size[0]
    return np.concatenate([end + [0, 0, size[1]], end - [0, 0, size[1]]])
