"""The world as a MuJoCo model: builds it once for a drive, and puts everything into its pose for each image.

MuJoCo is used for kinematics and rendering only; nothing here is simulated by its physics.
"""

from dataclasses import dataclass, field, replace
from typing import Dict, List, Optional, Tuple

import numpy as np

from . import people, textures, vehicles
from .appearance import CameraPose, Look, cloth_colour, draw_family, hsv, paint_colour, stream
from .graphics import mujoco
from .geometry import Mesh, face_plate, prism
from .shapes import Part, Shape, capsule
from .surroundings import Placed, ground, surroundings
from .world import Actor, World

FINISHES = {
    "matte": (0.03, 0.1, 0.0), "paint": (0.45, 0.75, 0.0), "glass": (0.8, 0.9, 0.05), "wet": (0.35, 0.6, 0.0),
    "dim": (0.1, 0.3, 0.35), "lit": (0.0, 0.0, 1.0), "sign": (0.1, 0.3, 0.06),
}
"""Finish of a surface: specular, shininess, emission."""

LAMP_COLOURS = {"red": (1.0, 0.1, 0.06), "amber": (1.0, 0.65, 0.05), "green": (0.1, 1.0, 0.5)}
HIDDEN_GROUP = 5  # geoms of this group are not drawn
FAR_M = 320.0
SMALL_M, SMALL_FAR_M = 6.0, 170.0  # nothing of less than this radius is drawn farther away than this
NEAR_M = 0.3

_PRIMITIVES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}


@dataclass
class Item:
    """One object of the scene that the ground truth knows.

    Attributes:
        key: of the actor, or "" for what stands still.
        identity: object id of what stands still. class_name, size, attribute: for the ground truth.
        position, yaw: of what stands still; ``map`` frame, centre of the ground contact.
        facing: whether only its front counts (signs and lights).
        geoms: ids of the geoms that are the object. changing: role: ids of geoms that change while driving.
        mocap: mocap index or -1. joints: addresses of its joint angles.
        lamp: index into ``Layout.lamps`` or -1.
    """

    key: str
    class_name: str
    size: Tuple[float, float, float]
    identity: int = -1
    attribute: str = ""
    position: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    facing: bool = False
    geoms: List[int] = field(default_factory=list)
    changing: Dict[str, List[int]] = field(default_factory=dict)
    mocap: int = -1
    joints: List[int] = field(default_factory=list)
    lamp: int = -1


class _Builder:
    """Collects geoms for a specification; meshes and materials are shared."""

    def __init__(self) -> None:
        self.spec = mujoco.MjSpec()
        self._meshes: Dict[int, Tuple[str, Mesh]] = {}
        self._materials: Dict[Tuple[str, str], str] = {}

    def texture(self, name: str, image: np.ndarray, skybox: bool = False) -> None:
        kind = mujoco.mjtTexture.mjTEXTURE_SKYBOX if skybox else mujoco.mjtTexture.mjTEXTURE_2D
        height, width = image.shape[:2]
        added = self.spec.add_texture(name=name, type=kind, width=width, height=height, nchannel=3)
        added.data = np.ascontiguousarray(image).tobytes()

    def material(self, finish: str, texture: str = "") -> str:
        name = f"{finish}/{texture}"
        if (finish, texture) not in self._materials:
            specular, shininess, emission = FINISHES[finish]
            material = self.spec.add_material(name=name, specular=specular, shininess=shininess, emission=emission)
            if texture:
                material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture
            self._materials[finish, texture] = name
        return name

    def mesh(self, mesh: Mesh) -> str:
        if id(mesh) not in self._meshes:
            name = f"mesh{len(self._meshes)}"
            more = {} if mesh.uv is None else {"usertexcoord": mesh.uv.astype(np.float32).ravel()}
            self.spec.add_mesh(
                name=name, uservert=mesh.vertices.astype(np.float32).ravel(),
                userface=mesh.faces.astype(np.int32).ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL, **more
            )
            # Keeping the mesh keeps its id() from being given to another one.
            self._meshes[id(mesh)] = (name, mesh)
        return self._meshes[id(mesh)][0]

    def part(self, body, part: Part):
        colour = [*np.clip(part.colour, 0.0, 0.998), part.alpha]
        more = {"rgba": colour, "material": self.material(part.finish, part.texture), "contype": 0, "conaffinity": 0}
        if part.pitch:
            more["quat"] = [np.cos(part.pitch / 2), 0.0, np.sin(part.pitch / 2), 0.0]
        if part.kind == "mesh":
            return body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=self.mesh(part.mesh), pos=part.position, **more)
        size = [*part.size, *([0.0] * (3 - len(part.size)))]
        if part.ends:
            return body.add_geom(type=_PRIMITIVES[part.kind], fromto=part.ends, size=size, **more)
        return body.add_geom(type=_PRIMITIVES[part.kind], size=size, pos=part.position, **more)

    def shape(self, shape: Shape, name: str, position, yaw: float, moving: bool):
        """Add a shape; returns (its body, [(geom, part)], joints)."""
        body = self.spec.worldbody.add_body(
            name=name, mocap=moving, pos=position, quat=[np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        )
        bodies, joints = [], []
        for index, joint in enumerate(shape.joints):
            parent = body if joint.parent is None else bodies[joint.parent]
            child = parent.add_body(name=f"{name}/{index}", pos=joint.position)
            joints.append(child.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 1.0, 0.0]))
            bodies.append(child)
        geoms = [(self.part(body if part.joint is None else bodies[part.joint], part), part) for part in shape.parts]
        return body, geoms, joints


def _sign_shape(kind: str, face: str, width: float, height: float) -> Tuple[Shape, Shape]:
    """The plate (labelled) and its pole, facing +x; origin on the ground below the plate."""
    outline = textures.sign_outline(kind, width)
    middle = (0.0, 0.0, height)
    plate = Shape("sign", (0.04, float(np.ptp(outline[:, 0])), height + float(outline[:, 1].max())), (
        Part("mesh", (1, 1, 1), "sign", mesh=face_plate(outline, width * 1.1).moved((0.004, 0, 0)), texture=face, position=middle),
        Part("mesh", (0.42, 0.43, 0.44), mesh=prism(outline, 0.02), position=middle),
    ))
    pole = Shape("", (0, 0, 0), (capsule((-0.05, 0, 0), (-0.05, 0, height + 0.15), 0.03, (0.45, 0.46, 0.47)),))
    return plate, pole


def _light_shape(height: float, scale: float, dark, border: bool, mast: float) -> Tuple[Shape, Shape]:
    """The housing with its lamps (labelled), facing +x, and its pole; ``mast``: the pole's offset to the left."""
    radius = 0.1 * scale
    tall, wide, deep = 1.7 * radius * 3 + 0.08, 2.9 * radius, 0.16
    parts = [Part("box", dark, size=(deep / 2, wide / 2, tall / 2), position=(-deep / 2, 0, height))]
    if border:
        parts.append(Part("box", (0.02, 0.02, 0.02), size=(0.01, wide / 2 + 0.1, tall / 2 + 0.1), position=(-deep / 2, 0, height)))
    for index, name in enumerate(("red", "amber", "green")):
        z = height + (1 - index) * radius * 2.5
        parts.append(Part("ellipsoid", (0.1, 0.1, 0.1), "matte", size=(0.03, radius, radius), position=(0.0, 0, z), role=name))
        parts.append(Part("box", dark, size=(0.09, radius * 1.05, 0.008), position=(0.08, 0, z + radius * 1.1)))
        for side in (-1, 1):
            parts.append(Part("box", dark, size=(0.06, 0.006, radius * 0.7), position=(0.05, side * radius * 1.08, z + radius * 0.4)))
    extra = 0.1 if border else 0.0
    housing = Shape("light", (deep + 0.2, wide + 2 * extra, height + tall / 2 + extra), tuple(parts))
    grey = (0.3, 0.31, 0.32)
    if abs(mast) > 0.5:
        pole = (capsule((-0.2, mast, 0), (-0.2, mast, height + 0.2), 0.08, grey),
                capsule((-0.2, mast, height + 0.1), (-0.2, 0, height + 0.1), 0.05, grey))
    else:
        pole = (capsule((-0.2, 0, 0), (-0.2, 0, height + tall / 2), 0.05, grey),)
    return housing, Shape("", (0, 0, 0), pole)


class Scene:
    """A drive's MuJoCo model and data with the table of what is in it."""

    def __init__(self, world: World, seed: int, split: str, look: Look, camera: CameraPose) -> None:
        self.world, self.look, self.camera = world, look, camera
        self.items: List[Item] = []
        self._build(seed, split)

    # -- building --------------------------------------------------------------------------------------------------

    def _build(self, seed: int, split: str) -> None:
        rng = stream(seed, "appearance")
        builder = _Builder()
        spec = builder.spec
        layout, road, look, camera = self.world.layout, self.world.layout.road, self.look, self.camera
        pending: List[Tuple[Item, object, list, list]] = []
        limited: List[Tuple[object, Tuple[float, float]]] = []

        def add(shape: Shape, item: Optional[Item], position, yaw: float, moving: bool = False) -> None:
            body, geoms, joints = builder.shape(shape, f"body{len(spec.bodies)}", position, yaw, moving)
            limited.extend((geom, part.seen) for geom, part in geoms if part.seen != (0.0, np.inf))
            if item is not None:
                item.position, item.yaw = tuple(map(float, position)), float(yaw)
                pending.append((item, body, geoms, joints))

        spec.visual.global_.offwidth, spec.visual.global_.offheight = camera.width, camera.height
        spec.visual.quality.shadowsize = 2048 if look.shadows else 0
        spec.visual.quality.numslices, spec.visual.quality.numstacks = 10, 5
        spec.visual.map.fogstart, spec.visual.map.fogend = look.fog_range
        spec.visual.rgba.fog = [*look.fog, 1.0]
        spec.visual.map.znear, spec.visual.map.zfar = NEAR_M, FAR_M
        spec.visual.map.shadowclip = 45.0
        spec.stat.extent = 1.0
        spec.visual.headlight.ambient = list(look.ambient)
        spec.visual.headlight.diffuse, spec.visual.headlight.specular = [0.0] * 3, [0.0] * 3
        builder.texture("sky", textures.sky(look, rng), skybox=True)

        parts, images = ground(layout, split, look, rng)
        placed, more = surroundings(layout, split, look, rng)
        for name, image in {**images, **more}.items():
            builder.texture(name, image)
        for part in parts:
            builder.part(spec.worldbody, part)
        terrain = spec.add_material(name="terrain", specular=0.0, texrepeat=[0.12, 0.12], texuniform=True)
        terrain.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "terrain"
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 4], pos=[0, 0, -0.03], material="terrain",
                                contype=0, conaffinity=0)
        for thing in placed:
            add(thing.shape, None, (thing.x, thing.y, thing.z), thing.yaw)

        for index in range(4):
            builder.texture(f"number{index}", textures.number_plate(rng))
        designs = {}
        for kind in ("sedan", "hatchback", "estate", "suv", "van"):
            designs[kind] = [vehicles.car(kind, rng) for _ in range(2)]
        for kind in ("box", "tipper", "tanker", "trailer", "bus"):
            designs[kind] = [vehicles.truck(kind, rng)]
        shade = 0.3 if look.name == "night" else 0.55

        def vehicle(kind: str) -> Shape:
            design = designs[kind][int(rng.integers(0, len(designs[kind])))]
            second = (0.85, 0.86, 0.87) if rng.random() < 0.4 else paint_colour(split, rng)
            return vehicles.vehicle(design, paint_colour(split, rng), second, f"number{int(rng.integers(0, 4))}",
                                    look.lamps, shade)

        def outfit() -> people.Outfit:
            return people.draw_outfit(rng, lambda: cloth_colour(split, rng))

        for actor, design in self._pool():
            if actor.class_name == "pedestrian":
                shape = people.pedestrian(outfit(), shade * 0.8)
            elif actor.class_name == "cyclist":
                frame = hsv(rng.random(), float(rng.uniform(0.0, 0.9)), float(rng.uniform(0.1, 0.8)))
                shape = people.cyclist(outfit(), frame, float(rng.uniform(0.15, 0.8)), bool(rng.random() < 0.5), shade * 0.8)
            else:
                shape = vehicle(design)
            add(shape, Item(actor.key, actor.class_name, shape.size), (0.0, 0.0, -50.0), 0.0, moving=True)
        for index, spot in enumerate(layout.parked):
            kind = str(rng.choice(["sedan", "hatchback", "estate", "suv", "van"], p=[0.25, 0.3, 0.15, 0.2, 0.1]))
            x, y, yaw = road.pose(spot.s, spot.d)
            shape = vehicle(kind)
            shape = Shape(shape.class_name, shape.size, tuple(
                part if part.finish not in ("lit", "dim") else replace(part, finish="paint")
                for part in shape.parts))
            add(shape, Item("", "car", shape.size, identity=100_000 + index), (float(x), float(y), 0.0),
                float(yaw) + spot.heading)
        self._add_signs(builder, add, split, rng)
        self._add_lights(add, split, rng)

        ego = spec.worldbody.add_body(name="ego", mocap=True)
        ego.add_camera(name="front", fovy=float(np.degrees(
            2.0 * np.arctan(np.tan(camera.field_of_view / 2) * camera.height / camera.width))))
        spec.worldbody.add_light(name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, dir=look.sun_direction,
                                 pos=[0, 0, 60], diffuse=look.sun, specular=[0.5 * value for value in look.sun],
                                 ambient=[0, 0, 0], castshadow=look.shadows)
        if look.name == "night":
            for side in (-1, 1):
                ego.add_light(name=f"beam{side}", type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=[3.6, side * 0.7, 0.75],
                              dir=[1.0, side * 0.06, -0.035], cutoff=38.0, exponent=9.0, diffuse=[0.75, 0.73, 0.66],
                              specular=[0.3, 0.3, 0.3], attenuation=[0.5, 0.02, 0.0008], ambient=[0, 0, 0], castshadow=False)
        for finish in FINISHES:
            builder.material(finish)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._collect(pending)
        self._seen = np.tile([0.0, np.inf], (self.model.ngeom, 1))
        for geom, seen in limited:
            self._seen[geom.id] = seen

    def _pool(self) -> List[Tuple[Actor, str]]:
        designs = {}
        for direction in (1, -1):
            for index, kind in enumerate(self.world.kinds[direction]):
                designs[f"{direction:+d}/{index}"] = kind.design
        for index, side in enumerate(self.world.side_traffic):
            designs[f"side/{index}"] = side.kind.design
        return [(actor, designs.get(actor.key, "")) for actor in self.world.actors()]

    def _add_signs(self, builder: _Builder, add, split: str, rng: np.random.Generator) -> None:
        layout = self.world.layout
        for kind in textures.SIGN_KINDS:
            for variant in range(2):
                family = draw_family(split, "sign", rng)
                builder.texture(f"sign/{kind}/{variant}", textures.sign_face(kind, family))
        for index, plate in enumerate(layout.plates):
            x, y, yaw = layout.road.pose(plate.s, plate.d)
            width = textures.SIGN_WIDTHS[plate.kind] * plate.scale
            shape, pole = _sign_shape(plate.kind, f"sign/{plate.kind}/{int(rng.integers(0, 2))}", width, plate.height)
            place = (float(x), float(y), 0.0)
            facing = float(yaw) + plate.heading + np.pi
            item = Item("", "sign", shape.size, identity=200_000 + index, attribute=plate.kind, facing=True)
            add(shape, item, place, facing)
            add(pole, None, place, facing)

    def _add_lights(self, add, split: str, rng: np.random.Generator) -> None:
        layout = self.world.layout
        family = draw_family(split, "light", rng)
        dark = tuple(np.full(3, family.uniform(0.02, 0.1))) if family.random() < 0.6 else (
            (0.75, 0.55, 0.05) if family.random() < 0.4 else (0.06, 0.14, 0.08))
        scale, border = float(family.uniform(0.95, 1.4)), bool(family.random() < 0.4)
        for index, lamp in enumerate(layout.lamps):
            x, y, yaw = layout.road.pose(lamp.s, lamp.d)
            facing = float(yaw) + lamp.heading + np.pi
            # The pole's place in the housing's own frame: left of a plate that faces back along the road is -d.
            mast = (lamp.d - lamp.mast) * np.cos(lamp.heading)
            shape, pole = _light_shape(lamp.height, scale, dark, border, float(mast))
            place = (float(x), float(y), 0.0)
            add(shape, Item("", "light", shape.size, identity=300_000 + index, facing=True, lamp=index), place, facing)
            add(pole, None, place, facing)

    def _collect(self, pending) -> None:
        for item, body, geoms, joints in pending:
            for geom, part in geoms:
                if part.counted:
                    item.geoms.append(geom.id)
                if part.role:
                    item.changing.setdefault(part.role, []).append(geom.id)
            item.mocap = int(self.model.body_mocapid[body.id])
            item.joints = [int(self.model.jnt_qposadr[joint.id]) for joint in joints]
            self.items.append(item)
        self._by_key = {item.key: item for item in self.items if item.key}
        self._materials = {finish: mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_MATERIAL, f"{finish}/")
                           for finish in FINISHES}
        self._groups = self.model.geom_group.copy()
        self._ego_mocap = int(self.model.body_mocapid[self.model.body("ego").id])
        self._mount()
        self.data.mocap_pos[:] = self.model.body_pos[self.model.body_mocapid >= 0]

    def _mount(self) -> None:
        """The camera's pose in ``base_link``: MuJoCo cameras look along -z with y up."""
        pose = self.camera
        self.base_from_camera = np.eye(4)
        cos, sin = np.cos, np.sin
        yaw = np.array([[cos(pose.yaw), -sin(pose.yaw), 0], [sin(pose.yaw), cos(pose.yaw), 0], [0, 0, 1]])
        pitch = np.array([[cos(pose.pitch), 0, sin(pose.pitch)], [0, 1, 0], [-sin(pose.pitch), 0, cos(pose.pitch)]])
        roll = np.array([[1, 0, 0], [0, cos(pose.roll), -sin(pose.roll)], [0, sin(pose.roll), cos(pose.roll)]])
        optical = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        self.base_from_camera[:3, :3] = yaw @ pitch @ roll @ optical
        self.base_from_camera[:3, 3] = [pose.forward, pose.left, pose.up]
        focal = pose.width / 2 / np.tan(pose.field_of_view / 2)
        self.intrinsics = np.array([[focal, 0.0, pose.width / 2], [0.0, focal, pose.height / 2], [0.0, 0.0, 1.0]])

    # -- each image ------------------------------------------------------------------------------------------------

    def pose(self) -> Dict[str, Actor]:
        """Put everything where the world says it is now; returns the actors by key."""
        actors = {actor.key: actor for actor in self.world.actors()}
        for key, actor in actors.items():
            item = self._by_key[key]
            self.data.mocap_pos[item.mocap] = (actor.x, actor.y, actor.z)
            self.data.mocap_quat[item.mocap] = (np.cos(actor.yaw / 2), 0.0, 0.0, np.sin(actor.yaw / 2))
            if actor.class_name == "pedestrian":
                self.data.qpos[item.joints] = people.walking_pose(actor.phase, actor.speed)
            elif actor.class_name == "cyclist":
                self.data.qpos[item.joints] = people.pedalling_pose(actor.phase)
            for geom in item.changing.get("brake", ()):
                idle = "dim" if self.look.lamps else "paint"
                self.model.geom_matid[geom] = self._materials["lit" if actor.braking else idle]
                self.model.geom_rgba[geom, :3] = (1.0, 0.06, 0.05) if actor.braking else (0.5, 0.02, 0.03)
        for item in self.items:
            if item.lamp >= 0:
                self._show_light(item)
        ego = self.world.ego
        self.data.mocap_pos[self._ego_mocap] = (ego.x, ego.y, 0.0)
        self.data.mocap_quat[self._ego_mocap] = (np.cos(ego.yaw / 2), 0.0, 0.0, np.sin(ego.yaw / 2))
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self._aim(ego)
        return actors

    def _aim(self, ego) -> None:
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(ego.yaw), -np.sin(ego.yaw)], [np.sin(ego.yaw), np.cos(ego.yaw)]]
        turn[:2, 3] = ego.x, ego.y
        self.map_from_camera = turn @ self.base_from_camera
        self.data.cam_xpos[0] = self.map_from_camera[:3, 3]
        self.data.cam_xmat[0] = (self.map_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])).ravel()
        if self.look.shadows:
            # The shadow map is centred where the sun stands: above what lies 25 m ahead.
            ahead = np.array([ego.x + 25.0 * np.cos(ego.yaw), ego.y + 25.0 * np.sin(ego.yaw), 0.0])
            self.data.light_xpos[0] = ahead - 60.0 * np.array(self.look.sun_direction)
        self._cull()

    def _cull(self) -> None:
        """Hide what the camera cannot see or what is smaller than a pixel; drawing it would take time."""
        relative = self.data.geom_xpos - self.map_from_camera[:3, 3]
        camera = relative @ self.map_from_camera[:3, :3]
        radius = self.model.geom_rbound
        distance = np.maximum(np.linalg.norm(camera, axis=1), 0.1)
        slope = np.tan(self.camera.field_of_view / 2) * 1.15
        margin = 25.0 if self.look.shadows else 0.0
        beside = np.abs(camera[:, 0]) - radius * 1.5 > slope * np.maximum(camera[:, 2], 0.0) + margin
        behind = camera[:, 2] + radius < -margin
        tiny = radius / distance * self.intrinsics[0, 0] < 0.8
        far = distance - radius > np.where(radius < SMALL_M, SMALL_FAR_M, FAR_M)
        level = (distance < self._seen[:, 0]) | (distance >= self._seen[:, 1])
        hidden = (beside | behind | tiny | far | level) & (radius > 0.0)
        self.model.geom_group[:] = np.where(hidden, HIDDEN_GROUP, self._groups)

    def light_state(self, index: int) -> str:
        """What the traffic light ``index`` of the layout shows now."""
        lamp = self.world.layout.lamps[index]
        if lamp.dead:
            return "off"
        return self.world.layout.signals[lamp.signal].state(self.world.time, lamp.crossing)

    def _show_light(self, item: Item) -> None:
        item.attribute = self.light_state(item.lamp)
        for name, colour in LAMP_COLOURS.items():
            for geom in item.changing[name]:
                lit = item.attribute == name
                self.model.geom_matid[geom] = self._materials["lit" if lit else "matte"]
                self.model.geom_rgba[geom, :3] = colour if lit else np.multiply(colour, 0.22)
