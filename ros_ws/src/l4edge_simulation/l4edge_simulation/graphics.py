"""MuJoCo with a way to render chosen. Import ``mujoco`` from here: its choice is made when it is first imported."""

import ctypes.util
import os

if "MUJOCO_GL" not in os.environ:
    # Without a display GLFW, MuJoCo's own default, cannot draw. A user's own setting stays.
    os.environ["MUJOCO_GL"] = "egl" if ctypes.util.find_library("EGL") else "osmesa"

import mujoco  # noqa: E402

__all__ = ["mujoco"]
