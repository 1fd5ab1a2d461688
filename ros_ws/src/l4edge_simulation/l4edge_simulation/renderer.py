"""Draws a scene: the colour image, and which geom each pixel belongs to."""

from typing import Tuple

import numpy as np

from l4edge_perception.errors import InputError

from .graphics import mujoco


class Renderer:
    """Renders scenes of one image size; keep one for many drives, and call :meth:`load` for each."""

    def __init__(self, width: int, height: int, samples: int = 4) -> None:
        self.width, self.height, self._samples = width, height, samples
        try:
            self._context = mujoco.GLContext(width, height)
            self._context.make_current()
        except Exception as error:
            raise InputError("OpenGL cannot start here ({}): install the Debian package libegl1 (with "
                             "libgl1-mesa-dri), or libosmesa6 and set MUJOCO_GL=osmesa".format(error)) from error
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._resources = None

    def load(self, scene) -> None:
        """Take a scene's meshes and textures to the graphics side."""
        self.close_scene()
        self._scene = scene
        scene.model.vis.quality.offsamples = self._samples
        self._resources = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
        self._drawn = mujoco.MjvScene(scene.model, maxgeom=scene.model.ngeom + 50)

    def close_scene(self) -> None:
        """Free what :meth:`load` took."""
        if self._resources is not None:
            self._resources.free()
            self._resources = None

    def close(self) -> None:
        """Free everything."""
        self.close_scene()
        self._context.free()

    def render(self) -> Tuple[np.ndarray, np.ndarray]:
        """The loaded scene as it is posed: (H, W, 3) uint8 red green blue, and (H, W) int32 geom ids, -1 for none."""
        drawn = self._drawn
        flags = mujoco.mjtRndFlag
        mujoco.mjv_updateScene(self._scene.model, self._scene.data, self._option, None, self._camera,
                               mujoco.mjtCatBit.mjCAT_ALL, drawn)
        drawn.flags[flags.mjRND_SHADOW] = self._scene.look.shadows
        drawn.flags[flags.mjRND_FOG] = True
        drawn.flags[flags.mjRND_HAZE] = False
        drawn.flags[flags.mjRND_REFLECTION] = False
        image = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, drawn, self._resources)
        mujoco.mjr_readPixels(image, None, self._rectangle, self._resources)
        drawn.flags[flags.mjRND_SHADOW] = drawn.flags[flags.mjRND_FOG] = False
        drawn.flags[flags.mjRND_SEGMENT] = drawn.flags[flags.mjRND_IDCOLOR] = True
        codes = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, drawn, self._resources)
        mujoco.mjr_readPixels(codes, None, self._rectangle, self._resources)
        drawn.flags[flags.mjRND_SEGMENT] = drawn.flags[flags.mjRND_IDCOLOR] = False
        number = codes[..., 0].astype(np.int32) | (codes[..., 1].astype(np.int32) << 8) | (
            codes[..., 2].astype(np.int32) << 16)
        geoms = np.full(drawn.ngeom + 2, -1, np.int32)
        for geom in drawn.geoms[: drawn.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geoms[geom.segid + 1] = geom.objid
        return image[::-1], geoms[np.minimum(number, drawn.ngeom + 1)][::-1]
