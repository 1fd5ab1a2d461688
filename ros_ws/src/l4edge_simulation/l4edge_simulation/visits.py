"""Looks at signs and lights: the ego is put before one after the other instead of driving past what happens to stand.

A drive shows few lights, and of those few an amber or a dark one. Here each meaning comes as often as any other, at
distances at which it can be read. The world stands still meanwhile; only the lights' clocks are set.
"""

from dataclasses import dataclass, replace

import numpy as np

from l4edge_simulation.simulation import Simulation
from l4edge_simulation.world.ego import Bicycle
from l4edge_simulation.world.layout import Layout, Light, Plate, SignalGroup

LIGHT_STATES = ("red", "amber", "green", "off")

HEIGHTS_PX = (10.0, 70.0)  # of what is looked at, in an image of 360 rows
SIGN_M, LIGHT_M = 0.75, 0.9  # usual heights
DISTANCES_M = (5.0, 70.0)
SIDEWAYS_M, YAW_RAD = 0.35, 0.03  # standard deviations of the ego's place in its lane
SHARE_OF_VIEW = 0.85  # how near to the image's border the object may be
FACING = 0.6  # cosine of the angle to the road beyond which a sign speaks to a side road


@dataclass(frozen=True)
class _Aim:
    """Something to look at; ``index`` into the layout's plates, or lights where ``state`` is given."""

    meaning: str
    index: int
    is_light: bool


def visit(simulation: Simulation, rng: np.random.Generator) -> None:
    """Put the ego before a sign or light that is drawn by its meaning, and let the light show what was drawn."""
    state = simulation.world.state
    aims = _aims(state.layout)
    if not aims:
        return
    meanings = sorted({aim.meaning for aim in aims})
    meaning = meanings[int(rng.integers(len(meanings)))]
    fitting = [aim for aim in aims if aim.meaning == meaning]
    aim = fitting[int(rng.integers(len(fitting)))]
    layout = state.layout
    target: Plate | Light = layout.lights[aim.index] if aim.is_light else layout.plates[aim.index]
    if aim.is_light:
        light = layout.lights[aim.index]
        lights = list(layout.lights)
        lights[aim.index] = replace(light, broken=meaning == "off")
        state.layout = replace(layout, lights=tuple(lights))
        if meaning != "off":
            state.time = _next_time(layout.signals[light.signal], meaning, state.time, rng)
    _place(simulation, target, LIGHT_M if aim.is_light else SIGN_M, rng)


def _aims(layout: Layout) -> list[_Aim]:
    """All that speaks to the main road; a light once for each state."""
    aims = [
        _Aim(plate.kind, index, False)
        for index, plate in enumerate(layout.plates)
        if abs(np.cos(plate.heading)) > FACING
    ]
    for index, light in enumerate(layout.lights):
        if not light.crossing:
            aims += [_Aim(word, index, True) for word in LIGHT_STATES]
    return aims


def _next_time(signal: SignalGroup, word: str, now: float, rng: np.random.Generator) -> float:
    """The next time, within a cycle, at a drawn moment of the main road's light showing ``word``."""
    start = {"green": 0.0, "amber": signal.green, "red": signal.green + signal.amber}[word]
    length = {"green": signal.green, "amber": signal.amber, "red": signal.red}[word]
    cycle = signal.green + signal.amber + signal.red
    moment = start + float(rng.uniform(0.02, 0.98)) * length - signal.offset
    return now + (moment - now) % cycle


def _place(simulation: Simulation, target: Plate | Light, size: float, rng: np.random.Generator) -> None:
    """Put the ego on a lane that the target speaks to, so far that it is seen at a drawn height."""
    state, pose = simulation.world.state, simulation.camera_pose
    section, road = state.layout.road.section, state.layout.road
    direction = 1 if np.cos(target.heading) > 0 else -1
    focal = pose.width / 2 / np.tan(pose.field_of_view / 2)
    height = float(np.exp(rng.uniform(*np.log(np.array(HEIGHTS_PX)))))
    lane = int(rng.integers(0, section.lanes(direction)))
    d = float(section.lane_centre(direction, lane)) + float(rng.normal(0.0, SIDEWAYS_M))
    beside = abs(target.d - d) / (SHARE_OF_VIEW * np.tan(pose.field_of_view / 2))
    upwards = SHARE_OF_VIEW * np.tan(pose.field_of_view / 2) * pose.height / pose.width
    nearest = max(beside, (target.height + size - pose.up) / upwards, DISTANCES_M[0])
    distance = float(np.clip(focal * size / height, nearest, max(DISTANCES_M[1], nearest)))
    s = float(np.clip(target.s - direction * (distance + pose.forward), 1.0, road.length - 1.0))
    x, y, yaw = (float(value) for value in road.pose(s, d))
    turned = yaw + (0.0 if direction > 0 else np.pi) + float(rng.normal(0.0, YAW_RAD))
    state.ego, state.ego_station = Bicycle(x, y, turned, 8.0), s
