"""MuJoCo with a way to render chosen. Import ``mujoco`` from here: it chooses when it is first imported."""

import ctypes.util
import os
import sys

from l4edge_perception.errors import InputError

if "MUJOCO_GL" not in os.environ:
    if "mujoco" in sys.modules:
        raise InputError("mujoco was imported first and chose a way to render; import this first, or set MUJOCO_GL=egl")
    # GLFW, MuJoCo's own default, cannot draw without a display. Without a library the renderer says what is missing.
    libraries = {"egl": "EGL", "osmesa": "OSMesa"}
    usable = [backend for backend, library in libraries.items() if ctypes.util.find_library(library)]
    os.environ["MUJOCO_GL"] = usable[0] if usable else "disable"

try:
    import mujoco
except ModuleNotFoundError as error:
    raise InputError("the simulation needs MuJoCo: pip install 'l4edge[simulation]'") from error
except (AttributeError, ImportError) as error:
    raise InputError(
        f"MUJOCO_GL={os.environ['MUJOCO_GL']} cannot be used here ({error}): unset it, or install the Debian packages "
        "libegl1 and libgl1-mesa-dri, or libosmesa6"
    ) from error

__all__ = ["mujoco"]
