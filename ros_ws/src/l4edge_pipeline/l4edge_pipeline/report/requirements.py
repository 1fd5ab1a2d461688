"""Limits that a run must hold, such as ``chains.sensor_to_command.p99_ms<=100``."""

import difflib
import math
import operator
import re
from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence

from l4edge_perception.errors import InputError
from l4edge_perception.types import OBJECT_CLASSES
from l4edge_pipeline.report import latency
from l4edge_pipeline.report.judgement import DETECTION_KEYS, DRIVING_KEYS, TRACKING_KEYS
from l4edge_pipeline.report.safety import SAFETY_KEYS
from l4edge_pipeline.stages import MONITOR, StageTable

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}

_LIMIT = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(<=|>=|==|<|>)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """One limit on one number of ``summary.json``.

    Attributes:
        path: keys of the summary joined by dots.
        comparison: a key of ``OPERATORS``.
        limit: what the value is compared with.
    """

    path: str
    comparison: str
    limit: float


def known_paths(table: StageTable) -> List[str]:
    """Every number of a summary that can be limited, whether or not a given run has it."""
    paths = [f"frames.{stage}.{key}" for stage in table.stages for key in latency.FRAME_KEYS]
    paths += [f"stages.{stage}.{key}" for stage in table.stages for key in latency.STAGE_KEYS]
    paths += [f"chains.{chain}.{key}" for chain in table.chains for key in latency.CHAIN_KEYS]
    for section, keys in (("detection", DETECTION_KEYS), ("tracking", TRACKING_KEYS)):
        paths += [f"{section}.{key}" for key in keys]
        paths += [f"{section}.per_class.{name}.{key}" for name in OBJECT_CLASSES for key in keys]
    paths += [f"driving.{key}" for key in DRIVING_KEYS]
    monitored = any(service.part == MONITOR for service in table.services.values())
    return paths + [f"safety.{key}" for key in SAFETY_KEYS if monitored]


def parse_requirements(texts: Sequence[str], table: StageTable) -> List[Requirement]:
    """Read limits, each of the form path, one of ``<= >= < > ==``, number.

    Raises:
        InputError: a text is no such limit, or its path is unknown.
    """
    known = known_paths(table)
    return [_parse(text, known) for text in texts]


def _parse(text: str, known: Collection[str]) -> Requirement:
    parts = _LIMIT.fullmatch(text)
    limit = _number(parts.group(3)) if parts else None
    if parts is None or limit is None:
        raise InputError(
            f"--require {text!r}: is no limit; write PATH, one of <= >= < > ==, and a number, "
            "such as chains.sensor_to_command.p99_ms<=100"
        )
    path = parts.group(1)
    if path not in known:
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.6)
        hint = "did you mean {}?".format(" or ".join(near)) if near else "docs/report.md lists all numbers"
        raise InputError(f"--require {text!r}: the summary has no {path}; {hint}")
    return Requirement(path, parts.group(2), limit)


def _number(text: str) -> Optional[float]:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def check_requirements(requirements: Sequence[Requirement], summary: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Hold a summary against limits. A number that this run does not have fails its limit.

    Returns:
        One row a limit: ``path``, ``comparison``, ``limit``, ``value`` (None: there is none), ``held``.
    """
    rows = []
    for requirement in requirements:
        value = _find(summary, requirement.path)
        held = value is not None and OPERATORS[requirement.comparison](value, requirement.limit)
        rows.append(
            {
                "path": requirement.path,
                "comparison": requirement.comparison,
                "limit": requirement.limit,
                "value": value if value is not None and math.isfinite(value) else None,
                "held": held,
            }
        )
    return rows


def _find(summary: Mapping[str, Any], path: str) -> Optional[float]:
    value: Any = summary
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, (int, float)):
        return value
    # No contact within sight is the best a run can do, not a number that is missing.
    nothing_met = path == "driving.min_ttc_s" and summary.get("driving", {}).get("judged_frames")
    return math.inf if nothing_met else None
