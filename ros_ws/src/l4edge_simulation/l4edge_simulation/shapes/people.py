"""Shapes and gaits of pedestrians and cyclists. Metres, x forward, origin on the ground."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh, loft, torus
from l4edge_simulation.shapes.parts import Colour, Joint, Part, Point, Shape, capsule, contact_shadow

MEAN_HEIGHT = 1.76  # metres that the measures below are for; everything scales with a person's own
THIGH = SHIN = 0.44
HIP_HEIGHT = 0.92
SHOULDER = 0.46  # above the hips
TYRE: Colour = (0.03, 0.03, 0.03)
HAIR: tuple[Colour, ...] = ((0.07, 0.05, 0.04), (0.25, 0.15, 0.08), (0.6, 0.45, 0.25), (0.55, 0.55, 0.55))

WHEEL_RADIUS = 0.34
REAR_HUB, FRONT_HUB, CRANK = (-0.52, 0.0, WHEEL_RADIUS), (0.53, 0.0, WHEEL_RADIUS), (-0.08, 0.0, 0.3)
SADDLE, STEM = (-0.26, 0.0, 0.92), (0.36, 0.0, 0.9)


@dataclass(frozen=True)
class Outfit:
    """A person's colours and build.

    Attributes:
        skin, hair, top, trousers, shoes: colours. accent: of backpack and hat.
        height: metres. stoutness: 1 for average.
        sleeves: whether arms are covered. skirt, coat, backpack, hat: whether worn.
    """

    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    accent: Colour
    height: float
    stoutness: float
    sleeves: bool
    skirt: bool
    coat: bool
    backpack: bool
    hat: bool

    @property
    def scale(self) -> float:
        """Relative to a person of mean height."""
        return self.height / MEAN_HEIGHT


def draw_outfit(rng: np.random.Generator, cloth: Callable[[], Colour], child_share: float = 0.12) -> Outfit:
    """Draw a person; ``cloth()`` gives a garment's colour."""
    skin = np.array([0.95, 0.76, 0.62]) * rng.uniform(0.35, 1.0)
    hair = HAIR[int(rng.integers(0, len(HAIR)))]
    child = rng.random() < child_share
    return Outfit(
        skin=tuple(skin),
        hair=hair,
        top=cloth(),
        trousers=cloth(),
        shoes=(float(rng.uniform(0.03, 0.6)),) * 3,
        accent=cloth(),
        height=float(rng.uniform(1.1, 1.4) if child else rng.normal(1.72, 0.09)),
        stoutness=float(np.clip(rng.normal(1.0, 0.12), 0.8, 1.4)),
        sleeves=bool(rng.random() < 0.7),
        skirt=bool(rng.random() < 0.15),
        coat=bool(rng.random() < 0.2),
        backpack=bool(rng.random() < 0.22),
        hat=bool(rng.random() < 0.2),
    )


def pedestrian(outfit: Outfit, shadow: float) -> Shape:
    """A person on foot. Joints: hip and knee right, hip and knee left, shoulder right, shoulder left."""
    scale, hip = outfit.scale, HIP_HEIGHT * outfit.scale
    joints, legs = _legs(outfit, (0.0, 0.0, hip))
    torso = _torso(outfit.stoutness, scale).moved((0.0, 0.0, hip))
    parts = [contact_shadow(0.7, 0.6, shadow), Part("mesh", outfit.top, mesh=torso), *legs]
    sleeve = outfit.top if outfit.sleeves else outfit.skin
    for side in (-1.0, 1.0):
        joints.append(Joint((0.0, side * 0.215 * scale, hip + SHOULDER * scale)))
        index = len(joints) - 1
        elbow = (0.03 * scale, side * 0.03, -0.28 * scale)
        wrist = (0.11 * scale, side * 0.03, -0.52 * scale)
        parts += [
            capsule((0, 0, 0), elbow, 0.048 * scale * outfit.stoutness, outfit.top, index),
            capsule(elbow, wrist, 0.038 * scale * outfit.stoutness, sleeve, index),
            Part("sphere", outfit.skin, size=(0.045 * scale,), position=wrist, joint=index),
        ]
    parts += _head((0.02, 0.0, hip + 0.7 * scale), outfit)
    if outfit.skirt or outfit.coat:
        wide = 0.27 if outfit.skirt else 0.24
        cone = _cone(hip - 0.42 * scale, wide * scale, hip + 0.1 * scale, 0.17 * scale)
        parts.append(Part("mesh", outfit.trousers if outfit.skirt else outfit.top, mesh=cone))
    if outfit.backpack:
        size = (0.08 * scale, 0.14 * scale, 0.2 * scale)
        parts.append(Part("box", outfit.accent, size=size, position=(-0.2 * scale, 0.0, hip + 0.3 * scale)))
    return Shape("pedestrian", (0.6 * scale, 0.55 * scale, outfit.height), tuple(parts), tuple(joints))


def cyclist(outfit: Outfit, frame: Colour, lean: float, helmet: bool, shadow: float) -> Shape:
    """A person on a bicycle. Joints: hip and knee right, hip and knee left. ``lean``: radians forward."""
    scale = outfit.scale
    hip = np.array([SADDLE[0] + 0.02, 0.0, 0.99])
    joints, legs = _legs(outfit, (hip[0], hip[1], hip[2]))
    turn = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    torso = _torso(outfit.stoutness, scale)
    parts = [
        contact_shadow(1.8, 0.5, shadow),
        *_bicycle(frame),
        *legs,
        Part("mesh", outfit.top, mesh=Mesh(torso.vertices @ turn.T + hip, torso.faces)),
    ]
    shoulder = hip + turn @ np.array([0.0, 0.0, SHOULDER * scale])
    sleeve = outfit.top if outfit.sleeves else outfit.skin
    for side in (-1.0, 1.0):
        start = shoulder + [0.0, side * 0.2 * scale, 0.0]
        hand = np.array([STEM[0] - 0.02, side * 0.24, 1.03])
        elbow = (start + hand) / 2 + [-0.02, side * 0.05, -0.06]
        parts += [capsule(start, elbow, 0.046 * scale, outfit.top), capsule(elbow, hand, 0.038 * scale, sleeve)]
    top = hip + turn @ np.array([0.04, 0.0, 0.68 * scale]) + [0.03, 0.0, 0.02]
    parts += _head((top[0], top[1], top[2]), outfit)
    if helmet:
        size, position = (0.14 * scale, 0.1 * scale, 0.09 * scale), (top[0] - 0.01, 0.0, top[2] + 0.08 * scale)
        parts.append(Part("ellipsoid", frame, "paint", size=size, position=position))
    if outfit.backpack:
        middle = tuple(shoulder - turn @ np.array([0.2, 0.0, 0.2]))
        parts.append(Part("box", outfit.accent, size=(0.08, 0.14, 0.19), position=middle, pitch=lean))
    return Shape("cyclist", (1.78, 0.6, float(top[2] + 0.16 * scale)), tuple(parts), tuple(joints))


def walking_pose(phase: float, speed: float) -> tuple[float, ...]:
    """Angles of a pedestrian's six joints; ``phase`` rises by 2 pi per two steps, ``speed`` in metres per second."""
    swing = 0.42 * min(1.0, speed / 1.3)
    right, left = swing * np.sin(phase), -swing * np.sin(phase)
    knee = [max(0.0, 1.1 * swing * np.cos(phase + shift)) + 0.04 for shift in (0.5, np.pi + 0.5)]
    # Positive angles about +y swing a hanging limb backwards.
    return (-right, knee[0], -left, knee[1], 0.8 * right, 0.8 * left)


def pedalling_pose(phase: float) -> tuple[float, ...]:
    """Angles of a cyclist's four joints; ``phase`` is the crank's."""
    angles: list[float] = []
    for shift in (0.0, np.pi):
        lift = np.sin(phase + shift)
        angles += [-(0.85 + 0.38 * lift), 1.15 + 0.45 * lift]
    return tuple(angles)


def _bicycle(frame: Colour) -> list[Part]:
    tyre = torus(WHEEL_RADIUS, 0.022, (0.0, 0.0, 0.0))
    seat_tube = (SADDLE[0], 0.0, 0.84)
    tubes = [
        (CRANK, SADDLE, 0.02),
        (CRANK, STEM, 0.024),
        (seat_tube, (STEM[0], 0.0, 0.85), 0.02),
        (CRANK, REAR_HUB, 0.016),
        (REAR_HUB, seat_tube, 0.014),
        (FRONT_HUB, (STEM[0], 0.0, 0.98), 0.02),
    ]
    chain_ring = (CRANK[0], -0.04, CRANK[2], CRANK[0], 0.04, CRANK[2])
    return [
        Part("mesh", TYRE, mesh=tyre.moved(REAR_HUB)),
        Part("mesh", TYRE, mesh=tyre.moved(FRONT_HUB)),
        *(capsule(start, end, radius, frame) for start, end, radius in tubes),
        capsule((STEM[0], -0.26, 1.0), (STEM[0], 0.26, 1.0), 0.018, TYRE),
        Part("box", TYRE, size=(0.13, 0.07, 0.03), position=(SADDLE[0], 0.0, 0.94)),
        Part("cylinder", TYRE, size=(0.09, 0.01), ends=chain_ring),
        Part("box", (0.6, 0.02, 0.02), "dim", size=(0.02, 0.03, 0.025), position=(-0.6, 0.0, 0.7)),
    ]


def _torso(stoutness: float, scale: float) -> Mesh:
    """Hips to neck, origin at the hips' middle."""
    angle = np.arange(10) * 2.0 * np.pi / 10
    # Height, half width, half depth.
    levels = [
        (-0.06, 0.14, 0.1),
        (0.0, 0.17, 0.115),
        (0.14, 0.15, 0.105),
        (0.34, 0.185, 0.12),
        (0.46, 0.2, 0.11),
        (0.52, 0.12, 0.08),
        (0.58, 0.055, 0.055),
    ]
    rings = []
    for height, wide, deep in levels:
        x = np.cos(angle) * deep * stoutness
        y = np.sin(angle) * wide * (0.5 + 0.5 * stoutness)
        rings.append(np.column_stack([x, y, np.full(10, height)]) * scale)
    return loft(np.array(rings))


def _cone(low: float, wide: float, high: float, narrow: float) -> Mesh:
    """A skirt or the tails of a coat."""
    angle = np.arange(10) * 2.0 * np.pi / 10
    rings = [
        np.column_stack([np.cos(angle) * radius * 0.75, np.sin(angle) * radius, np.full(10, height)])
        for height, radius in ((low, wide), (high, narrow))
    ]
    return loft(np.array(rings))


def _head(middle: Point, outfit: Outfit) -> list[Part]:
    x, y, z = middle
    scale = outfit.scale
    face = Part("ellipsoid", outfit.skin, size=(0.095 * scale, 0.078 * scale, 0.12 * scale), position=middle)
    hair_place = (x - 0.02 * scale, y, z + 0.04 * scale)
    hair = Part("ellipsoid", outfit.hair, size=(0.1 * scale, 0.087 * scale, 0.1 * scale), position=hair_place)
    if not outfit.hat:
        return [face, hair]
    size, position = (0.11 * scale, 0.1 * scale, 0.075 * scale), (x - 0.005, y, z + 0.085 * scale)
    return [face, hair, Part("ellipsoid", outfit.accent, size=size, position=position)]


def _legs(outfit: Outfit, hips: Point) -> tuple[list[Joint], list[Part]]:
    """Two legs, each with a hip and a knee joint, which are the shape's first four."""
    scale = outfit.scale
    thigh, shin = THIGH * scale, SHIN * scale
    lower = outfit.skin if outfit.skirt else outfit.trousers
    joints: list[Joint] = []
    parts = []
    for side in (-1.0, 1.0):
        hip = len(joints)
        joints += [Joint((hips[0], side * 0.09 * scale, hips[2])), Joint((0.0, 0.0, -thigh), hip)]
        shoe = (0.125 * scale, 0.048 * scale, 0.045 * scale)
        parts += [
            capsule((0, 0, 0), (0, 0, -thigh), 0.075 * scale * outfit.stoutness, outfit.trousers, hip),
            capsule((0, 0, 0), (0, 0, -shin + 0.04), 0.052 * scale * outfit.stoutness, lower, hip + 1),
            Part("ellipsoid", outfit.shoes, size=shoe, position=(0.05 * scale, 0.0, -shin), joint=hip + 1),
        ]
    return joints, parts
