"""Writes shapes into a MuJoCo specification."""

from typing import Any

import numpy as np

from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.shapes.geometry import Mesh
from l4edge_simulation.shapes.parts import Part, Shape

FINISHES = {
    "matte": (0.03, 0.1, 0.0),
    "paint": (0.45, 0.75, 0.0),
    "glass": (0.8, 0.9, 0.05),
    "wet": (0.35, 0.6, 0.0),
    "dim": (0.1, 0.3, 0.35),
    "lit": (0.0, 0.0, 1.0),
    "sign": (0.1, 0.3, 0.06),
}
"""Finish of a surface: specular, shininess, emission."""

PRIMITIVES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}
BRIGHTEST = 0.998  # MuJoCo takes a colour that equals its default for "use the material's"


def material_name(finish: str, texture: str = "") -> str:
    """Name of the material of a finish and a texture."""
    return f"{finish}/{texture}"


class Builder:
    """A MuJoCo specification under construction; equal meshes and materials are shared.

    Attributes:
        spec: the specification (``mujoco.MjSpec``).
    """

    def __init__(self) -> None:
        self.spec = mujoco.MjSpec()
        self._meshes: dict[int, tuple[str, Mesh]] = {}
        self._materials: set[str] = set()
        self._bodies = 0

    def texture(self, name: str, image: np.ndarray, skybox: bool = False) -> None:
        """Add an image (H, W, 3) uint8; a skybox is six stacked squares."""
        kind = mujoco.mjtTexture.mjTEXTURE_SKYBOX if skybox else mujoco.mjtTexture.mjTEXTURE_2D
        height, width = image.shape[:2]
        added = self.spec.add_texture(name=name, type=kind, width=width, height=height, nchannel=3)
        added.data = np.ascontiguousarray(image).tobytes()

    def material(self, finish: str, texture: str = "") -> str:
        """The name of a material, added when it is new."""
        name = material_name(finish, texture)
        if name not in self._materials:
            specular, shininess, emission = FINISHES[finish]
            material = self.spec.add_material(name=name, specular=specular, shininess=shininess, emission=emission)
            if texture:
                material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture
            self._materials.add(name)
        return name

    def part(self, body: Any, part: Part) -> Any:
        """Add a part to a body; returns its geom."""
        settings: dict[str, Any] = {
            "rgba": [*np.clip(part.colour, 0.0, BRIGHTEST), part.alpha],
            "material": self.material(part.finish, part.texture),
            "contype": 0,
            "conaffinity": 0,
        }
        if part.pitch:
            settings["quat"] = [np.cos(part.pitch / 2), 0.0, np.sin(part.pitch / 2), 0.0]
        if part.mesh is not None:
            mesh = self._mesh(part.mesh)
            return body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, pos=part.position, **settings)
        settings["size"] = [*part.size, *([0.0] * (3 - len(part.size)))]
        if part.ends:
            return body.add_geom(type=PRIMITIVES[part.kind], fromto=part.ends, **settings)
        return body.add_geom(type=PRIMITIVES[part.kind], pos=part.position, **settings)

    def shape(
        self, shape: Shape, position: tuple[float, float, float], yaw: float, moving: bool = False
    ) -> tuple[Any, list[Any], list[Any]]:
        """Add a shape to the world; returns its body, the geoms of its parts and its joints.

        ``moving``: whether its pose is set for each image (a mocap body).
        """
        name = f"body{self._bodies}"
        self._bodies += 1
        quaternion = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        body = self.spec.worldbody.add_body(name=name, mocap=moving, pos=position, quat=quaternion)
        limbs: list[Any] = []
        joints = []
        for index, joint in enumerate(shape.joints):
            parent = body if joint.parent is None else limbs[joint.parent]
            limbs.append(parent.add_body(name=f"{name}/{index}", pos=joint.position))
            joints.append(limbs[-1].add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 1.0, 0.0]))
        geoms = [self.part(body if part.joint is None else limbs[part.joint], part) for part in shape.parts]
        return body, geoms, joints

    def _mesh(self, mesh: Mesh) -> str:
        if id(mesh) not in self._meshes:
            name = f"mesh{len(self._meshes)}"
            more = {} if mesh.uv is None else {"usertexcoord": mesh.uv.astype(np.float32).ravel()}
            self.spec.add_mesh(
                name=name,
                uservert=mesh.vertices.astype(np.float32).ravel(),
                userface=mesh.faces.astype(np.int32).ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
                **more,
            )
            # Keeping the mesh keeps its id() from being given to another one.
            self._meshes[id(mesh)] = (name, mesh)
        return self._meshes[id(mesh)][0]
