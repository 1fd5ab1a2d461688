"""Set up everything the Makefile's targets need, and redo only what changed.

    python3 scripts/environment.py                     what runs the pipeline: .venv and the workspace in ros_ws
    python3 scripts/environment.py --with dev,training further extras of pyproject.toml
    python3 scripts/environment.py --vehicle           .venv-vehicle, with the versions a vehicle has
    python3 scripts/environment.py --scalesim          .venv-scalesim, with a peer that wants another numpy

ROS 2 is taken from a sourced installation where there is one, else from wheels. Each step is remembered in the
environment by the content it depends on. This file keeps to syntax that any Python 3 reads, so that an old one can
be told what is missing.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VEHICLE_VENV = ROOT / ".venv-vehicle"
SCALESIM_VENV = ROOT / ".venv-scalesim"
WORKSPACE = ROOT / "ros_ws"
INSTALL = WORKSPACE / "install"
LOGS = WORKSPACE / "log" / "setup"
PACKAGES = [WORKSPACE / "src", ROOT / "launch"]

OLDEST, NEWEST = (3, 10), (3, 14)
"""Versions of Python the ROS wheels exist for; the developer's tools need the oldest in any case."""

WITHOUT_DEPENDENCIES = ["trackeval==1.3.*"]
"""Installed without what they ask for: trackeval wants opencv-python, which needs libGL and overwrites the files of
opencv-python-headless. Its real needs are listed in the extra `report`."""

SCALESIM = ["scalesim==3.0.0", "numpy<2.4"]
"""What `l4edge bench accel` compares itself with, fixed because its cycles are quoted; it fails with numpy 2.4."""

FOREIGN_VARIABLES = ["PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"]
ROS_VARIABLES = ["PYTHONPATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "ROS_DISTRO"]


class SetupError(Exception):
    """Something on this machine keeps the set-up from going on; the message says what, and what to do."""


def sourced_ros():
    """Return the name of the sourced ROS 2 release if this Python can import its rclpy, else an empty string."""
    if os.environ.get("ROS_DISTRO"):
        with contextlib.suppress(ImportError):
            import rclpy  # noqa: F401  found is not enough: it may be built for another Python

            return os.environ["ROS_DISTRO"]
    return ""


def check_machine(ros):
    """Raise SetupError, one line with the packages to install, unless this machine has what the set-up needs."""
    version = sys.version_info[:2]
    if version < OLDEST or (not ros and version > NEWEST):
        raise SetupError(
            "this is Python {}.{}; needed is {}.{} to {}.{}: install python3 of Debian 12, Ubuntu 22.04 or newer, or "
            "name another one: make PYTHON=python3.12".format(*version, *OLDEST, *NEWEST)
        )
    if not ros and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError("ROS 2 comes as wheels for Linux on x86_64 only: source a ROS 2 installation first "
                         "(apt package ros-jazzy-ros-base)")
    header = Path(sysconfig.get_path("include"), "Python.h")
    missing = [
        package
        for package, present in [
            ("g++", shutil.which(os.environ.get("CXX", "c++")) and shutil.which(os.environ.get("CC", "cc"))),
            ("cmake", shutil.which("cmake")),
            ("make", shutil.which("make")),
            ("python3-venv", importable("ensurepip", "venv")),
            ("python3-dev", header.is_file()),
            ("python3-colcon-common-extensions", not ros or importable("colcon_core", "colcon_ros")),
        ]
        if not present
    ]
    if missing:
        raise SetupError("missing on this machine: apt-get install {}".format(" ".join(missing)))


def importable(*modules):
    """Tell whether this Python finds all of ``modules``."""
    from importlib.util import find_spec

    return all(find_spec(module) is not None for module in modules)


def subprocess_environment(ros):
    """Return the variables for pip and colcon: nothing leaks in from a user's site, environment or other ROS."""
    variables = dict(os.environ)
    for name in FOREIGN_VARIABLES + ([] if ros else ROS_VARIABLES):
        variables.pop(name, None)
    variables.update(
        PATH=os.pathsep.join([str(VENV / "bin"), variables.get("PATH", os.defpath)]),
        PYTHONNOUSERSITE="1",
        PIP_USER="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    if not ros:
        variables.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
    return variables


def run(log, command, variables=None, **settings):
    """Run ``command`` with its output appended to the file ``log``; raise SetupError with its end on failure."""
    with open(str(log), "a") as stream:
        stream.write("$ {}\n".format(" ".join(map(str, command))))
        stream.flush()
        code = subprocess.call(
            [str(part) for part in command], stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
            cwd=str(ROOT), env=variables, **settings
        )
    if code:
        end = Path(log).read_text(errors="replace").splitlines()[-20:]
        raise SetupError("exit code {} of: {}\n  {}\n  all of it: {}".format(
            code, " ".join(map(str, command)), "\n  ".join(end), log))


def digest(*parts):
    """Return a short hash over strings and the names and contents of files and folders."""
    total = hashlib.sha256()
    for part in parts:
        if not isinstance(part, Path):
            total.update(repr(part).encode())
            continue
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def packages_digest():
    """Hash what decides which packages are installed: not the settings of linters, which follow in pyproject.toml."""
    distribution = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[tool.ruff]")[0]
    return digest(distribution, ROOT / "constraints", WITHOUT_DEPENDENCIES)


def workspace_digest():
    """Hash what colcon copies or compiles; Python and launch files are linked, so only their names matter."""
    compiled, linked = [], []
    for folder in PACKAGES:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.parent.name.endswith(".egg-info"):
                is_linked = path.suffix in (".py", ".yaml") and path.name != "setup.py"
                (linked if is_linked else compiled).append(path)
    names = [str(path.relative_to(ROOT)) for path in linked if ROOT / "launch" in path.parents]
    return digest(names, ROOT / "constraints" / "ros.txt", ROOT / "scripts" / "workspace_hook.py", *compiled)


class Steps:
    """Named steps of one environment, each skipped while its key is the one of the last time it ended well.

    All of them are done again when the environment has another ``origin``: the Python and the ROS it is made from.
    """

    def __init__(self, venv, origin):
        self.file = venv / "l4edge-setup.json"
        self.done = json.loads(self.file.read_text()) if self.file.is_file() else {}
        if self.done.get("environment") != origin:
            self.done = {}

    def run(self, name, key, action):
        """Call ``action(log)`` unless the step ``name`` is done for ``key``; print one line with the time it took."""
        if self.done.get(name) == key:
            return
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / "{}-{}.log".format(self.file.parent.name.lstrip("."), name)
        log.write_text("")
        print("l4edge: {:<12}".format(name), end="", flush=True)
        start = time.monotonic()
        try:
            action(log)
        except BaseException:
            print(" failed after {:.0f} s".format(time.monotonic() - start), flush=True)
            raise
        print(" {:4.0f} s".format(time.monotonic() - start), flush=True)
        self.done[name] = key
        temporary = self.file.with_suffix(".part")
        temporary.write_text(json.dumps(self.done, indent=1))
        os.replace(str(temporary), str(self.file))


def make_environment(venv, python, system_site, log):
    """Make a virtual environment anew."""
    shutil.rmtree(str(venv), ignore_errors=True)
    run(log, [python, "-m", "venv"] + (["--system-site-packages"] if system_site else []) + [venv],
        subprocess_environment(system_site))


def install_packages(extras, ros, log):
    """Install this project with ``extras`` into .venv."""
    pip = [VENV / "bin" / "python", "-m", "pip", "install"]
    variables = subprocess_environment(ros)
    if ros:
        # rclpy and the messages are built against the system's numpy; numpy 2 would not load them where that is 1.
        code = "import numpy; print('numpy<2' if numpy.__version__ < '2' else 'numpy')"
        limit = subprocess.check_output([sys.executable, "-c", code], env=variables, universal_newlines=True)
        constraints = LOGS / "sourced-ros.txt"
        constraints.write_text(limit)
    else:
        constraints = ROOT / "constraints" / "ros.txt"
    run(log, pip + ["-c", constraints, "-e", ".[{}]".format(",".join(sorted(extras)))], variables)
    run(log, pip + ["--no-deps"] + WITHOUT_DEPENDENCIES, variables)
    if not ros:
        run(log, [VENV / "bin" / "python", ROOT / "scripts" / "repair_ros_exports.py"], variables)


def build_workspace(ros, log):
    """Build the ROS packages into ros_ws/install and let this environment's Python find them."""
    shutil.rmtree(str(INSTALL), ignore_errors=True)  # so that nothing outlives its source
    python = VENV / "bin" / "python"
    variables = subprocess_environment(ros)
    # Given explicitly, since colcon's own choice also limits the load and waits for other programs.
    variables["MAKEFLAGS"] = "-j{}".format(len(os.sched_getaffinity(0)))
    run(log, [python, "-m", "colcon", "--log-base", WORKSPACE / "log", "build", "--base-paths"] + PACKAGES + [
        "--build-base", WORKSPACE / "build", "--install-base", INSTALL, "--merge-install", "--symlink-install",
        "--event-handlers", "console_direct+", "--cmake-args", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF",
        "-DPython3_EXECUTABLE={}".format(python), "-DBATCH_GENERATED_SOURCES={}".format("OFF" if ros else "ON"),
    ], variables)
    site = Path(subprocess.check_output(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], universal_newlines=True).strip())
    hook = (ROOT / "scripts" / "workspace_hook.py").read_text().replace("@WORKSPACE@", str(INSTALL))
    (site / "l4edge_workspace.py").write_text(hook)
    folders = sorted(INSTALL.glob("**/python3*/*-packages"))
    (site / "l4edge_workspace.pth").write_text("\n".join([*map(str, folders), "import l4edge_workspace", ""]))


def set_up(extras):
    """Bring .venv and the workspace up to date with ``extras`` besides what runs the pipeline."""
    ros = sourced_ros()
    check_machine(ros)
    origin = digest(str(ROOT), sys.version, getattr(sys, "_base_executable", sys.executable), ros)
    steps = Steps(VENV, origin)
    if not steps.done:
        shutil.rmtree(str(WORKSPACE / "build"), ignore_errors=True)  # its caches name the former Python
    steps.run("environment", origin, lambda log: make_environment(VENV, sys.executable, bool(ros), log))

    extras = {"report", *extras} | (set() if ros else {"ros"})
    installed = steps.done.get("packages", {})
    extras |= set(installed.get("extras", []))
    steps.run("packages", {"sources": packages_digest(), "extras": sorted(extras)},
              lambda log: install_packages(extras, ros, log))
    if not (INSTALL / "setup.bash").is_file():
        steps.done.pop("workspace", None)
    steps.run("workspace", workspace_digest(), lambda log: build_workspace(ros, log))


def vehicle_python():
    """Return the oldest Python from 3.8, the vehicle's, to 3.11 that can make an environment."""
    check = "import ensurepip, venv, sys; print(sys.executable)"
    candidates = ["python3.{}".format(minor) for minor in range(8, 12)] + [sys.executable]
    for candidate in [os.environ["VEHICLE_PYTHON"]] if os.environ.get("VEHICLE_PYTHON") else candidates:
        version = "import sys; assert (3, 8) <= sys.version_info < (3, 12);"
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return subprocess.check_output([candidate, "-c", version + check], universal_newlines=True,
                                           stderr=subprocess.DEVNULL).strip()
    raise SetupError("the vehicle's versions need a Python from 3.8 to 3.11: install python3 and python3-venv of "
                     "Debian 12 or Ubuntu 22.04, or name one: make test-vehicle VEHICLE_PYTHON=python3.8")


def set_up_vehicle():
    """Bring .venv-vehicle up to date: the project and its tests' needs, in a vehicle's versions, without ROS."""
    python = vehicle_python()
    origin = digest(str(ROOT), python)
    steps = Steps(VEHICLE_VENV, origin)
    steps.run("environment", origin, lambda log: make_environment(VEHICLE_VENV, python, False, log))
    wanted = ".[test,report]"
    steps.run("packages", digest(packages_digest(), wanted), lambda log: run(
        log, [VEHICLE_VENV / "bin" / "python", "-m", "pip", "install", "-c", ROOT / "constraints" / "vehicle.txt",
              "-e", wanted], subprocess_environment("")))


def set_up_scalesim():
    """Bring .venv-scalesim up to date: SCALE-Sim, and nothing of this project."""
    steps = Steps(SCALESIM_VENV, digest(str(ROOT), sys.version, sys.executable))
    steps.run("environment", digest(str(ROOT), sys.version, sys.executable),
              lambda log: make_environment(SCALESIM_VENV, sys.executable, False, log))
    steps.run("packages", SCALESIM, lambda log: run(
        log, [SCALESIM_VENV / "bin" / "python", "-m", "pip", "install"] + SCALESIM, subprocess_environment("")))


def main():
    """Set up what the arguments ask for; a fault of the machine ends in one message and exit code 2."""
    parser = argparse.ArgumentParser(description="Set up what the Makefile's targets need.")
    parser.add_argument("--with", dest="extras", default="", metavar="EXTRA,...", help="further extras to install")
    parser.add_argument("--vehicle", action="store_true", help="set up .venv-vehicle instead of .venv")
    parser.add_argument("--scalesim", action="store_true", help="set up .venv-scalesim instead of .venv")
    arguments = parser.parse_args()
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would build into the same folders
        try:
            if arguments.vehicle:
                set_up_vehicle()
            elif arguments.scalesim:
                set_up_scalesim()
            else:
                set_up({extra for extra in arguments.extras.split(",") if extra})
        except SetupError as error:
            print("l4edge: {}".format(error), file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
