"""Finds the files that ship with the project: model packages, parameter files, the demo drive."""

import os
from pathlib import Path
from typing import List, Optional

from l4edge_perception.errors import InputError
from l4edge_pipeline.stages import configuration_folder

REPOSITORY = Path(__file__).resolve().parents[4]


def find_package(name: str) -> Path:
    """The folder of a model package.

    Args:
        name: a path, or the name of a package in ``$L4EDGE_MODELS`` or among those that ship.

    Raises:
        InputError: there is none.
    """
    folders: List[Path] = [Path(name)]
    if os.environ.get("L4EDGE_MODELS"):
        folders.append(Path(os.environ["L4EDGE_MODELS"], name))
    folders.append(REPOSITORY / "models" / name)
    for folder in folders:
        if (folder / "manifest.json").is_file():
            return folder
    raise InputError("no model package {!r}: no manifest.json in {}".format(name, ", ".join(map(str, folders))))


def check_classifier(name: Optional[str], level: Optional[str]) -> Optional[str]:
    """The package that reads signs and lights as nodes are to be told: a folder, "off", or None for their own.

    Raises:
        InputError: there is no such package, or it has no such level.
    """
    from l4edge_perception.packages import load_package

    if name == "off" or (name is None and level is None):
        return name
    folder = find_package(name or "sign_classifier").resolve()
    load_package(folder).level(level)
    return str(folder)


def parameter_files(node: str) -> List[Path]:
    """The parameter file of a node, as a list that is empty when it has none."""
    path = configuration_folder() / (node + ".param.yaml")
    return [path] if path.is_file() else []
