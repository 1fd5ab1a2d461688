"""The drives of the demonstration, and what each of them is to show."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.safety_types import State
from l4edge_perception.types import CameraModel
from l4edge_pipeline.demonstration.guarding import Clock, Guard, MonitorSettings, make_monitor
from l4edge_pipeline.demonstration.loop import Frame, Networks, Pipeline, drive
from l4edge_pipeline.demonstration.outcomes import STANDING_MPS, Answer, Outcome, answer, judge, state_of
from l4edge_pipeline.demonstration.scenes import (
    ATTACKED,
    CLEAN,
    GUARDED,
    SMALL,
    STOP,
    TRAFFIC,
    Scene,
    Target,
    stage,
)
from l4edge_pipeline.demonstration.settings import SCENES
from l4edge_pipeline.demonstration.stickers import Print
from l4edge_pipeline.safety.monitor import Monitor
from l4edge_pipeline.stages import StageTable

if TYPE_CHECKING:
    from l4edge_simulation.rendering.renderer import Renderer

LONGEST_FRAMES = 170
STANDING_FRAMES = 25
"""A drive ends so long after the vehicle has come to a standstill, ..."""
BEYOND_M = 6.0
"""... so far behind a sign that it has passed, ..."""
AFTER_CONTACT_FRAMES = 3
"""... or so long after it has hit something."""


@dataclass(frozen=True)
class Story:
    """One drive with what came of it.

    Attributes:
        scene: that was driven. variant: one of the words above.
        sticker: on the target, or None. target: None in ordinary traffic.
        frames: all of them. answers: on the target, one a frame. stations: of the ego along the road, metres.
    """

    scene: Scene
    variant: str
    sticker: Optional[Print]
    target: Optional[Target]
    frames: Sequence[Frame]
    answers: Sequence[Answer]
    stations: Sequence[float]
    outcome: Outcome


@dataclass(frozen=True)
class Equipment:
    """What all drives share.

    Attributes:
        renderer: of the pictures. networks: of the driving path. table: of stages, with the monitor in it.
        settings: the monitor's.
    """

    renderer: "Renderer"
    networks: Networks
    table: StageTable
    settings: MonitorSettings

    def monitor(self, clock: Clock) -> Monitor:
        """A fresh monitor, its self-test passed.

        Raises:
            InputError: it does not work, and why.
        """
        safety = self.table.stages["safety"]
        return make_monitor(clock, safety.package, safety.deadline_ms, self.settings)

    def guard(self, camera: CameraModel) -> Guard:
        """A fresh monitor and supervisor."""
        clock = Clock()
        return Guard(self.monitor(clock), clock, self.table, camera)


def tell(
    scene: Scene, variant: str, sticker: Optional[Print], equipment: Equipment, longest: int = LONGEST_FRAMES,
    progress: Callable[[], None] = lambda: None,
) -> Story:
    """Drive a scene once.

    Args:
        sticker: to put on the target, or None. longest: frames.
    """
    simulation, target = stage(scene, equipment.renderer)
    if target is not None and sticker is not None:
        where = (sticker.width, sticker.height, sticker.right, sticker.up)
        simulation.stickers.append(target.sticker(sticker.texture, *where))
    camera = simulation.camera_model()
    guarded = variant in (GUARDED, SMALL) or scene.kind == TRAFFIC
    pipeline = Pipeline(equipment.networks, simulation.route(), camera, equipment.guard(camera) if guarded else None)
    stations: List[float] = []

    def over(frames: List[Frame]) -> bool:
        stations.append(float(simulation.world.state.ego_station))
        return target is not None and _over(frames, stations[-1], scene, target)

    frames = drive(simulation, pipeline, longest, over, progress, pictures=target is not None)
    answers = [answer(frame, scene.kind, target) for frame in frames] if target else []
    sign = scene.kind == STOP
    return Story(
        scene, variant, sticker, target, frames, answers, stations,
        judge(frames, stations, scene.kind, target, equipment.settings.packages.least_sign_px if sign else 0.0),
    )


def _over(frames: List[Frame], station: float, scene: Scene, target: Target) -> bool:
    if len(frames) > AFTER_CONTACT_FRAMES and frames[-1 - AFTER_CONTACT_FRAMES].contacts:
        return True
    if scene.kind == STOP and station > target.station + BEYOND_M and state_of(frames[-1]) < State.DEGRADED:
        return True
    last = frames[-STANDING_FRAMES:]
    return len(last) == STANDING_FRAMES and all(frame.ego.speed < STANDING_MPS for frame in last)


def tell_all(
    prints: Dict[Tuple[str, str], Print], equipment: Equipment, progress: Callable[[str], None] = lambda _: None
) -> List[Story]:
    """All drives past a target, scene by scene.

    Args:
        prints: (scene, variant) to its sticker. progress: called with words before each drive.
    """
    stories = []
    for kind, scene in SCENES.items():
        for variant in (CLEAN, ATTACKED, GUARDED, SMALL):
            sticker = prints.get((kind, variant))
            if sticker is None and variant != CLEAN:
                continue
            progress(f"{kind}, {variant}")
            stories.append(tell(scene, variant, sticker, equipment))
    return stories


def clean_scenes(count: int, first: int = 500) -> List[Scene]:
    """Ordinary drives of the test split, light and air as each one has them."""
    return [Scene(TRAFFIC, number) for number in range(first, first + count)]


def footprint_px(story: Story, crop_px: int, enlargement: float) -> np.ndarray:
    """(F,) edge of the crop's pixels that the sticker can change in each frame in which the sign is read; else NaN.

    A sticker changes every picture pixel it touches, and bilinear resampling hands that on by one picture pixel on
    each side. One crop pixel is ``box * enlargement / crop_px`` picture pixels.
    """
    edges = np.full(len(story.frames), np.nan)
    if story.sticker is None:
        return edges
    share = max(story.sticker.width, story.sticker.height)
    for index, said in enumerate(story.answers):
        if said.right is None or said.box is None:
            continue
        edge = max(said.box[2] - said.box[0], said.box[3] - said.box[1])
        touched = share * said.height_px + 1.0 + 2.0
        edges[index] = touched * crop_px / (edge * enlargement)
    return edges
