"""People on foot: along the sidewalks, standing, and over the crosswalks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l4edge_simulation.world.layout import Layout
from l4edge_simulation.world.road import CrossSection

GAIT_METRES = 1.5  # metres per two steps
PASSED_M = 0.7  # so far beyond its lanes traffic goes on behind a pedestrian
APPROACH_M = 8.0  # so far before its lanes it waits for one: a lorry needs the time to start and pass
PAUSE_S = (6.0, 30.0)  # between two crossings


@dataclass
class Pedestrian:
    """One person in road coordinates.

    Attributes:
        kind: "walker", "idler" or "crosser". s, d: metres. heading: radians relative to the road.
        speed: metres per second now. pace: when walking. phase: of the gait, radians.
        direction: of a walker along s, of a crosser along d. crosswalk: index, or -1.
        state: of a crosser, "pause", "wish" or "cross". timer: seconds left or spent in the state.
        generation: counts reappearances, so that ids stay unique.
    """

    kind: str
    s: float
    d: float
    heading: float
    pace: float
    direction: float
    speed: float = 0.0
    phase: float = 0.0
    crosswalk: int = -1
    state: str = "pause"
    timer: float = 0.0
    generation: int = 0


def kerb(layout: Layout, side: float) -> float:
    """``d`` of where people wait to cross; ``side`` +1 left, -1 right."""
    return side * (layout.road.section.edge(-int(side)) + 0.6)


def draw_pedestrians(rng: np.random.Generator, layout: Layout, ego_s: float, density: float) -> list[Pedestrian]:
    """Draw the people of a drive; ``density`` 0..1."""
    section = layout.road.section
    people: list[Pedestrian] = []
    count = int(rng.poisson({"urban": 16.0, "suburban": 9.0, "rural": 2.0}[layout.theme] * density))
    for _ in range(count):
        side = float(rng.choice([-1.0, 1.0]))
        d = side * (section.edge(-int(side)) + rng.uniform(0.5, max(0.7, section.sidewalk_width - 0.3)))
        s = ego_s + float(rng.uniform(-20.0, 110.0))
        if layout.near_crossing(s, 3.0):
            continue
        if rng.random() < 0.2:
            people.append(Pedestrian("idler", s, d, float(rng.uniform(-np.pi, np.pi)), 0.0, 0.0))
        else:
            direction = float(rng.choice([-1.0, 1.0]))
            people.append(
                Pedestrian(
                    "walker",
                    s,
                    d,
                    0.0 if direction > 0 else np.pi,
                    float(rng.uniform(0.8, 1.7)),
                    direction,
                    phase=float(rng.uniform(0, 6.28)),
                )
            )
    for index, walk in enumerate(layout.crosswalks):
        for _ in range(int(rng.integers(0, 4))):
            side = float(rng.choice([-1.0, 1.0]))
            people.append(
                Pedestrian(
                    "crosser",
                    walk.s + float(rng.uniform(-1.0, 1.0)),
                    kerb(layout, side) + side * float(rng.uniform(0.0, 0.6)),
                    -side * np.pi / 2,
                    float(rng.uniform(1.0, 1.7)),
                    -side,
                    crosswalk=index,
                    timer=float(rng.uniform(0.0, 8.0)),
                )
            )
    return people


def in_the_way(people: Sequence[Pedestrian], crosswalk: int, direction: int, section: CrossSection) -> bool:
    """Whether somebody on the crosswalk is on a direction's side of the road, or about to come to it."""
    outer = section.lanes(direction) * section.lane_width + section.cycle_width
    for person in people:
        if person.crosswalk == crosswalk and person.state == "cross":
            beyond = -direction * person.d  # metres from the centre line to that direction's side
            outwards = person.direction == -direction
            first, last = (-APPROACH_M, outer + PASSED_M) if outwards else (-PASSED_M, np.inf)
            if first < beyond < last:
                return True
    return False


def wants_to_cross(people: Sequence[Pedestrian], crosswalk: int) -> bool:
    """Whether somebody stands at the kerb and has shown for a second that they want to cross."""
    return any(person.crosswalk == crosswalk and person.state == "wish" and person.timer > 1.0 for person in people)


def advance_walker(person: Pedestrian, layout: Layout, step: float) -> None:
    """A walker goes along the sidewalk and turns back at side roads and the road's ends."""
    ahead = person.s + person.direction * person.pace * step
    blocked = (
        any(
            abs(ahead - junction.s) < 5.0 and abs(ahead - junction.s) < abs(person.s - junction.s)
            for junction in layout.junctions
        )
        or not 1.0 < ahead < layout.road.length - 1.0
    )
    if blocked:
        person.direction = -person.direction
    goal = 0.0 if person.direction > 0 else np.pi
    turn = (goal - person.heading + np.pi) % (2.0 * np.pi) - np.pi
    person.heading += float(np.clip(turn, -3.0 * step, 3.0 * step))
    person.speed = person.pace * max(0.1, float(np.cos(turn)))
    person.s += person.direction * person.speed * step
    person.phase += 2.0 * np.pi * person.speed * step / GAIT_METRES


def advance_crosser(person: Pedestrian, layout: Layout, may_start: bool, rng: np.random.Generator, step: float) -> None:
    """A crosser pauses, wishes to cross, crosses, and after a while comes back."""
    if person.state == "cross":
        person.speed = person.pace
        person.d += person.direction * person.speed * step
        person.phase += 2.0 * np.pi * person.speed * step / GAIT_METRES
        if person.direction * (person.d - kerb(layout, person.direction)) > 0.0:
            person.state, person.timer, person.speed = "pause", float(rng.uniform(*PAUSE_S)), 0.0
            person.direction = -person.direction
        return
    person.speed = 0.0
    goal = person.direction * np.pi / 2
    turn = (goal - person.heading + np.pi) % (2.0 * np.pi) - np.pi
    person.heading += float(np.clip(turn, -2.5 * step, 2.5 * step))
    if person.state == "pause":
        person.timer -= step
        if person.timer <= 0.0:
            person.state, person.timer = "wish", 0.0
        return
    person.timer += step
    if may_start and person.timer > 0.5:
        person.state = "cross"
