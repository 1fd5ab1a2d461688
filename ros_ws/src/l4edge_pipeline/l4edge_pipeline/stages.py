"""Reads ``stages.yaml``, the one table of stages, topics, rates and budgets."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import yaml

from l4edge_perception.errors import InputError

ENGINES = ("cpu", "gpu", "dla0", "dla1", "fpga")
MONITOR = "monitor"
"""The part of the table that can be left out: the safety monitor and the supervisor that acts on what it says."""
OFFLOAD = "offload"
"""Another such part: the node that runs a network on an accelerator, with its topics."""


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        trigger: role of the input that starts a pass; the other inputs are read as they last were.
        result: role of the output that every pass ends with.
        inputs, outputs: role -> topic.
        rate_hz: frames a second.
        budget_ms: what one pass may take from arrival to result.
        deadline_ms: when the result is of no use any more, from the frame's arrival at the stage.
        queue_depth: frames that may wait; the newest wins.
        package: model package (a folder below ``models/`` or a path), for stages that run a network.
        level: operating point of the package; None: its first.
        part: what may be left out as a whole, such as "monitor"; None: what always runs.
    """

    name: str
    node: str
    trigger: str
    result: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    rate_hz: float
    budget_ms: float
    deadline_ms: float
    queue_depth: int = 1
    engine: str = "cpu"
    package: Optional[str] = None
    level: Optional[str] = None
    part: Optional[str] = None


@dataclass(frozen=True)
class Chain:
    """Stages in order from a sensor stamp to a command."""

    name: str
    stages: Tuple[str, ...]
    budget_ms: float


@dataclass(frozen=True)
class Service:
    """A node that watches the stages."""

    name: str
    node: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    part: Optional[str] = None


@dataclass(frozen=True)
class StageTable:
    """All of ``stages.yaml``."""

    stages: Mapping[str, Stage]
    chains: Mapping[str, Chain]
    services: Mapping[str, Service]

    def without(self, part: str) -> "StageTable":
        """The table without the stages and services of that part, and without the inputs that only they write."""
        entries: List[Any] = [*self.stages.values(), *self.services.values()]
        gone = [entry for entry in entries if entry.part == part]
        topics = {topic for entry in gone for topic in entry.outputs.values()}

        def kept(entries: Mapping[str, Any]) -> Dict[str, Any]:
            return {
                name: replace(entry, inputs={k: v for k, v in entry.inputs.items() if v not in topics})
                for name, entry in entries.items()
                if entry.part != part
            }

        return StageTable(kept(self.stages), self.chains, kept(self.services))

    def predecessor(self, stage: str) -> Optional[str]:
        """The stage whose result triggers ``stage``; None for a stage that a sensor triggers."""
        entry = self.stages[stage]
        trigger = entry.inputs[entry.trigger]
        for other in self.stages.values():
            if trigger == other.outputs[other.result]:
                return other.name
        return None


def default_path() -> Path:
    """Where ``stages.yaml`` lies: in a sourced ROS workspace, else in this repository."""
    return configuration_folder() / "stages.yaml"


def configuration_folder() -> Path:
    """The folder with ``stages.yaml`` and the parameter files of the nodes."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        installed = Path(prefix, "share", "l4edge_bringup", "config")
        if prefix and installed.is_dir():
            return installed
    return Path(__file__).resolve().parents[4] / "launch" / "config"


def load_stages(
    path: Optional[Union[str, Path]] = None, monitor: bool = False, offload: bool = False
) -> StageTable:
    """Read and check a table of stages.

    Args:
        path: None: the table that ships.
        monitor: whether the safety monitor and its supervisor are part of the run; else they are left out.
        offload: whether the offload node is; else it is left out.

    Raises:
        InputError: the file is missing, is no YAML, or a field is missing, unknown or out of range.
    """
    path = Path(path) if path else default_path()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("{}: is not valid YAML: {}".format(path, " ".join(str(error).split()))) from error
    if not isinstance(content, dict) or content.get("version") != 1:
        raise InputError(f"{path}: version: must be 1")
    unknown = set(content) - {"version", "stages", "chains", "services"}
    if unknown:
        raise InputError(f"{path}: unknown key {sorted(unknown)[0]}; known: stages, chains, services")
    tables = {}
    for key, kind in (("stages", Stage), ("chains", Chain), ("services", Service)):
        section = content.get(key) or {}
        if not isinstance(section, dict):
            raise InputError(f"{path}: {key}: must map names to entries")
        tables[key] = {
            name: _entry(kind, name, entry, f"{path}: {key}.{name}") for name, entry in section.items()
        }
    table = StageTable(**tables)
    _check(table, path)
    for part, wanted in ((MONITOR, monitor), (OFFLOAD, offload)):
        table = table if wanted else table.without(part)
    return table


def _entry(kind: type, name: str, entry: Any, where: str) -> Any:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a mapping")
    types: Dict[str, Any] = kind.__annotations__
    values = dict(entry)
    for key, value in values.items():
        if key not in types or key == "name":
            known = ", ".join(sorted(set(types) - {"name"}))
            raise InputError(f"{where}.{key}: unknown field; known: {known}")
        _check_type(types[key], value, f"{where}.{key}")
    if kind is Chain and "stages" in values:
        values["stages"] = tuple(values["stages"])
    try:
        return kind(name=name, **values)
    except TypeError as error:
        missing = str(error).split(": ")[-1]
        raise InputError(f"{where}: missing {missing}") from error


def _check_type(annotation: Any, value: Any, where: str) -> None:
    if annotation is float or annotation is int:
        valid = isinstance(value, (int, float) if annotation is float else int) and not isinstance(value, bool)
        if not valid or not 0 < value < float("inf"):
            raise InputError(f"{where}: must be a positive number, is {value!r}")
    elif annotation is str:
        if not isinstance(value, str) or not value:
            raise InputError(f"{where}: must be a word, is {value!r}")
    elif annotation == Optional[str]:
        if value is not None and not isinstance(value, str):
            raise InputError(f"{where}: must be a word or empty, is {value!r}")
    elif annotation == Mapping[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) for pair in value.items() for item in pair):
            raise InputError(f"{where}: must map roles to topics")
        for topic in value.values():
            if not topic.startswith("/"):
                raise InputError(f"{where}: topic {topic!r} must start with /")
    elif not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}: must be a list of words")


def _check(table: StageTable, path: Path) -> None:
    for stage in table.stages.values():
        for key, role, roles in (("trigger", stage.trigger, stage.inputs), ("result", stage.result, stage.outputs)):
            if role not in roles:
                where = f"{path}: stages.{stage.name}.{key}"
                raise InputError("{}: {!r} is no role of {}".format(where, role, ", ".join(roles) or "none"))
        if stage.engine not in ENGINES:
            raise InputError(
                "{}: stages.{}.engine: {!r} is none of {}".format(path, stage.name, stage.engine, ", ".join(ENGINES))
            )
        if stage.queue_depth != 1:
            raise InputError(f"{path}: stages.{stage.name}.queue_depth: only 1 is supported")
    for chain in table.chains.values():
        for name in chain.stages:
            if name not in table.stages:
                raise InputError(f"{path}: chains.{chain.name}.stages: {name!r} is no stage")
        for before, after in zip(chain.stages, chain.stages[1:]):
            if table.predecessor(after) != before:
                raise InputError(
                    f"{path}: chains.{chain.name}.stages: {after} is not triggered by {before}"
                )
