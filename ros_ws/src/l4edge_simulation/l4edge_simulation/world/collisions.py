"""Who touches whom: footprints as oriented rectangles, compared by the separating axis theorem."""

from typing import NamedTuple

import numpy as np

from l4edge_simulation.world import ego as ego_vehicle
from l4edge_simulation.world.actors import Actor, actors
from l4edge_simulation.world.state import Kind, State

PERSON_WIDTH = 0.4
EGO_KEY = "ego"


class Footprint(NamedTuple):
    """What an object covers of the ground: its key, and four corners (4, 2) in order, ``map`` frame."""

    key: str
    corners: np.ndarray


def footprints(state: State, reach: float = np.inf) -> list[Footprint]:
    """The ego's and of everything that moves within ``reach`` metres of it, with the size that traffic grants it."""
    ego = state.ego
    middle = np.array([ego.x, ego.y]) + ego_vehicle.MIDDLE_AHEAD * np.array([np.cos(ego.yaw), np.sin(ego.yaw)])
    found = [Footprint(EGO_KEY, _corners(middle, ego.yaw, ego_vehicle.LENGTH, ego_vehicle.WIDTH))]
    for actor in actors(state):
        place = np.array([actor.x, actor.y])
        if np.hypot(*(place - middle)) <= reach:
            found.append(Footprint(actor.key, _corners(place, actor.yaw, *_size(state, actor))))
    return found


def collisions(state: State, reach: float = np.inf) -> list[tuple[str, str]]:
    """Keys of all that touch each other; people among themselves do not count."""
    objects = footprints(state, reach)
    middles = np.array([footprint.corners.mean(0) for footprint in objects])
    radii = np.array([np.hypot(*(footprint.corners[0] - footprint.corners[2])) / 2 for footprint in objects])
    distances = np.linalg.norm(middles[:, None] - middles[None], axis=-1)
    near = np.triu(distances < radii[:, None] + radii[None], 1)
    return [
        (objects[one].key, objects[other].key)
        for one, other in zip(*np.nonzero(near), strict=True)
        if not (_is_person(objects[one].key) and _is_person(objects[other].key))
        and overlap(objects[one].corners, objects[other].corners)
    ]


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rectangles, (4, 2) corners in order, have a point in common."""
    for rectangle in (one, other):
        for edge in (rectangle[1] - rectangle[0], rectangle[2] - rectangle[1]):
            first, second = one @ edge, other @ edge
            if first.max() < second.min() or second.max() < first.min():
                return False
    return True


def _corners(middle: np.ndarray, yaw: float, length: float, width: float) -> np.ndarray:
    along, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2
    return middle + signs[:, :1] * length * along + signs[:, 1:] * width * left


def _is_person(key: str) -> bool:
    return key.startswith("person/")


def _size(state: State, actor: Actor) -> tuple[float, float]:
    pool, _, number = actor.key.partition("/")
    if pool == "person":
        return PERSON_WIDTH, PERSON_WIDTH
    kind: Kind = state.side_traffic[int(number)].kind if pool == "side" else state.kinds[int(pool)][int(number)]
    return kind.length, kind.width
