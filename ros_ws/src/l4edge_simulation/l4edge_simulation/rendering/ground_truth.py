"""What is really there in an image: boxes around visible pixels, and everything else the ground truth says."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l4edge_perception.types import OBJECT_CLASSES, GroundTruth
from l4edge_simulation.rendering.assembly import Item
from l4edge_simulation.rendering.scene import Scene
from l4edge_simulation.rendering.silhouette import Silhouettes
from l4edge_simulation.world.actors import Actor

MIN_HEIGHT_PX = 8.0
MIN_WIDTH_PX = 3.0
MIN_VISIBILITY = 0.25
"""Below any of these an object is neither to be found nor to be counted as false."""

MAX_FACING_ANGLE = np.radians(70.0)
"""A sign or light seen more obliquely than this, or from behind, cannot be read and is ignored as well."""

FACING_CLASSES = ("sign", "light")


class _Row(NamedTuple):
    """One object of an image."""

    identity: int
    class_id: int
    box: tuple[int, int, int, int]
    visibility: float
    position: tuple[float, float, float]
    yaw: float
    velocity: tuple[float, float]
    size: tuple[float, float, float]
    ignore: bool
    attribute: str


class Labeller:
    """Ground truth of one scene's images."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._silhouettes = Silhouettes(scene, [geom for item in scene.items for geom in item.outlines])
        self._owner = np.zeros(scene.model.ngeom + 1, np.int32)  # the last entry is for "no geom"
        for number, item in enumerate(scene.items, start=1):
            self._owner[item.geoms] = number

    def label(self, stamp_ns: int, geoms: np.ndarray, actors: dict[str, Actor]) -> GroundTruth:
        """Ground truth of an image as the scene is posed.

        Args:
            geoms: (H, W) geom id of each pixel, -1 for none. actors: what moves, by key.
        """
        owners = self._owner[geoms]
        counts = np.bincount(owners.ravel(), minlength=len(self._scene.items) + 1)
        places = ndimage.find_objects(owners, max_label=len(self._scene.items))
        rows = []
        for number, (item, place) in enumerate(zip(self._scene.items, places, strict=True), start=1):
            if place is not None:
                box = (place[1].start, place[0].start, place[1].stop, place[0].stop)
                rows.append(self._row(item, box, int(counts[number]), actors))
        return _table(stamp_ns, rows)

    def _row(self, item: Item, box: tuple[int, int, int, int], visible: int, actors: dict[str, Actor]) -> _Row:
        member, actor = item.member, actors.get(item.member.key)
        width, height = box[2] - box[0], box[3] - box[1]
        # What is too small needs no silhouette to be ignored.
        own = self._silhouettes.area(item.outlines) if height >= MIN_HEIGHT_PX else visible
        visibility = min(1.0, visible / max(own, 1))
        readable = member.shape.class_name not in FACING_CLASSES or self._faces(item)
        return _Row(
            identity=actor.identity if actor else member.identity,
            class_id=OBJECT_CLASSES.index(member.shape.class_name),
            box=box,
            visibility=visibility,
            position=(actor.x, actor.y, actor.z) if actor else member.position,
            yaw=actor.yaw if actor else member.yaw,
            velocity=actor.velocity if actor else (0.0, 0.0),
            size=member.shape.size,
            ignore=height < MIN_HEIGHT_PX or width < MIN_WIDTH_PX or visibility < MIN_VISIBILITY or not readable,
            attribute=self._scene.light_state(member.light) if member.light >= 0 else member.attribute,
        )

    def _faces(self, item: Item) -> bool:
        towards = self._scene.map_from_camera[:2, 3] - np.array(item.member.position[:2])
        front = np.array([np.cos(item.member.yaw), np.sin(item.member.yaw)])
        return bool(front @ towards > np.cos(MAX_FACING_ANGLE) * np.linalg.norm(towards))


def _table(stamp_ns: int, rows: list[_Row]) -> GroundTruth:
    count = len(rows)
    yaws = np.array([row.yaw for row in rows], np.float64)
    return GroundTruth(
        stamp_ns=stamp_ns,
        ids=np.array([row.identity for row in rows], np.int64),
        class_ids=np.array([row.class_id for row in rows], np.int32),
        boxes=np.array([row.box for row in rows], np.float32).reshape(count, 4),
        visibilities=np.array([row.visibility for row in rows], np.float32),
        positions=np.array([row.position for row in rows], np.float64).reshape(count, 3),
        yaws=(yaws + np.pi) % (2.0 * np.pi) - np.pi,
        velocities=np.array([row.velocity for row in rows], np.float64).reshape(count, 2),
        sizes=np.array([row.size for row in rows], np.float32).reshape(count, 3),
        ignore=np.array([row.ignore for row in rows], bool),
        attributes=tuple(row.attribute for row in rows),
    )
