"""A drive: the world, its camera and its ground truth, open loop with the expert or closed loop with commands."""

from dataclasses import dataclass

import numpy as np

from l4edge_perception.recordings.events import FIRST_STAMP_NS
from l4edge_perception.types import CameraModel, ControlCommand, EgoState, GroundTruth, Route
from l4edge_simulation.appearance import draw_camera, draw_look, stream
from l4edge_simulation.rendering.ground_truth import Labeller
from l4edge_simulation.rendering.renderer import Renderer
from l4edge_simulation.rendering.scene import Scene
from l4edge_simulation.rendering.sensor import Camera, Odometer, draw_camera_noise
from l4edge_simulation.rendering.stickers import Sticker, project, stick
from l4edge_simulation.world.actors import Actor
from l4edge_simulation.world.state import STEP_S
from l4edge_simulation.world.world import World

ROUTE_SPACING_M = 2.0


@dataclass(frozen=True)
class Observation:
    """What the vehicle's sensors give at one moment, and what was really there.

    Attributes:
        stamp_ns: when. image: (H, W, 3) uint8 red green blue with the camera's noise.
        ego: as localisation reports it. true_ego: as it is. ground_truth: the objects in the image.
    """

    stamp_ns: int
    image: np.ndarray
    ego: EgoState
    true_ego: EgoState
    ground_truth: GroundTruth


class Simulation:
    """One drive of a seed and a split.

    Args:
        seed: see ``appearance.drive_seed``. split: whose textures and palettes it wears.
        duration_s: how long a road is needed. renderer: to share between drives; its size is the image's.
        look: key of ``appearance.LOOKS``, or "" for the seed's own.

    Attributes:
        stickers: what is stuck onto objects, empty at first; may be changed while driving.
    """

    def __init__(self, seed: int, split: str, duration_s: float, renderer: Renderer, look: str = "") -> None:
        self.seed, self.split = seed, split
        self.world = World(seed, duration_s)
        self.look = draw_look(split, stream(seed, "look"), look)
        self.camera_pose = draw_camera(stream(seed, "camera"), renderer.width, renderer.height)
        self.scene = Scene(self.world.state, seed, split, self.look, self.camera_pose)
        sensor = stream(seed, "sensor")
        self.camera = Camera(draw_camera_noise(self.look, sensor), sensor, renderer.width, renderer.height)
        self._odometer = Odometer(stream(seed, "odometry"))
        self._renderer = renderer
        renderer.load(self.scene)
        self._labeller = Labeller(self.scene)
        self._measured_at = 0.0
        self.stickers: list[Sticker] = []

    @property
    def stamp_ns(self) -> int:
        """Now."""
        return FIRST_STAMP_NS + round(self.world.state.time * 1e9)

    def camera_model(self) -> CameraModel:
        """The camera as calibration would give it."""
        return CameraModel(
            self.camera_pose.width,
            self.camera_pose.height,
            self.camera_pose.intrinsics(),
            np.zeros(0),
            np.linalg.inv(self.camera_pose.base_from_camera()),
        )

    def route(self) -> Route:
        """The ego's lane over the whole road."""
        road = self.world.state.layout.road
        stations = np.arange(0.0, road.length, ROUTE_SPACING_M)
        x, y, _ = road.pose(stations, road.section.lane_centre(1, self.world.state.ego_lane))
        return Route(
            np.column_stack([x, y]),
            self.world.state.layout.speed_limit(stations),
            np.full(len(stations), road.section.lane_width),
        )

    def advance(self, seconds: float, command: ControlCommand | None = None) -> None:
        """Let time pass without looking. Without a command the simulated expert drives."""
        for _ in range(max(1, round(seconds / STEP_S))):
            if command is None:
                self.world.step()
            else:
                self.world.step(command.steering_angle, command.acceleration)

    def odometry(self) -> EgoState:
        """The ego's state as localisation reports it now."""
        elapsed, self._measured_at = self.world.state.time - self._measured_at, self.world.state.time
        return self._odometer.measure(self.stamp_ns, self.world.state.ego, elapsed)

    def true_ego(self) -> EgoState:
        """The ego's state as it is."""
        ego = self.world.state.ego
        yaw = (ego.yaw + np.pi) % (2.0 * np.pi) - np.pi
        return EgoState(self.stamp_ns, ego.x, ego.y, float(yaw), ego.speed, float(ego.yaw_rate), ego.acceleration)

    def observe(self) -> Observation:
        """Look: render, label and measure now."""
        actors = self.scene.pose()
        clean, geoms = self._renderer.render()
        truth = self._labeller.label(self.stamp_ns, geoms, actors)
        for sticker in self.stickers:
            clean = self._stick(clean, geoms, sticker, actors)
        return Observation(self.stamp_ns, self.camera.expose(clean), self.odometry(), self.true_ego(), truth)

    def step(self, command: ControlCommand | None = None, seconds: float = 0.1) -> Observation:
        """Drive on for ``seconds`` by ``command`` (None: the simulated expert) and look."""
        self.advance(seconds, command)
        return self.observe()

    def _stick(
        self, image: np.ndarray, geoms: np.ndarray, sticker: Sticker, actors: dict[str, Actor]
    ) -> np.ndarray:
        item = self.scene.items[sticker.item]
        actor, member = actors.get(item.member.key), item.member
        x, y, yaw = (actor.x, actor.y, actor.yaw) if actor else (*member.position[:2], member.yaw)
        camera = (self.camera_pose.intrinsics(), self.scene.map_from_camera)
        corners = project(sticker.corners(), x, y, yaw, camera)
        return stick(image, np.isin(geoms, item.geoms), corners, sticker.texture, sticker.lit(self.look, yaw))
