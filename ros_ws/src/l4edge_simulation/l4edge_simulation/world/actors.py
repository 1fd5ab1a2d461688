"""Everything that moves, as the renderer and the ground truth see it."""

from dataclasses import dataclass

import numpy as np

from l4edge_simulation.world.layout import SIDE_ROAD_LANE
from l4edge_simulation.world.state import State

GENERATION = 10_000  # identities rise by this when a member of the pool comes in anew
SIDEWALK_HEIGHT = 0.12


@dataclass(frozen=True)
class Actor:
    """One moving object, ``map`` frame, metres, radians, metres per second.

    Attributes:
        key: names its shape for the whole drive. identity: unique over the drive.
        design: which shape it has, "" for people.
        phase: of its gait or pedals, radians.
        braking: whether its brake lamps are on.
    """

    key: str
    identity: int
    class_name: str
    design: str
    x: float
    y: float
    z: float
    yaw: float
    speed: float
    phase: float = 0.0
    braking: bool = False

    @property
    def velocity(self) -> tuple[float, float]:
        """Over ground; everything moves the way it looks."""
        return self.speed * float(np.cos(self.yaw)), self.speed * float(np.sin(self.yaw))


def actors(state: State) -> list[Actor]:
    """All of them but the ego."""
    return [*_main_road(state, 1), *_main_road(state, -1), *_side_roads(state), *_people(state)]


def _main_road(state: State, direction: int) -> list[Actor]:
    vehicles = state.sides[direction]
    s = state.along(direction, vehicles.u)
    x, y, yaw = state.layout.road.pose(s, -direction * vehicles.lateral)
    slip = np.arctan2(vehicles.lateral_speed, np.maximum(vehicles.v, 2.0))
    yaw = yaw + (0.0 if direction > 0 else np.pi) - slip
    found = []
    for row, kind in enumerate(state.kinds[direction]):
        if kind.class_name == "ego":
            continue
        speed = float(vehicles.v[row])
        stands = speed < 0.3 and kind.class_name != "cyclist"
        found.append(
            Actor(
                key=f"{direction:+d}/{row}",
                identity=(1000 if direction > 0 else 2000) + row + GENERATION * int(state.generations[direction][row]),
                class_name=kind.class_name,
                design=kind.design,
                x=float(x[row]),
                y=float(y[row]),
                z=0.0,
                yaw=float(yaw[row]),
                speed=speed,
                phase=1.3 * float(vehicles.u[row]),
                braking=bool(vehicles.a[row] < -0.6) or stands,
            )
        )
    return found


def _side_roads(state: State) -> list[Actor]:
    found = []
    for index, vehicle in enumerate(state.side_traffic):
        # A side road is straight even where the main road bends.
        x, y, along = (float(value) for value in state.layout.road.pose(state.layout.junctions[vehicle.junction].s, 0))
        shift, d = vehicle.direction * SIDE_ROAD_LANE, vehicle.direction * vehicle.r
        found.append(
            Actor(
                key=f"side/{index}",
                identity=3000 + index + GENERATION * vehicle.generation,
                class_name=vehicle.kind.class_name,
                design=vehicle.kind.design,
                x=float(x + shift * np.cos(along) - d * np.sin(along)),
                y=float(y + shift * np.sin(along) + d * np.cos(along)),
                z=0.0,
                yaw=along + vehicle.direction * np.pi / 2,
                speed=vehicle.v,
                braking=vehicle.v < 0.5,
            )
        )
    return found


def _people(state: State) -> list[Actor]:
    section = state.layout.road.section
    found = []
    for index, person in enumerate(state.people):
        x, y, along = (float(value) for value in state.layout.road.pose(person.s, person.d))
        raised = person.d > section.edge(-1) or person.d < -section.edge(1)
        found.append(
            Actor(
                key=f"person/{index}",
                identity=4000 + index + GENERATION * person.generation,
                class_name="pedestrian",
                design="",
                x=x,
                y=y,
                z=SIDEWALK_HEIGHT if raised else 0.0,
                yaw=along + person.heading,
                speed=person.speed,
                phase=person.phase,
            )
        )
    return found
