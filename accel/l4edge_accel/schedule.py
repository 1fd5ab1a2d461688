"""What of a workload may run when: which operation follows which, and which ones split into heads."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from l4edge_accel.workload import Gemm, Operation, Workload
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Plan:
    """Order within one inference.

    Attributes:
        parts: of each operation: repeats (heads, groups) of a matrix product, or the heads of a softmax.
        follows: of each operation, those that must be complete before it; indices.
        by_part: whether a part of an operation waits only for the same part of the one that it follows.
    """

    parts: Tuple[int, ...]
    follows: Tuple[Tuple[int, ...], ...]
    by_part: Tuple[bool, ...]


def plan(workload: Workload, dependencies: Optional[Mapping[str, Sequence[str]]] = None, split: bool = True) -> Plan:
    """Say what may run when.

    Args:
        workload: its order of operations is one that the network allows, so by default each follows the one before.
        dependencies: names that other operations follow instead, by name; None: those of :func:`branches`.
        split: whether heads of attention proceed on their own.

    Raises:
        InputError: a name that the workload does not have, or that comes later than what should follow it.
    """
    operations = workload.operations
    exceptions = branches(workload) if dependencies is None else dependencies
    places: Dict[str, int] = {}
    follows: List[Tuple[int, ...]] = []
    for index, operation in enumerate(operations):
        names = exceptions.get(operation.name)
        if names is None:
            follows.append((index - 1,) if index else ())
        else:
            missing = [name for name in names if name not in places]
            if missing:
                raise InputError(f"dependencies of {operation.name!r}: no operation {missing[0]!r} before it")
            follows.append(tuple(places[name] for name in names))
        places[operation.name] = index
    unknown = sorted(set(exceptions) - set(places))
    if unknown:
        raise InputError(f"dependencies: {workload.name} has no operation {unknown[0]!r}")
    parts: List[int] = []
    by_part: List[bool] = []
    for index, operation in enumerate(operations):
        before = follows[index]
        after_heads = len(before) == 1 and _per_head(operations[before[0]]) and _per_head(operation)
        if isinstance(operation, Gemm):
            parts.append(operation.repeats)
        else:
            parts.append(parts[before[0]] if after_heads and split else 1)
        by_part.append(split and after_heads and parts[index] == parts[before[0]])
    return Plan(tuple(parts), tuple(follows), tuple(by_part))


def _per_head(operation: Operation) -> bool:
    """Whether an operation works on each head of attention by itself."""
    return operation.of_activations if isinstance(operation, Gemm) else operation.kind == "softmax"


def branches(workload: Workload) -> Dict[str, Tuple[str, ...]]:
    """Operations beside the main path of a residual network: ``downsample`` reads what its block's ``conv1`` reads."""
    names = [operation.name for operation in workload.operations]
    found: Dict[str, Tuple[str, ...]] = {}
    for index, name in enumerate(names):
        block = name[: -len("downsample")]
        first = block + "conv1"
        if name.endswith(".downsample") and first in names[1:index] and index + 1 < len(names):
            found[name] = (names[names.index(first) - 1],)
            found[names[index + 1]] = (names[index - 1], name)
    return found
