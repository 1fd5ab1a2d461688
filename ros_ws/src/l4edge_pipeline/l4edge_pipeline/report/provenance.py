"""On what machine and with which software a run was made."""

import os
import platform
from importlib import metadata
from typing import Any, Dict, Optional

from l4edge_perception.machine import processor

PACKAGES = ("l4edge", "numpy", "scipy", "onnxruntime", "opencv-python-headless", "rosbags")


def describe_machine() -> Dict[str, Any]:
    """Processor, cores that this process may use, memory, operating system."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _memory_gib() -> Optional[float]:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def describe_versions() -> Dict[str, Optional[str]]:
    """Versions of what took part; None where it is not installed."""
    versions: Dict[str, Optional[str]] = {"python": platform.python_version()}
    versions.update({name: _version(name) for name in PACKAGES})
    # A sourced ROS installation names its distribution; rclpy from wheels has only its own version.
    versions["ros_distro"] = os.environ.get("ROS_DISTRO")
    versions["rclpy"] = _version("rclpy") or _version("ros-rclpy")
    versions["rmw"] = os.environ.get("RMW_IMPLEMENTATION", "default of the ROS installation")
    return versions


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
