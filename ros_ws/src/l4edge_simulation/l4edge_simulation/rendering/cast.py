"""Everything that the ground truth knows of a drive: which shapes it has, where they stand, what they are called."""

from dataclasses import dataclass, field, replace

import numpy as np

from l4edge_simulation.appearance import Look, cloth_colour, draw_family, hsv, paint_colour
from l4edge_simulation.scenery import textures
from l4edge_simulation.scenery.signs import PRINT_MARGIN, SIGN_KINDS, SIGN_WIDTHS, sign_face, sign_outline
from l4edge_simulation.shapes import signposts
from l4edge_simulation.shapes.cars import MEASURES as CARS
from l4edge_simulation.shapes.cars import car
from l4edge_simulation.shapes.parts import Colour, Shape
from l4edge_simulation.shapes.people import cyclist, draw_outfit, pedestrian
from l4edge_simulation.shapes.trucks import MEASURES as TRUCKS
from l4edge_simulation.shapes.trucks import truck
from l4edge_simulation.shapes.vehicles import Design, vehicle
from l4edge_simulation.world.actors import Actor
from l4edge_simulation.world.layout import Layout

PARKED_IDENTITY, SIGN_IDENTITY, LIGHT_IDENTITY = 100_000, 200_000, 300_000
PARKED_CARS = {"sedan": 0.25, "hatchback": 0.3, "estate": 0.15, "suv": 0.2, "van": 0.1}
CAR_VARIANTS, SIGN_VARIANTS, NUMBER_PLATES = 2, 2, 4


@dataclass(frozen=True)
class Member:
    """One labelled object.

    Attributes:
        shape: what it looks like.
        key: of the actor that moves it, "" for what stands still.
        identity: object id, -1 for what moves: its actor knows.
        attribute: a sign's meaning.
        position, yaw: where it stands, ``map`` frame, ground below its middle.
        light: index into ``Layout.lights``, -1 for everything else.
        pole: what stands with it and is not labelled.
    """

    shape: Shape
    key: str = ""
    identity: int = -1
    attribute: str = ""
    position: tuple[float, float, float] = (0.0, 0.0, -50.0)
    yaw: float = 0.0
    light: int = -1
    pole: Shape | None = None


@dataclass
class Cast:
    """All labelled objects of a drive and the textures that they name."""

    members: list[Member] = field(default_factory=list)
    images: dict[str, np.ndarray] = field(default_factory=dict)


def draw_cast(layout: Layout, actors: list[Actor], split: str, look: Look, rng: np.random.Generator) -> Cast:
    """Draw how everything labelled looks."""
    cast = Cast()
    for index in range(NUMBER_PLATES):
        cast.images[f"number{index}"] = textures.number_plate(rng)
    wardrobe = _Wardrobe(split, look, rng)
    cast.members += [wardrobe.actor(actor) for actor in actors]
    cast.members += _parked(layout, wardrobe)
    _add_signs(cast, layout, split, rng)
    _add_lights(cast, layout, split, rng)
    return cast


class _Wardrobe:
    """Draws the shapes of road users; a drive has few designs and many colours."""

    def __init__(self, split: str, look: Look, rng: np.random.Generator) -> None:
        self.rng = rng
        self._split, self._lamps = split, look.lamps
        self._shadow = 0.3 if look.name == "night" else 0.55
        self._designs: dict[str, list[Design]] = {}
        for kind in CARS:
            self._designs[kind] = [car(kind, rng) for _ in range(CAR_VARIANTS)]
        for kind in TRUCKS:
            self._designs[kind] = [truck(kind, rng)]

    def actor(self, actor: Actor) -> Member:
        rng = self.rng
        if actor.class_name == "pedestrian":
            shape = pedestrian(draw_outfit(rng, self._cloth), self._shadow * 0.8)
        elif actor.class_name == "cyclist":
            frame = hsv(rng.random(), float(rng.uniform(0.0, 0.9)), float(rng.uniform(0.1, 0.8)))
            outfit = draw_outfit(rng, self._cloth)
            lean, helmet = float(rng.uniform(0.15, 0.8)), bool(rng.random() < 0.5)
            shape = cyclist(outfit, frame, lean, helmet, self._shadow * 0.8)
        else:
            shape = self.vehicle(actor.design)
        return Member(shape, key=actor.key)

    def vehicle(self, kind: str) -> Shape:
        rng = self.rng
        designs = self._designs[kind]
        design = designs[int(rng.integers(0, len(designs)))]
        second = (0.85, 0.86, 0.87) if rng.random() < 0.4 else paint_colour(self._split, rng)
        paint = paint_colour(self._split, rng)
        plate = f"number{int(rng.integers(0, NUMBER_PLATES))}"
        return vehicle(design, paint, second, plate, self._lamps, self._shadow)

    def _cloth(self) -> Colour:
        return cloth_colour(self._split, self.rng)


def _parked(layout: Layout, wardrobe: _Wardrobe) -> list[Member]:
    members = []
    for index, spot in enumerate(layout.parked):
        kind = str(wardrobe.rng.choice(list(PARKED_CARS), p=list(PARKED_CARS.values())))
        x, y, yaw = (float(value) for value in layout.road.pose(spot.s, spot.d))
        shape = wardrobe.vehicle(kind)
        dark = tuple(replace(part, finish="paint") if part.finish in ("lit", "dim") else part for part in shape.parts)
        members.append(
            Member(
                replace(shape, parts=dark),
                identity=PARKED_IDENTITY + index,
                position=(x, y, 0.0),
                yaw=yaw + spot.heading,
            )
        )
    return members


def _add_signs(cast: Cast, layout: Layout, split: str, rng: np.random.Generator) -> None:
    for kind in SIGN_KINDS:
        for variant in range(SIGN_VARIANTS):
            cast.images[f"sign/{kind}/{variant}"] = sign_face(kind, draw_family(split, "sign", rng))
    for index, plate in enumerate(layout.plates):
        x, y, yaw = (float(value) for value in layout.road.pose(plate.s, plate.d))
        width = SIGN_WIDTHS[plate.kind] * plate.scale
        texture = f"sign/{plate.kind}/{int(rng.integers(0, SIGN_VARIANTS))}"
        shape, pole = signposts.sign(sign_outline(plate.kind, width), width * PRINT_MARGIN, texture, plate.height)
        cast.members.append(
            Member(
                shape,
                identity=SIGN_IDENTITY + index,
                attribute=plate.kind,
                position=(x, y, 0.0),
                yaw=yaw + plate.heading + np.pi,
                pole=pole,
            )
        )


def _add_lights(cast: Cast, layout: Layout, split: str, rng: np.random.Generator) -> None:
    family = draw_family(split, "light", rng)
    if family.random() < 0.6:
        housing: Colour = (float(family.uniform(0.02, 0.1)),) * 3
    else:
        housing = (0.75, 0.55, 0.05) if family.random() < 0.4 else (0.06, 0.14, 0.08)
    scale, border = float(family.uniform(0.95, 1.4)), bool(family.random() < 0.4)
    for index, light in enumerate(layout.lights):
        x, y, yaw = (float(value) for value in layout.road.pose(light.s, light.d))
        # Left of a housing that faces back along the road is -d.
        mast = float((light.d - light.mast) * np.cos(light.heading))
        shape, pole = signposts.light(light.height, scale, housing, border, mast)
        cast.members.append(
            Member(
                shape,
                identity=LIGHT_IDENTITY + index,
                position=(x, y, 0.0),
                yaw=yaw + light.heading + np.pi,
                light=index,
                pole=pole,
            )
        )
