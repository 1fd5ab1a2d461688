"""Draws a scene: the colour image, and which geom each pixel belongs to."""

from typing import Any

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_simulation.rendering.graphics import mujoco
from l4edge_simulation.rendering.scene import Scene

SPARE_GEOMS = 50  # MuJoCo may add some of its own


class Renderer:
    """Renders scenes of one image size; keep one for many drives, and call :meth:`load` for each.

    Args:
        width, height: pixels. samples: of each pixel's edges, 0 or 4.

    Raises:
        InputError: this machine has no OpenGL library to render with.
    """

    def __init__(self, width: int, height: int, samples: int = 4) -> None:
        self.width, self.height, self._samples = width, height, samples
        try:
            self._context = mujoco.GLContext(width, height)
            self._context.make_current()
        except Exception as error:  # each backend raises its own kind
            raise InputError(
                f"MuJoCo cannot render here ({error}): install the Debian packages libegl1 and libgl1-mesa-dri, "
                "or libosmesa6 and set MUJOCO_GL=osmesa"
            ) from error
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._scene: Scene | None = None
        self._resources: Any = None
        self._drawn: Any = None

    def load(self, scene: Scene) -> None:
        """Take a scene's meshes and textures to the graphics side; frees those of the scene before."""
        self._unload()
        self._scene = scene
        scene.model.vis.quality.offsamples = self._samples
        self._resources = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
        self._drawn = mujoco.MjvScene(scene.model, maxgeom=scene.model.ngeom + SPARE_GEOMS)

    def close(self) -> None:
        """Free everything."""
        self._unload()
        self._context.free()

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """The loaded scene as it is posed: (H, W, 3) uint8 red green blue, and (H, W) int32 geom ids, -1 for none."""
        if self._scene is None:
            raise ValueError("load a scene first")
        scene, drawn, flags = self._scene, self._drawn, mujoco.mjtRndFlag
        mujoco.mjv_updateScene(
            scene.model, scene.data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, drawn
        )
        for flag in (flags.mjRND_HAZE, flags.mjRND_REFLECTION):
            drawn.flags[flag] = False
        drawn.flags[flags.mjRND_SHADOW], drawn.flags[flags.mjRND_FOG] = scene.look.shadows, True
        drawn.flags[flags.mjRND_SEGMENT] = drawn.flags[flags.mjRND_IDCOLOR] = False
        image = self._draw()
        drawn.flags[flags.mjRND_SHADOW] = drawn.flags[flags.mjRND_FOG] = False
        drawn.flags[flags.mjRND_SEGMENT] = drawn.flags[flags.mjRND_IDCOLOR] = True
        red, green, blue = np.moveaxis(self._draw().astype(np.int32), -1, 0)
        numbers = red | (green << 8) | (blue << 16)
        # Geoms are numbered as they are drawn, from 1; the last entry stands for any other number.
        geoms = np.full(drawn.ngeom + 2, -1, np.int32)
        for geom in drawn.geoms[: drawn.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geoms[geom.segid + 1] = geom.objid
        return image, geoms[np.minimum(numbers, drawn.ngeom + 1)]

    def _draw(self) -> np.ndarray:
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(self._rectangle, self._drawn, self._resources)
        mujoco.mjr_readPixels(pixels, None, self._rectangle, self._resources)
        return pixels[::-1]  # OpenGL counts rows from the bottom

    def _unload(self) -> None:
        if self._resources is not None:
            self._resources.free()
            self._resources = None
