"""Builds the MuJoCo model of a drive and the table of what the ground truth knows of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from l4edge_simulation.appearance import CameraPose, Look, stream
from l4edge_simulation.rendering.builder import FINISHES, Builder
from l4edge_simulation.rendering.cast import Cast, Member, draw_cast
from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.scenery.ground import ground
from l4edge_simulation.scenery.sky import sky
from l4edge_simulation.scenery.surroundings import draw_textures, surroundings
from l4edge_simulation.shapes.parts import ALWAYS, Shape
from l4edge_simulation.world.actors import actors
from l4edge_simulation.world.state import State

FAR_M = 320.0
NEAR_M = 0.3
EGO_BODY = "ego"
SHADOW_MAP_PX, SHADOW_REACH_M = 2048, 45.0
TERRAIN_PER_M = 0.12  # repetitions of the open ground's texture


@dataclass
class Item:
    """One labelled object in the model.

    Attributes:
        member: what it is.
        geoms: ids of the geoms that are the object. outlines: those of them that make its silhouette.
        changing: role to ids of the geoms that have it.
        mocap: index of the pose to set for each image, -1 for what stands still.
        joints: addresses of its joint angles.
    """

    member: Member
    geoms: list[int] = field(default_factory=list)
    outlines: list[int] = field(default_factory=list)
    changing: dict[str, list[int]] = field(default_factory=dict)
    mocap: int = -1
    joints: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Assembly:
    """A drive's model (``mujoco.MjModel``), its labelled items, and (G, 2) distances at which each geom is drawn."""

    model: Any
    items: list[Item]
    seen: np.ndarray


def assemble(state: State, seed: int, split: str, look: Look, camera: CameraPose) -> Assembly:
    """Draw the looks of everything in a drive and build its model."""
    rng = stream(seed, "appearance")
    builder = Builder()
    _set_visuals(builder.spec, look, camera)
    builder.texture("sky", sky(look, rng), skybox=True)
    flat, images = ground(state.layout, split, look, rng)
    images |= draw_textures(split, look, rng)
    things = surroundings(state.layout, look, rng)
    cast = draw_cast(state.layout, actors(state), split, look, rng)
    for name, image in (images | cast.images).items():
        builder.texture(name, image)
    for part in flat:
        builder.part(builder.spec.worldbody, part)
    _add_terrain(builder.spec)
    adding = _Adding(builder)
    for thing in things:
        adding.add(thing.shape, (thing.x, thing.y, thing.z), thing.yaw)
    pending = _add_members(adding, cast)
    _add_ego(builder.spec, look, camera)
    for finish in FINISHES:
        builder.material(finish)
    model = builder.spec.compile()
    seen = np.tile(np.array(ALWAYS), (model.ngeom, 1))
    for geom, limits in adding.limited:
        seen[geom.id] = limits
    return Assembly(model, [_item(model, *entry) for entry in pending], seen)


@dataclass
class _Adding:
    """Adds shapes and remembers which geoms are drawn at some distances only."""

    builder: Builder
    limited: list[tuple[Any, tuple[float, float]]] = field(default_factory=list)

    def add(self, shape: Shape, position: tuple[float, float, float], yaw: float, moving: bool = False) -> tuple:
        body, geoms, joints = self.builder.shape(shape, position, yaw, moving)
        for geom, part in zip(geoms, shape.parts, strict=True):
            if part.seen != ALWAYS:
                self.limited.append((geom, part.seen))
        return body, geoms, joints


def _set_visuals(spec: Any, look: Look, camera: CameraPose) -> None:
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = camera.width, camera.height
    visual.quality.shadowsize = SHADOW_MAP_PX if look.shadows else 0
    visual.quality.numslices, visual.quality.numstacks = 10, 5
    visual.map.fogstart, visual.map.fogend = look.fog_range
    visual.map.znear, visual.map.zfar = NEAR_M, FAR_M
    visual.map.shadowclip = SHADOW_REACH_M
    visual.rgba.fog = [*look.fog, 1.0]
    visual.headlight.ambient = list(look.ambient)
    visual.headlight.diffuse = visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.stat.extent = 1.0  # the distances above are multiples of it


def _add_terrain(spec: Any) -> None:
    """Endless open ground just below the road."""
    material = spec.add_material(name="terrain", specular=0.0, texrepeat=[TERRAIN_PER_M] * 2, texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "terrain"
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(type=plane, size=[0, 0, 4], pos=[0, 0, -0.03], material="terrain", contype=0, conaffinity=0)


def _add_members(adding: _Adding, cast: Cast) -> list[tuple]:
    pending = []
    for member in cast.members:
        added = adding.add(member.shape, member.position, member.yaw, moving=bool(member.key))
        pending.append((member, *added))
        if member.pole is not None:
            adding.add(member.pole, member.position, member.yaw)
    return pending


def _add_ego(spec: Any, look: Look, camera: CameraPose) -> None:
    """The camera, the sun, and at night the ego's head lamps; the first camera and light are these."""
    ego = spec.worldbody.add_body(name=EGO_BODY, mocap=True)
    vertical = 2.0 * np.arctan(np.tan(camera.field_of_view / 2) * camera.height / camera.width)
    ego.add_camera(name="front", fovy=float(np.degrees(vertical)))
    spec.worldbody.add_light(
        name="sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=look.sun_direction,
        pos=[0, 0, 60],
        diffuse=look.sun,
        specular=[0.5 * value for value in look.sun],
        ambient=[0, 0, 0],
        castshadow=look.shadows,
    )
    if look.name == "night":
        for side in (-1, 1):
            ego.add_light(
                name=f"beam{side}",
                type=mujoco.mjtLightType.mjLIGHT_SPOT,
                pos=[3.6, side * 0.7, 0.75],
                dir=[1.0, side * 0.06, -0.035],
                cutoff=38.0,
                exponent=9.0,
                diffuse=[0.75, 0.73, 0.66],
                specular=[0.3, 0.3, 0.3],
                attenuation=[0.5, 0.02, 0.0008],
                ambient=[0, 0, 0],
                castshadow=False,
            )


def _item(model: Any, member: Member, body: Any, geoms: list[Any], joints: list[Any]) -> Item:
    """Ids are known once the model is compiled."""
    item = Item(member, mocap=int(model.body_mocapid[body.id]))
    for geom, part in zip(geoms, member.shape.parts, strict=True):
        if part.counted:
            item.geoms.append(int(geom.id))
        if part.counted and part.outlines:
            item.outlines.append(int(geom.id))
        if part.role:
            item.changing.setdefault(part.role, []).append(int(geom.id))
    item.joints = [int(model.jnt_qposadr[joint.id]) for joint in joints]
    return item
