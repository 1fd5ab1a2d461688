"""One replay from the recording to the two bags: starts the graph, follows its progress, ends it in order."""

import json
import select
import time
from pathlib import Path
from typing import Callable, Dict, Mapping

from l4edge_perception.errors import InputError
from l4edge_pipeline.replay.graph import Graph, Value, environment, stopping_order
from l4edge_pipeline.replay.options import ReplayOptions
from l4edge_pipeline.replay.processes import Child, ProcessGroup, describe_death
from l4edge_pipeline.replay.supervisor import refused
from l4edge_pipeline.stages import OFFLOAD, load_stages

READERS_TIMEOUT_S = 60.0
"""How long a node waits for those who read its results; loading a network on a busy machine takes a while."""


def replay(options: ReplayOptions, folder: Path, on_progress: Callable[[int], None]) -> int:
    """Drive a recording through the pipeline; ``folder`` then holds ``bag/``, ``timing/`` and ``logs/``.

    Args:
        options: what and how.
        folder: of this run; exists.
        on_progress: called with the number of frames that have been offered to the pipeline.

    Returns:
        How many frames the recording offered.

    Raises:
        InputError: a node could not start or died; no bag of this run is left that looks whole.
    """
    table = load_stages(options.stages_file, options.monitor, bool(options.offload) and options.offload_node)
    logs = folder / "logs"
    with ProcessGroup(logs, environment(logs)) as group:
        graph = Graph(group, options.stages_file, options.parameters)
        shared: Dict[str, Value] = {
            "recorded": True, "readers_timeout_s": READERS_TIMEOUT_S, "monitor": options.monitor
        }
        graph.start("recorder", {"folder": str(folder), "monitor": options.monitor})
        for service in table.services.values():
            if service.node != "recorder":
                graph.start(service.node, {"monitor": options.monitor, **_own_parameters(service.name, options)})
        for name, stage in table.stages.items():
            if name != "sensing":
                graph.start(stage.node, {**shared, **_own_parameters(name, options)})
        source = graph.start("sensing", {**shared, **_source_parameters(options)}, module="replaying", pipe=True)
        offered = _follow(group, source, on_progress)
        group.stop("sensing")
        for name in stopping_order(table):
            child = group.children.get(name)
            if child and (name != OFFLOAD or child.process.poll() is None):  # nobody depends on that one
                group.stop(name)
    return offered


def _own_parameters(stage: str, options: ReplayOptions) -> Mapping[str, Value]:
    if stage == "detection":
        values = {
            "package": str(options.detector) if options.detector else "",
            "level": options.level or "",
            "classifier": options.classifier or "",
            "classifier_level": options.classifier_level or "",
            "offload": options.offload or "",
        }
        return {name: value for name, value in values.items() if value}
    if stage == OFFLOAD:
        values = {"package": options.classifier or "", "level": options.classifier_level or ""}
        return {name: value for name, value in values.items() if value}
    if stage == "control" and options.lockstep:
        return {"watchdog_s": 0.0}
    if stage in ("safety", "supervisor"):
        return {"lockstep": options.lockstep}
    return {}


def _source_parameters(options: ReplayOptions) -> Mapping[str, Value]:
    return {
        "recording": str(options.recording),
        "lockstep": options.lockstep,
        "speed": options.speed,
        "image_topic": options.image_topic or "",
        "remap": " ".join(options.remap),
        "progress": True,
    }


def _refused(group: ProcessGroup) -> bool:
    """Whether the offload node has refused what it was given, which is the user's to know."""
    child = group.children.get(OFFLOAD)
    return child is not None and child.process.poll() is not None and refused(child)


def _follow(group: ProcessGroup, source: Child, on_progress: Callable[[int], None]) -> int:
    """Read what the source says until it ends by itself; returns the number of frames it offered."""
    offered = 0
    stream = source.process.stdout
    assert stream is not None  # noqa: S101 (the source was started with a pipe)
    while True:
        ready, _, _ = select.select([stream], [], [], 0.2)
        line = stream.readline() if ready else b""
        if line:
            offered = json.loads(line)["offered"]
            on_progress(offered)
        elif ready or source.process.poll() is not None:
            source.process.wait()
            break
        dead = group.dead(spared=() if _refused(group) else (OFFLOAD,))
        if dead is not None and dead is not source:
            # One that ends together with others is the cause only if it is the first; give it time to say so.
            time.sleep(0.2)
            raise InputError(describe_death(dead))
    if source.process.returncode != 0:
        raise InputError(describe_death(source))
    return offered
