"""Shapes and gaits of pedestrians and cyclists. Metres, x forward, origin on the ground."""

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from .geometry import Mesh, loft, torus
from .shapes import Colour, Joint, Part, Shape, capsule, contact_shadow


@dataclass(frozen=True)
class Outfit:
    """A person's colours and build.

    Attributes:
        skin, hair, top, trousers, shoes: colours. height: metres. stoutness: 1 for average.
        sleeves: whether arms are covered. skirt, coat, backpack, hat: whether worn. bag_colour: of backpack or bag.
    """

    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    bag_colour: Colour
    height: float
    stoutness: float
    sleeves: bool
    skirt: bool
    coat: bool
    backpack: bool
    hat: bool


def draw_outfit(rng: np.random.Generator, cloth, child_share: float = 0.12) -> Outfit:
    """Draw a person; ``cloth()`` gives a garment's colour."""
    skin = np.array([0.95, 0.76, 0.62]) * rng.uniform(0.35, 1.0)
    hair = np.array([[0.07, 0.05, 0.04], [0.25, 0.15, 0.08], [0.6, 0.45, 0.25], [0.55, 0.55, 0.55]])[
        int(rng.integers(0, 4))
    ]
    child = rng.random() < child_share
    return Outfit(
        tuple(skin), tuple(hair), cloth(), cloth(), tuple(np.full(3, rng.uniform(0.03, 0.6))), cloth(),
        float(rng.uniform(1.1, 1.4) if child else rng.normal(1.72, 0.09)),
        float(np.clip(rng.normal(1.0, 0.12), 0.8, 1.4)), bool(rng.random() < 0.7), bool(rng.random() < 0.15),
        bool(rng.random() < 0.2), bool(rng.random() < 0.22), bool(rng.random() < 0.2),
    )


def _torso(stoutness: float, scale: float) -> Mesh:
    """Hips to neck, origin at the hips' middle."""
    angle = np.arange(10) * 2.0 * np.pi / 10
    levels = [(-0.06, 0.14, 0.1), (0.0, 0.17, 0.115), (0.14, 0.15, 0.105), (0.34, 0.185, 0.12), (0.46, 0.2, 0.11),
              (0.52, 0.12, 0.08), (0.58, 0.055, 0.055)]
    rings = [
        np.column_stack([np.cos(angle) * deep * stoutness, np.sin(angle) * wide * (0.5 + 0.5 * stoutness),
                         np.full(10, height)]) * scale
        for height, wide, deep in levels
    ]
    return loft(np.array(rings))


def _cone(low: float, wide: float, high: float, narrow: float) -> Mesh:
    angle = np.arange(10) * 2.0 * np.pi / 10
    rings = [np.column_stack([np.cos(angle) * radius * 0.75, np.sin(angle) * radius, np.full(10, height)])
             for height, radius in ((low, wide), (high, narrow))]
    return loft(np.array(rings))


def _head(base: Tuple[float, float, float], scale: float, outfit: Outfit) -> List[Part]:
    x, y, z = base
    parts = [
        Part("ellipsoid", outfit.skin, size=(0.095 * scale, 0.078 * scale, 0.12 * scale), position=(x, y, z)),
        Part("ellipsoid", outfit.hair, size=(0.1 * scale, 0.087 * scale, 0.1 * scale),
             position=(x - 0.02 * scale, y, z + 0.04 * scale)),
    ]
    if outfit.hat:
        parts.append(Part("ellipsoid", outfit.bag_colour, size=(0.11 * scale, 0.1 * scale, 0.075 * scale),
                          position=(x - 0.005, y, z + 0.085 * scale)))
    return parts


def _legs(outfit: Outfit, scale: float, hip: Tuple[float, float, float], first_joint: int) -> Tuple[List, List]:
    """Two legs, each a hip and a knee joint; joints first_joint .. first_joint + 3."""
    thigh, shin = 0.44 * scale, 0.44 * scale
    joints, parts = [], []
    for side in (-1.0, 1.0):
        index = first_joint + len(joints)
        joints.append(Joint((hip[0], side * 0.09 * scale, hip[2])))
        joints.append(Joint((0.0, 0.0, -thigh), index))
        bare = outfit.skin if outfit.skirt else outfit.trousers
        parts += [
            capsule((0, 0, 0), (0, 0, -thigh), 0.075 * scale * outfit.stoutness, outfit.trousers, joint=index),
            capsule((0, 0, 0), (0, 0, -shin + 0.04), 0.052 * scale * outfit.stoutness, bare, joint=index + 1),
            Part("ellipsoid", outfit.shoes, size=(0.125 * scale, 0.048 * scale, 0.045 * scale),
                 position=(0.05 * scale, 0.0, -shin + 0.0), joint=index + 1),
        ]
    return joints, parts


def pedestrian(outfit: Outfit, shadow: float) -> Shape:
    """A person on foot. Joints: hip and knee right, hip and knee left, shoulder right, shoulder left."""
    scale = outfit.height / 1.76
    hip_height = 0.92 * scale
    joints, legs = _legs(outfit, scale, (0.0, 0.0, hip_height), 0)
    parts = [contact_shadow(0.7, 0.6, shadow),
             Part("mesh", outfit.top, mesh=_torso(outfit.stoutness, scale).moved((0.0, 0.0, hip_height))), *legs]
    sleeve = outfit.top if outfit.sleeves else outfit.skin
    for side in (-1.0, 1.0):
        joints.append(Joint((0.0, side * 0.215 * scale, hip_height + 0.46 * scale)))
        index = len(joints) - 1
        elbow = (0.03 * scale, side * 0.03, -0.28 * scale)
        wrist = (0.11 * scale, side * 0.03, -0.52 * scale)
        parts += [
            capsule((0, 0, 0), elbow, 0.048 * scale * outfit.stoutness, outfit.top, joint=index),
            capsule(elbow, wrist, 0.038 * scale * outfit.stoutness, sleeve, joint=index),
            Part("sphere", outfit.skin, size=(0.045 * scale,), position=wrist, joint=index),
        ]
    parts += _head((0.02, 0.0, hip_height + 0.7 * scale), scale, outfit)
    if outfit.skirt or outfit.coat:
        wide = 0.27 if outfit.skirt else 0.24
        parts.append(Part("mesh", outfit.trousers if outfit.skirt else outfit.top,
                          mesh=_cone(hip_height - 0.42 * scale, wide * scale, hip_height + 0.1 * scale, 0.17 * scale)))
    if outfit.backpack:
        parts.append(Part("box", outfit.bag_colour, size=(0.08 * scale, 0.14 * scale, 0.2 * scale),
                          position=(-0.2 * scale, 0.0, hip_height + 0.3 * scale)))
    return Shape("pedestrian", (0.6 * scale, 0.55 * scale, outfit.height), tuple(parts), tuple(joints))


def walking_pose(phase: float, speed: float) -> Tuple[float, ...]:
    """Angles of a pedestrian's six joints; ``phase`` rises by 2 pi per two steps, ``speed`` in metres per second."""
    swing = 0.42 * min(1.0, speed / 1.3)
    right, left = swing * np.sin(phase), -swing * np.sin(phase)
    knee = [max(0.0, 1.1 * swing * np.cos(phase + shift)) + 0.04 for shift in (0.5, np.pi + 0.5)]
    # Positive angles about +y swing a hanging limb backwards.
    return (-right, knee[0], -left, knee[1], 0.8 * right, 0.8 * left)


def cyclist(outfit: Outfit, frame: Colour, lean: float, helmet: bool, shadow: float) -> Shape:
    """A person on a bicycle. Joints: hip and knee right, hip and knee left. ``lean``: radians forward."""
    scale = outfit.height / 1.76
    radius = 0.34
    rear, front, crank = (-0.52, 0, radius), (0.53, 0, radius), (-0.08, 0, 0.3)
    seat, head = (-0.26, 0, 0.92), (0.36, 0, 0.9)
    wheel = torus(radius, 0.022, (0.0, 0.0, 0.0))
    tyre = (0.03, 0.03, 0.03)
    parts: List[Part] = [
        contact_shadow(1.8, 0.5, shadow),
        Part("mesh", tyre, mesh=wheel.moved(rear)),
        Part("mesh", tyre, mesh=wheel.moved(front)),
        capsule(crank, seat, 0.02, frame), capsule(crank, head, 0.024, frame),
        capsule((seat[0], 0, 0.84), (head[0], 0, 0.85), 0.02, frame), capsule(crank, rear, 0.016, frame),
        capsule(rear, (seat[0], 0, 0.84), 0.014, frame), capsule(front, (head[0], 0, 0.98), 0.02, frame),
        capsule((head[0], -0.26, 1.0), (head[0], 0.26, 1.0), 0.018, tyre),
        Part("box", tyre, size=(0.13, 0.07, 0.03), position=(seat[0], 0.0, 0.94)),
        Part("cylinder", tyre, size=(0.09, 0.01), ends=(crank[0], -0.04, crank[2], crank[0], 0.04, crank[2])),
        Part("box", (0.6, 0.02, 0.02), "dim", size=(0.02, 0.03, 0.025), position=(-0.6, 0.0, 0.7)),
    ]
    hip = (seat[0] + 0.02, 0.0, 0.99)
    joints, legs = _legs(outfit, scale, hip, 0)
    parts += legs
    torso = _torso(outfit.stoutness, scale)
    turn = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    parts.append(Part("mesh", outfit.top, mesh=Mesh(torso.vertices @ turn.T + hip, torso.faces)))
    shoulder = np.array(hip) + turn @ np.array([0.0, 0.0, 0.46 * scale])
    sleeve = outfit.top if outfit.sleeves else outfit.skin
    for side in (-1.0, 1.0):
        start = shoulder + [0.0, side * 0.2 * scale, 0.0]
        hand = np.array([head[0] - 0.02, side * 0.24, 1.03])
        elbow = (start + hand) / 2 + [-0.02, side * 0.05, -0.06]
        parts += [capsule(start, elbow, 0.046 * scale, outfit.top), capsule(elbow, hand, 0.038 * scale, sleeve)]
    top = np.array(hip) + turn @ np.array([0.04, 0.0, 0.68 * scale]) + [0.03, 0.0, 0.02]
    parts += _head(tuple(top), scale, outfit)
    if helmet:
        parts.append(Part("ellipsoid", frame, "paint", size=(0.14 * scale, 0.1 * scale, 0.09 * scale),
                          position=(top[0] - 0.01, 0.0, top[2] + 0.08 * scale)))
    if outfit.backpack:
        middle = shoulder - turn @ np.array([0.2, 0.0, 0.2])
        parts.append(Part("box", outfit.bag_colour, size=(0.08, 0.14, 0.19), position=tuple(middle), pitch=lean))
    height = float(top[2] + 0.16 * scale)
    return Shape("cyclist", (1.78, 0.6, height), tuple(parts), tuple(joints))


def pedalling_pose(phase: float) -> Tuple[float, ...]:
    """Angles of a cyclist's four joints; ``phase`` is the crank's."""
    angles: List[float] = []
    for shift in (0.0, np.pi):
        lift = np.sin(phase + shift)
        hip = -(0.85 + 0.38 * lift)
        angles += [hip, 1.15 + 0.45 * lift]
    return tuple(angles)
