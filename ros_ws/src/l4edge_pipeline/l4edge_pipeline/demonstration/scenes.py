"""Scenes of the demonstration: a straight way to a stop sign, a vehicle that stands in the lane, an ordinary drive.

Nothing of it is drawn anew: a seed's own world is taken, the ego put where it serves, and in the first two scenes
everybody else sent home.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional, Tuple

import numpy as np

if TYPE_CHECKING:
    from l4edge_simulation.rendering.renderer import Renderer
    from l4edge_simulation.rendering.stickers import Sticker
    from l4edge_simulation.simulation import Simulation

SPLIT = "test"  # whose textures and palettes no network was trained on
DURATION_S = 60.0  # for which a road is drawn
STOP, STANDING, TRAFFIC = "stop_sign", "standing_vehicle", "traffic"
BEHIND_M = 15.0
STANDING_COMFORT = 1e-9  # acceleration of a driver who does not pull away

CLEAN, ATTACKED, GUARDED, SMALL = "clean", "attacked", "guarded", "small"
"""Without sticker and monitor; with the sticker; with sticker and monitor; both, with one no larger than certified."""


@dataclass(frozen=True)
class Scene:
    """What is put up.

    Attributes:
        kind: ``STOP``, ``STANDING`` or ``TRAFFIC``.
        number: of the drive of the test split whose world it is.
        look: light and air, a key of ``l4edge_simulation.appearance.LOOKS``, or "" for the drive's own.
        distance_m: from the ego's ``base_link`` to the sign or to the vehicle's middle when it begins.
        speed_mps: of the ego then.
        plate: which of the road's signs the ego comes to, an index into ``Layout.plates``.
        limit_mps: speed limit of the whole road, 0 for the road's own.
    """

    kind: str
    number: int
    look: str = ""
    distance_m: float = 85.0
    speed_mps: float = 12.0
    plate: int = 0
    limit_mps: float = 0.0


@dataclass(frozen=True)
class Target:
    """What the scene is about: a sign or a vehicle.

    Attributes:
        item: its index into ``Scene.items`` of the simulation. identity: its id in the ground truth.
        station: along the road, metres: of a sign, or of a vehicle's rear.
        width, height: of the sign's plate, or of the vehicle's rear side, metres.
        middle: of that side, in the object's frame, metres. facing: 1 for a sign, -1 for the rear of a vehicle.
    """

    item: int
    identity: int
    station: float
    width: float
    height: float
    middle: Tuple[float, float, float]
    facing: int

    def sticker(
        self, texture: np.ndarray, width: float = 1.0, height: float = 1.0, right: float = 0.0, up: float = 0.0
    ) -> "Sticker":
        """A sticker of a texture (h, w, 3); all sizes are shares of the side, as its reader sees it.

        Args:
            right, up: of the sticker's middle from the middle of the side.
        """
        from l4edge_simulation.rendering.stickers import Sticker

        x, y, z = self.middle
        centre = (x, y + self.facing * right * self.width, z + up * self.height)
        return Sticker(self.item, texture, centre, width * self.width, height * self.height, self.facing)


def stage(scene: Scene, renderer: "Renderer") -> Tuple["Simulation", Optional[Target]]:
    """Put a scene up; an ordinary drive has no target."""
    from l4edge_simulation.appearance import drive_seed
    from l4edge_simulation.simulation import Simulation

    simulation = Simulation(drive_seed(SPLIT, scene.number), SPLIT, DURATION_S, renderer, scene.look)
    if scene.kind == TRAFFIC:
        return simulation, None
    _send_home(simulation, 2 if scene.kind == STANDING else 1)
    if scene.limit_mps:
        state = simulation.world.state
        state.layout = replace(state.layout, limits=((0.0, scene.limit_mps),))
    if scene.kind == STOP:
        plate = simulation.world.state.layout.plates[scene.plate]
        if plate.kind != "stop":
            raise ValueError(f"sign {scene.plate} of drive {scene.number} is a {plate.kind} sign")
        _place(simulation, plate.s - scene.distance_m, scene.speed_mps)
        return simulation, _sign(simulation, scene.plate)
    start = simulation.world.state.ego_station
    _place(simulation, start, scene.speed_mps)
    return simulation, _stand(simulation, start + scene.distance_m)


def _send_home(simulation: "Simulation", kept: int) -> None:
    """Leave the road to the first ``kept`` rows of the ego's direction, the ego being row 0, and to one against it."""
    state = simulation.world.state
    for direction, rows in ((1, kept), (-1, 1)):
        vehicles = state.sides[direction]
        for name, values in vars(vehicles).items():
            setattr(vehicles, name, values[:rows].copy())
        state.kinds[direction] = state.kinds[direction][:rows]
        state.generations[direction] = state.generations[direction][:rows]
    state.people, state.side_traffic = [], []


def _place(simulation: "Simulation", station: float, speed: float) -> None:
    """Put the ego into the middle of its lane."""
    from l4edge_simulation.world.ego import MIDDLE_AHEAD, Bicycle

    state = simulation.world.state
    lateral = state.layout.road.section.lane_centre(1, state.ego_lane)
    x, y, yaw = (float(value) for value in state.layout.road.pose(station, lateral))
    state.ego, state.ego_station = Bicycle(x, y, yaw, speed), station
    vehicles = state.sides[1]
    vehicles.u[0], vehicles.v[0] = station + MIDDLE_AHEAD, speed
    # Traffic cannot do without anybody in the other direction: that one stands behind the ego.
    other = state.sides[-1]
    other.u[0], other.v[0], other.comfort[0] = state.along(-1, station - BEHIND_M), 0.0, STANDING_COMFORT


def _sign(simulation: "Simulation", plate_index: int) -> Target:
    from l4edge_simulation.rendering.cast import SIGN_IDENTITY
    from l4edge_simulation.scenery.signs import SIGN_WIDTHS

    plate = simulation.world.state.layout.plates[plate_index]
    identity = SIGN_IDENTITY + plate_index
    item = next(index for index, each in enumerate(simulation.scene.items) if each.member.identity == identity)
    width = SIGN_WIDTHS[plate.kind] * plate.scale
    return Target(item, identity, plate.s, width, width, (0.005, 0.0, plate.height), 1)


def _stand(simulation: "Simulation", station: float) -> Target:
    """Let the other vehicle stand in the ego's lane for good."""
    state = simulation.world.state
    vehicles, lane = state.sides[1], state.ego_lane
    vehicles.u[1], vehicles.v[1], vehicles.a[1] = station, 0.0, 0.0
    vehicles.lane[1] = vehicles.lane_from[1] = lane
    vehicles.change[1], vehicles.changes[1] = 1.0, False
    vehicles.lateral[1] = state.lane_offsets(1)[lane]
    vehicles.lateral_speed[1] = 0.0
    vehicles.comfort[1] = STANDING_COMFORT
    item = next(index for index, each in enumerate(simulation.scene.items) if each.member.key == "+1/1")
    length, width, height = simulation.scene.items[item].member.shape.size
    state.kinds[1][1] = replace(state.kinds[1][1], length=length, width=width)
    vehicles.length[1], vehicles.width[1] = length, width
    low = 0.3 * height
    middle = (-0.5 * length - 0.01, 0.0, 0.5 * (low + height))
    identity = 1001  # as world.actors counts the forward direction's rows
    return Target(item, identity, station - 0.5 * length, width, height - low, middle, -1)
