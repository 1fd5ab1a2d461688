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


def check_offload(what: Optional[str], stages_file: Path, classifier: Optional[str], level: Optional[str]) -> None:
    """Find out before anything starts whether the classifier can be offloaded.

    Args:
        what: "signs"; None: nothing is offloaded, and nothing is checked.

    Raises:
        InputError: no classifier, one without a quantized level, another level, or a table without that node.
    """
    if what is None:
        return
    from l4edge_accel.offload.backend import quantized_level
    from l4edge_perception.packages import load_package
    from l4edge_pipeline.stages import OFFLOAD, load_stages

    if classifier == "off":
        raise InputError("--offload signs: --classifier is off, so there is nothing to offload")
    quantized_level(load_package(find_package(classifier or "sign_classifier")), level)
    if OFFLOAD not in load_stages(stages_file, offload=True).services:
        raise InputError(f"{stages_file}: services.{OFFLOAD}: missing, so nothing can be offloaded")


def parameter_files(node: str) -> List[Path]:
    """The parameter file of a node, as a list that is empty when it has none."""
    path = configuration_folder() / (node + ".param.yaml")
    return [path] if path.is_file() else []
