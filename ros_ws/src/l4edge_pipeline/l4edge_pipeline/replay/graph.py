"""Starts the pipeline's nodes as processes: the same classes and parameters that ``ros2 launch`` starts."""

import json
import os
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Union

from l4edge_pipeline.replay.processes import Child, ProcessGroup
from l4edge_pipeline.resources import parameter_files
from l4edge_pipeline.stages import StageTable

Value = Union[str, int, float, bool]


def environment(logs: Path) -> Dict[str, str]:
    """What the nodes of one run share on top of the caller's environment.

    The graph stays on this machine, and, unless the user has chosen a domain, apart from other graphs on it.
    """
    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100)),
        "ROS_LOG_DIR": str(logs / "ros"),
        "PYTHONUNBUFFERED": "1",
        # A thread pool in each of seven processes would fight for the cores that the networks need.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


class Graph:
    """The running nodes of one pipeline.

    Args:
        group: owns the processes.
        stages_file: the table that all nodes read.
        parameters: extra parameter files, applied after those that ship.
    """

    def __init__(self, group: ProcessGroup, stages_file: Path, parameters: Sequence[Path] = ()):
        self._group = group
        self._stages_file = stages_file
        self._parameters = list(parameters)

    def start(
        self, node: str, values: Optional[Mapping[str, Value]] = None, module: str = "", pipe: bool = False
    ) -> Child:
        """Start one node with these parameters.

        Args:
            node: its name in ROS.
            values: parameters, stronger than those of files.
            module: under ``l4edge_pipeline.nodes``, where it differs from the node's name.
            pipe: whether its standard output is to be read.
        """
        arguments: List[str] = ["l4edge_pipeline.nodes." + (module or node), "--ros-args"]
        for path in parameter_files(node) + self._parameters:
            arguments += ["--params-file", str(path)]
        for name, value in {"stages_file": str(self._stages_file), **(values or {})}.items():
            # JSON is YAML, which is how ROS reads it: a string that looks like a number stays a string.
            arguments += ["-p", f"{name}:={json.dumps(value)}"]
        return self._group.start(node, arguments, pipe)


def stopping_order(table: StageTable) -> List[str]:
    """The nodes in the order in which they can end without losing anything: along the chain, the recorder last."""
    services = [service.node for service in table.services.values() if service.node != "recorder"]
    return [stage.node for stage in table.stages.values()] + services + ["recorder"]
