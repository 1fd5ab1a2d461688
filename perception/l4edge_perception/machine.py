"""What machine a figure was measured on."""

import platform
from pathlib import Path


def processor(cpuinfo: Path = Path("/proc/cpuinfo"), tree: Path = Path("/proc/device-tree/model")) -> str:
    """The processor's name, as far as the system tells it.

    Args:
        cpuinfo: what Linux says of its processors.
        tree: the device tree's name of the board. Boards with Arm cores name themselves there instead.
    """
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return value.strip()
        name = tree.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine() or "unknown"
