"""Point the CMake files in the ROS wheels at this environment.

The exported targets of every message package carry the include folders of the machine that built the wheels
(``/opt/python/cp311-cp311/...``), and CMake rejects a folder that does not exist. This rewrites them to the folders of
the Python that runs it. Running it again changes nothing.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

BUILDERS_NUMPY = re.compile(r'/opt/python/[^/;"]+/lib/python[^/;"]+/site-packages/numpy/_?core/include')
BUILDERS_PYTHON = re.compile(r'/opt/python/[^/;"]+/include/python[^/;"]+')


def repaired(text: str) -> str:
    """Return ``text``, an exported targets file, with this environment's include folders."""
    text = BUILDERS_NUMPY.sub(lambda _: np.get_include(), text)
    return BUILDERS_PYTHON.sub(lambda _: sysconfig.get_path("include"), text)


def main() -> None:
    """Repair every package of the running environment and say how many files it took."""
    count = 0
    for path in Path(sys.prefix).glob("share/*/cmake/*.cmake"):
        text = path.read_text(encoding="utf-8")
        if (changed := repaired(text)) != text:
            path.write_text(changed, encoding="utf-8")
            count += 1
    print(f"repaired {count} files")


if __name__ == "__main__":
    main()
