"""How a drive looks: pools of textures and colours per split, the weather, and the camera's own pose and lens.

Every texture or palette belongs to a numbered family, and a family's number alone fixes its parameters. The splits own
disjoint families, so a detector that is tested on the test split has seen none of its textures or palettes.
"""

import zlib
from dataclasses import dataclass

import numpy as np

FAMILIES = {"train": range(60), "validation": range(60, 70), "test": range(70, 90)}
"""Split: the texture and palette families that belong to it alone."""

FIRST_SEEDS = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
"""Split: the drive seed of its drive 0. Drive ``k`` has seed ``FIRST_SEEDS[split] + k``, with ``k`` below a million."""

LOOKS = {"clear": 0.36, "overcast": 0.25, "dusk": 0.12, "night": 0.10, "rain": 0.10, "fog": 0.07}
"""Look: its share of the drives."""

SUNNY = ("clear", "dusk")

SHADOW_SHARE = 0.2
"""Share of all drives that are rendered with cast shadows, which take twice the time; only sunny ones are."""

SUN_ELEVATIONS = {"clear": (0.45, 1.2), "dusk": (0.12, 0.35), "": (0.6, 1.3)}
"""Look: span of the sun's elevation, radians; "" is for all others."""


def drive_seed(split: str, index: int) -> int:
    """The seed of drive ``index`` of a split; seeds of different splits never meet."""
    if not 0 <= index < 1_000_000:
        raise ValueError("a split has drives 0 to 999999")
    return FIRST_SEEDS[split] + index


def stream(seed: int, name: str) -> np.random.Generator:
    """A random generator of its own for one concern of a drive, so that changing one leaves the others alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def draw_family(split: str, kind: str, rng: np.random.Generator) -> np.random.Generator:
    """Draw one of the split's families of ``kind`` and return the generator that fixes the family's parameters."""
    families = FAMILIES[split]
    family = int(rng.integers(families.start, families.stop))
    return np.random.default_rng([zlib.crc32(kind.encode()), family])


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Red, green, blue in 0..1 from hue, saturation, value in 0..1."""
    sector = (hue % 1.0) * 6.0
    shades = [np.clip(abs((sector + offset) % 6.0 - 3.0) - 1.0, 0.0, 1.0) for offset in (0.0, 4.0, 2.0)]
    red, green, blue = (value * (1.0 - saturation * (1.0 - shade)) for shade in shades)
    return float(red), float(green), float(blue)


def paint_colour(split: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """A car's body colour: mostly white, grey and black as on real roads, the rest from the split's hues."""
    family = draw_family(split, "paint", rng)
    if family.random() < 0.6:
        grey = family.choice([0.06, 0.15, 0.32, 0.5, 0.68, 0.85, 0.92]) + family.uniform(-0.04, 0.04)
        return hsv(family.random(), family.uniform(0.0, 0.08), float(grey))
    hue = family.choice([0.0, 0.02, 0.6, 0.62, 0.56, 0.35, 0.1, 0.14, 0.8]) + family.uniform(-0.03, 0.03)
    return hsv(float(hue), family.uniform(0.35, 0.95), family.uniform(0.15, 0.8))


def cloth_colour(split: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """A garment's colour from the split's palettes."""
    family = draw_family(split, "cloth", rng)
    if family.random() < 0.4:
        return hsv(family.random(), family.uniform(0.0, 0.2), family.uniform(0.05, 0.9))
    return hsv(family.random(), family.uniform(0.2, 0.9), family.uniform(0.15, 0.9))


@dataclass(frozen=True)
class Look:
    """Light and air of one drive.

    Attributes:
        name: key of ``LOOKS``.
        sun_direction: (3,) unit vector that the light travels along, ``map`` frame.
        sun, ambient: red green blue strengths.
        fog: red green blue of far things. fog_range: metres where it starts and where it is full.
        zenith, horizon: colours of the sky.
        clouds: share of the sky that is covered.
        wetness: 0..1, how much the road shines.
        shadows: whether the sun casts them. lamps: whether vehicles and street lamps have their lights on.
    """

    name: str
    sun_direction: tuple[float, float, float]
    sun: tuple[float, float, float]
    ambient: tuple[float, float, float]
    fog: tuple[float, float, float]
    fog_range: tuple[float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: float
    wetness: float
    shadows: bool
    lamps: bool


def draw_look(split: str, rng: np.random.Generator, name: str = "") -> Look:
    """Draw the light and air of a drive; ``name`` fixes which of ``LOOKS`` it is."""
    family = draw_family(split, "sky", rng)
    name = name or str(rng.choice(list(LOOKS), p=list(LOOKS.values())))
    elevations = {key: rng.uniform(*span) for key, span in SUN_ELEVATIONS.items()}
    elevation, azimuth = elevations.get(name, elevations[""]), rng.uniform(0.0, 2.0 * np.pi)
    direction = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    sky = _Sky.draw(family)
    fog_range = (rng.uniform(120.0, 200.0), rng.uniform(400.0, 900.0))
    clouds, wetness = family.uniform(0.0, 0.6), 0.0
    if name == "clear":
        sun, ambient = sky.tint * rng.uniform(0.55, 0.85), sky.blue * 0.1 + rng.uniform(0.27, 0.4)
        zenith, horizon = sky.blue, sky.pale
    elif name == "overcast":
        sun, ambient = sky.tint * rng.uniform(0.2, 0.4), sky.tint * rng.uniform(0.5, 0.65)
        zenith, horizon, clouds = sky.grey * 0.9, sky.grey, 0.9
    elif name == "dusk":
        warm = np.array(hsv(family.uniform(0.03, 0.12), family.uniform(0.35, 0.75), 1.0))
        sun, ambient = warm * rng.uniform(0.4, 0.7), np.array([0.25, 0.24, 0.29]) * rng.uniform(0.8, 1.3)
        zenith, horizon = sky.blue * 0.45, warm * family.uniform(0.7, 0.95)
    elif name == "night":
        sun, ambient = np.full(3, rng.uniform(0.03, 0.1)), np.array([0.13, 0.13, 0.16]) * rng.uniform(0.7, 1.3)
        zenith, horizon = np.array([0.02, 0.025, 0.05]), np.array([0.1, 0.09, 0.1]) * family.uniform(0.6, 1.4)
    else:
        sun, ambient = sky.tint * rng.uniform(0.1, 0.25), sky.tint * rng.uniform(0.45, 0.6)
        zenith = horizon = sky.grey * rng.uniform(0.7, 0.95)
        clouds = 0.0
        wetness = rng.uniform(0.4, 1.0) if name == "rain" else 0.1
        near = rng.uniform(10.0, 30.0)
        fog_range = (near, rng.uniform(*((90.0, 200.0) if name == "fog" else (180.0, 400.0))))
    return Look(
        name=name,
        sun_direction=_triple(direction),
        sun=_colour(sun),
        ambient=_colour(ambient),
        fog=_colour(horizon),
        fog_range=(float(fog_range[0]), float(fog_range[1])),
        zenith=_colour(zenith),
        horizon=_colour(horizon),
        clouds=float(clouds),
        wetness=float(wetness),
        shadows=bool(name in SUNNY and rng.random() < SHADOW_SHARE / sum(LOOKS[look] for look in SUNNY)),
        lamps=name in ("night", "dusk", "rain", "fog"),
    )


@dataclass(frozen=True)
class _Sky:
    """Colours that a family of skies is mixed from, (3,) each."""

    tint: np.ndarray
    blue: np.ndarray
    pale: np.ndarray
    grey: np.ndarray

    @staticmethod
    def draw(family: np.random.Generator) -> "_Sky":
        tint = np.array([1.0 + family.uniform(-0.04, 0.04), 1.0, 1.0 + family.uniform(-0.05, 0.05)])
        blue = np.array(hsv(family.uniform(0.54, 0.62), family.uniform(0.35, 0.75), family.uniform(0.6, 0.95)))
        pale = np.array(hsv(family.uniform(0.5, 0.65), family.uniform(0.02, 0.2), family.uniform(0.8, 1.0)))
        return _Sky(tint, blue, pale, np.full(3, family.uniform(0.5, 0.85)) * tint)


def _triple(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z


def _colour(vector: np.ndarray) -> tuple[float, float, float]:
    return _triple(np.clip(vector, 0.0, 1.0))


@dataclass(frozen=True)
class CameraPose:
    """Where the camera sits on the vehicle and what it sees.

    Attributes:
        width, height: pixels. field_of_view: horizontal, radians.
        forward, left, up: metres from ``base_link``.
        roll, pitch, yaw: radians about ``base_link``'s x, y, z axes; positive pitch looks down.
    """

    width: int
    height: int
    field_of_view: float
    forward: float
    left: float
    up: float
    roll: float
    pitch: float
    yaw: float

    def intrinsics(self) -> np.ndarray:
        """(3, 3) pixels, the origin at the outer corner of the top-left pixel."""
        focal = self.width / 2 / np.tan(self.field_of_view / 2)
        return np.array([[focal, 0.0, self.width / 2], [0.0, focal, self.height / 2], [0.0, 0.0, 1.0]])

    def base_from_camera(self) -> np.ndarray:
        """(4, 4) takes a point of the camera's optical frame to ``base_link``."""
        cos, sin = np.cos, np.sin
        yaw = np.array([[cos(self.yaw), -sin(self.yaw), 0], [sin(self.yaw), cos(self.yaw), 0], [0, 0, 1]])
        pitch = np.array([[cos(self.pitch), 0, sin(self.pitch)], [0, 1, 0], [-sin(self.pitch), 0, cos(self.pitch)]])
        roll = np.array([[1, 0, 0], [0, cos(self.roll), -sin(self.roll)], [0, sin(self.roll), cos(self.roll)]])
        optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        pose = np.eye(4)
        pose[:3, :3] = yaw @ pitch @ roll @ optical
        pose[:3, 3] = self.forward, self.left, self.up
        return pose


def draw_camera(rng: np.random.Generator, width: int, height: int) -> CameraPose:
    """Draw how the camera is mounted in one drive."""
    degree = np.pi / 180.0
    return CameraPose(
        width=width,
        height=height,
        field_of_view=float(rng.uniform(55.0, 80.0) * degree),
        forward=float(rng.uniform(1.4, 2.2)),
        left=float(rng.uniform(-0.15, 0.15)),
        up=float(rng.uniform(1.2, 1.8)),
        roll=float(np.clip(rng.normal(0.0, 0.6), -1.5, 1.5) * degree),
        pitch=float(rng.uniform(-3.0, 3.0) * degree),
        yaw=float(np.clip(rng.normal(0.0, 1.0), -2.5, 2.5) * degree),
    )
