"""The message types that recordings hold: those of ROS 2 and ``l4edge_msgs``, without a ROS installation."""

import functools
import os
from pathlib import Path
from typing import Any, Dict, List

from l4edge_perception.errors import InputError

PACKAGE = "l4edge_msgs"


@functools.lru_cache(maxsize=None)
def load_typestore() -> Any:
    """The ``rosbags`` typestore; ``.types[name]`` is a message class, ``name`` like ``nav_msgs/msg/Odometry``.

    Raises:
        InputError: the definitions of ``l4edge_msgs`` are nowhere to be found, or one of them is broken.
    """
    from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    definitions: Dict[str, Any] = {}
    for path in sorted(message_folder().glob("*.msg")):
        try:
            definitions.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
        except (TypesysError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a message definition ({error})") from error
    store.register(definitions)
    return store


def message_folder() -> Path:
    """The folder with the ``.msg`` files of ``l4edge_msgs``: of the sourced workspace, else of this repository."""
    prefixes = [
        Path(prefix) / "share" for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix
    ]
    candidates: List[Path] = [prefix / PACKAGE / "msg" for prefix in prefixes]
    candidates.append(Path(__file__).resolve().parents[3] / "ros_ws" / "src" / PACKAGE / "msg")
    for folder in candidates:
        if any(folder.glob("*.msg")):
            return folder
    raise InputError(
        "no message definitions of {} in {}; source the workspace that holds the package, or install l4edge from its "
        "repository with `pip install -e .`".format(PACKAGE, " or ".join(str(folder) for folder in candidates))
    )
