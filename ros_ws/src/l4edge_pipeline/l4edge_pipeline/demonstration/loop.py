"""The pipeline around the simulated vehicle, in one process and step by step.

The same networks, tracker, planner and controller as the nodes run, without middleware and without a clock, so that a
seed gives the same drive every time.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, List, Optional

import cv2
import numpy as np

from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.camera.detector import Detector
from l4edge_perception.packages import load_package
from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict
from l4edge_perception.tracking import Tracker, TrackerConfig
from l4edge_perception.types import (
    CameraModel,
    ControlCommand,
    Detections,
    EgoState,
    GroundTruth,
    Route,
    Tracks,
    Trajectory,
)
from l4edge_pipeline.control import Controller, ControllerConfig
from l4edge_pipeline.demonstration.guarding import Guard
from l4edge_pipeline.planning import Planner, PlannerConfig
from l4edge_pipeline.resources import find_package

if TYPE_CHECKING:
    from l4edge_simulation.simulation import Simulation

PERIOD_S = 0.1
"""Between two frames. A command acts from the next frame on, as in a pipeline whose chain takes one period."""


@dataclass(frozen=True)
class Frame:
    """One period of a drive.

    Attributes:
        jpeg: the camera's picture as a JPEG file, or empty where it was not to be kept.
        ego: as it truly was. truth: the objects in the image.
        detections, tracks, trajectory, command: what each stage answered.
        contacts: keys of what the vehicle touches.
        verdict: of the monitor on this frame. status: of the supervisor, as the planner obeyed it in this frame.
    """

    jpeg: bytes
    ego: EgoState
    truth: GroundTruth
    detections: Detections
    tracks: Tracks
    trajectory: Trajectory
    command: ControlCommand
    contacts: List[str] = field(default_factory=list)
    verdict: Optional[SafetyVerdict] = None
    status: Optional[SafetyStatus] = None


class Networks:
    """The two networks of the driving path, loaded once for many drives.

    Attributes:
        detector, classifier: as the detection stage has them. crop_px: edge of what the classifier reads.
    """

    def __init__(self, detector: str = "detector", classifier: str = "sign_classifier", level: Optional[str] = None):
        self.detector = Detector(load_package(find_package(detector)), level)
        package = load_package(find_package(classifier))
        self.classifier = SignClassifier(package, level)
        self.crop_px = package.input.size[0]

    def look(self, image: np.ndarray, stamp_ns: int) -> Detections:
        """What the detection stage says of an image."""
        return self.classifier.classify(image, self.detector.detect(image, stamp_ns))


class Pipeline:
    """All stages of one drive.

    Args:
        networks: to look with. route: the lane. camera: its model.
        guard: monitor and supervisor, or None to drive without them.
    """

    def __init__(self, networks: Networks, route: Route, camera: CameraModel, guard: Optional[Guard] = None) -> None:
        self._networks, self._route, self._camera, self._guard = networks, route, camera, guard
        self._tracker = Tracker(TrackerConfig())
        self._planner = Planner(PlannerConfig())
        self._controller = Controller(ControllerConfig())

    def step(self, image: np.ndarray, ego: EgoState, stamp_ns: int) -> "Answers":
        """Take one frame through all stages."""
        detections = self._networks.look(image, stamp_ns)
        tracks = self._tracker.update(detections, self._camera, ego)
        status = self._guard.obeyed() if self._guard else None
        trajectory = self._planner.plan(tracks, ego, self._route, status)
        halt = self._guard is not None and self._guard.halts()
        command = self._controller.command(trajectory, ego, stamp_ns, halt)
        verdict = self._guard.judge(image, detections, tracks, ego, stamp_ns) if self._guard else None
        return Answers(detections, tracks, trajectory, command, verdict, status)


@dataclass(frozen=True)
class Answers:
    """What the stages made of one frame; see :class:`Frame`."""

    detections: Detections
    tracks: Tracks
    trajectory: Trajectory
    command: ControlCommand
    verdict: Optional[SafetyVerdict]
    status: Optional[SafetyStatus]


def drive(
    simulation: "Simulation",
    pipeline: Pipeline,
    frames: int,
    until: Callable[[List[Frame]], bool] = lambda _: False,
    progress: Callable[[], None] = lambda: None,
    pictures: bool = True,
) -> List[Frame]:
    """Let the pipeline drive.

    Args:
        frames: at most so many. until: asked after each frame; True ends the drive.
        progress: called after each frame. pictures: whether to keep them.
    """
    from l4edge_simulation.world.collisions import EGO_KEY, collisions

    driven: List[Frame] = []
    acting = ControlCommand(simulation.stamp_ns, 0.0, 0.0, simulation.world.state.ego.speed)
    for _ in range(frames):
        seen = simulation.observe()
        answers = pipeline.step(seen.image, seen.ego, seen.stamp_ns)
        touching = [pair for pair in collisions(simulation.world.state, 20.0) if EGO_KEY in pair]
        contacts = [key for pair in touching for key in pair if key != EGO_KEY]
        driven.append(
            Frame(
                _jpeg(seen.image) if pictures else b"", seen.true_ego, seen.ground_truth, answers.detections,
                answers.tracks, answers.trajectory, answers.command, contacts, answers.verdict, answers.status,
            )
        )
        progress()
        if until(driven):
            break
        simulation.advance(PERIOD_S, acting)
        acting = answers.command
    return driven


def _jpeg(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
