"""A drive's scene: everything is put into its pose for each image.

MuJoCo is used for kinematics and rendering only; nothing here is simulated by its physics.
"""

import numpy as np

from l4edge_simulation.appearance import CameraPose, Look
from l4edge_simulation.rendering.assembly import EGO_BODY, FAR_M, Item, assemble
from l4edge_simulation.rendering.builder import FINISHES, material_name
from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.shapes.people import pedalling_pose, walking_pose
from l4edge_simulation.shapes.signposts import LAMPS
from l4edge_simulation.shapes.vehicles import TAIL_LAMP
from l4edge_simulation.world.actors import Actor, actors
from l4edge_simulation.world.ego import Bicycle
from l4edge_simulation.world.state import State

LAMP_COLOURS = {"red": (1.0, 0.1, 0.06), "amber": (1.0, 0.65, 0.05), "green": (0.1, 1.0, 0.5)}
BRAKE_LAMP = (1.0, 0.06, 0.05)
UNLIT = 0.22  # brightness of a traffic light's other lamps

HIDDEN_GROUP = 5  # geoms of this group are not drawn
SMALL_M, SMALL_FAR_M = 6.0, 170.0  # nothing of less than this radius is drawn farther away than this
SMALLEST_PX = 0.8
SHADOW_CENTRE_M = 25.0  # the shadow map is centred this far ahead of the ego
SUN_DISTANCE_M = 60.0


class Scene:
    """A drive's MuJoCo model and data with the table of what is in it.

    Attributes:
        model, data: MuJoCo's. items: all labelled objects.
        look, camera: how the drive looks, and how its camera is mounted.
        map_from_camera: (4, 4) pose of the camera (optical frame) as of the last :meth:`pose`.
    """

    def __init__(self, state: State, seed: int, split: str, look: Look, camera: CameraPose) -> None:
        assembly = assemble(state, seed, split, look, camera)
        self.look, self.camera = look, camera
        self.model, self.items = assembly.model, assembly.items
        self.data = mujoco.MjData(self.model)
        self.map_from_camera = np.eye(4)
        self._state, self._seen = state, assembly.seen
        self._moving = {item.member.key: item for item in self.items if item.member.key}
        self._lights = [item for item in self.items if item.member.light >= 0]
        kind = mujoco.mjtObj.mjOBJ_MATERIAL
        self._materials = {name: mujoco.mj_name2id(self.model, kind, material_name(name)) for name in FINISHES}
        self._groups = self.model.geom_group.copy()
        self._ego_mocap = int(self.model.body_mocapid[self.model.body(EGO_BODY).id])
        self._intrinsics = camera.intrinsics()
        self._base_from_camera = camera.base_from_camera()
        self.data.mocap_pos[:] = self.model.body_pos[self.model.body_mocapid >= 0]

    def pose(self) -> dict[str, Actor]:
        """Put everything where the world says it is now; returns the actors by key."""
        now = {actor.key: actor for actor in actors(self._state)}
        for key, actor in now.items():
            self._pose_actor(self._moving[key], actor)
        for item in self._lights:
            self._show_light(item)
        self._set_mocap(self._ego_mocap, (self._state.ego.x, self._state.ego.y, 0.0), self._state.ego.yaw)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self._aim(self._state.ego)
        self._cull()
        return now

    def light_state(self, index: int) -> str:
        """What the traffic light ``index`` of the layout shows now."""
        light = self._state.layout.lights[index]
        if light.broken:
            return "off"
        return self._state.layout.signals[light.signal].state(self._state.time, light.crossing)

    def _set_mocap(self, index: int, position: tuple[float, float, float], yaw: float) -> None:
        self.data.mocap_pos[index] = position
        self.data.mocap_quat[index] = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))

    def _pose_actor(self, item: Item, actor: Actor) -> None:
        self._set_mocap(item.mocap, (actor.x, actor.y, actor.z), actor.yaw)
        if actor.class_name == "pedestrian":
            self.data.qpos[item.joints] = walking_pose(actor.phase, actor.speed)
        elif actor.class_name == "cyclist":
            self.data.qpos[item.joints] = pedalling_pose(actor.phase)
        for geom in item.changing.get("brake", ()):
            idle = "dim" if self.look.lamps else "paint"
            self._paint(geom, "lit" if actor.braking else idle, BRAKE_LAMP if actor.braking else TAIL_LAMP)

    def _show_light(self, item: Item) -> None:
        shown = self.light_state(item.member.light)
        for name in LAMPS:
            lit = name == shown
            colour = np.multiply(LAMP_COLOURS[name], 1.0 if lit else UNLIT)
            for geom in item.changing[name]:
                self._paint(geom, "lit" if lit else "matte", colour)

    def _paint(self, geom: int, finish: str, colour: tuple[float, float, float] | np.ndarray) -> None:
        self.model.geom_matid[geom] = self._materials[finish]
        self.model.geom_rgba[geom, :3] = colour

    def _aim(self, ego: Bicycle) -> None:
        """Point the camera, and let the sun shine on what lies ahead."""
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(ego.yaw), -np.sin(ego.yaw)], [np.sin(ego.yaw), np.cos(ego.yaw)]]
        turn[:2, 3] = ego.x, ego.y
        self.map_from_camera = turn @ self._base_from_camera
        self.data.cam_xpos[0] = self.map_from_camera[:3, 3]
        # MuJoCo's cameras look along -z with y up.
        self.data.cam_xmat[0] = (self.map_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])).ravel()
        if self.look.shadows:
            ahead = turn @ [SHADOW_CENTRE_M, 0.0, 0.0, 1.0]
            self.data.light_xpos[0] = ahead[:3] - SUN_DISTANCE_M * np.array(self.look.sun_direction)

    def _cull(self) -> None:
        """Hide what the camera cannot see or what is smaller than a pixel; drawing it would take time."""
        relative = self.data.geom_xpos - self.map_from_camera[:3, 3]
        x, _, depth = (relative @ self.map_from_camera[:3, :3]).T
        radius = self.model.geom_rbound
        distance = np.maximum(np.linalg.norm(relative, axis=1), 0.1)
        slope = np.tan(self.camera.field_of_view / 2) * 1.15
        margin = 25.0 if self.look.shadows else 0.0  # what is outside the image casts shadows into it
        beside = np.abs(x) - radius * 1.5 > slope * np.maximum(depth, 0.0) + margin
        behind = depth + radius < -margin
        tiny = radius / distance * self._intrinsics[0, 0] < SMALLEST_PX
        far = distance - radius > np.where(radius < SMALL_M, SMALL_FAR_M, FAR_M)
        detail = (distance < self._seen[:, 0]) | (distance >= self._seen[:, 1])
        endless = radius == 0.0
        hidden = (beside | behind | tiny | far | detail) & ~endless
        self.model.geom_group[:] = np.where(hidden, HIDDEN_GROUP, self._groups)
