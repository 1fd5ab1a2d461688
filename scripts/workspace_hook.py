"""Let every Python of this environment find the ROS workspace without sourcing anything.

``scripts/environment.py`` copies this file into the environment's site-packages, next to a ``.pth`` file that imports
it whenever Python starts. The loader reads LD_LIBRARY_PATH once, when a process begins, and the type support of a
message is opened by its bare name; so where the workspace's folder is missing there, the same command has to begin
again in the same process. The ROS wheels bring a hook that does just that for their own libraries and runs after this
one (``.pth`` files are read in order of their names), so with wheels it stays at one restart.
"""

import os
import sys

WORKSPACE = "@WORKSPACE@"
"""``ros_ws/install``, filled in by the set-up."""

WHEELS_HOOK = os.path.join(os.path.dirname(__file__), "ros_wheels_bootstrapper.pth")
WHEELS_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def add_missing(variable, folder):
    """Put ``folder`` in front of the search path ``variable`` if it is not on it; tell whether it was missing."""
    present = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry]
    if folder in present:
        return False
    os.environ[variable] = os.pathsep.join([folder] + present)
    return True


def prepare():
    """Set what ROS reads from the process environment, and begin again if the loader has already read it."""
    add_missing("AMENT_PREFIX_PATH", WORKSPACE)
    if not add_missing("LD_LIBRARY_PATH", os.path.join(WORKSPACE, "lib")):
        return
    if os.path.exists(WHEELS_HOOK):
        os.environ.pop(WHEELS_GUARD, None)  # set by a parent process of another environment
    else:
        os.execv(sys.executable, sys.orig_argv)


# ros_ws/install/setup.bash has a Python work out which variables lack the workspace: it must see them as they are.
asked_by_setup_file = any(argument.endswith("_local_setup_util_sh.py") for argument in sys.orig_argv)

if os.path.isdir(os.path.join(WORKSPACE, "lib")) and not asked_by_setup_file:
    prepare()
