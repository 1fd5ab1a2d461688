"""Records what the stages say: their results into one bag, their stage records into another."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.writer import BagWriter
from l4edge_pipeline.nodes.interfaces import LATCHED_ROLES, MESSAGE_TYPES, UNRECORDED_ROLES
from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LATCHED, LOG
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import PipelineNode
from l4edge_pipeline.nodes.wire import type_name
from l4edge_pipeline.replay.ordering import ReorderWindow

PERIOD_S = 0.1
"""Between two looks at what has arrived."""
QUIET_S = 0.3
"""At the end: how long nothing may arrive until everything has arrived."""


class RecorderNode(PipelineNode):
    """Writes ``bag/`` (results) and ``timing/`` (stage records) below the folder it is given.

    Messages are written as the bytes they came as, in order of their stamps, so that two runs that say the same give
    the same bag. Both bags get their names only when the node is asked to end; if it dies, there is no bag.
    """

    def __init__(self) -> None:
        super().__init__("recorder")
        folder = declare(self, "folder", "")
        if not folder:
            raise InputError("recorder: parameter folder: missing; name the folder to write to")
        self._last_arrival = time.monotonic()
        self._bags = ExitStack()
        results = self._bags.enter_context(BagWriter(Path(folder, "bag"), overwrite=True))
        timing = self._bags.enter_context(BagWriter(Path(folder, "timing"), overwrite=True))
        self._topics: List[Tuple[PolledSubscription, ReorderWindow, int]] = []
        writers: List[Any] = [*self.table.stages.values(), *self.table.services.values()]
        outputs = [item for writer in writers for item in writer.outputs.items() if item[0] in MESSAGE_TYPES]
        self._windows = [
            self._record(results, [item for item in outputs if item[0] not in UNRECORDED_ROLES]),
            self._record(timing, list(self.table.services["recorder"].inputs.items())),
        ]

    def _record(self, bag: BagWriter, topics: List[Tuple[str, str]]) -> ReorderWindow:
        """Subscribe to ``topics``, (role, name) each, on behalf of ``bag``."""
        names = [topic for _, topic in topics]
        types = [MESSAGE_TYPES[role] for role, _ in topics]

        def write(stamp_ns: int, index: int, serialized: bytes) -> None:
            bag.write(names[index], type_name(types[index]), stamp_ns, serialized)

        window = ReorderWindow(write)
        for index, (role, topic) in enumerate(topics):
            quality = LATCHED if role in LATCHED_ROLES else LOG
            self._topics.append((PolledSubscription(self, types[index], topic, quality), window, index))
        return window

    def step(self, spin: Callable[[float], None]) -> bool:
        """Take what has arrived, then leave the processor to those who drive."""
        self._take()
        spin(PERIOD_S)
        return True

    def _take(self) -> None:
        for subscription, window, index in self._topics:
            for serialized in subscription.take():
                self._last_arrival = time.monotonic()
                window.add(header_stamp(serialized), index, serialized)

    def close(self, _: Callable[[float], None]) -> None:
        """Take what is still on its way and complete the bags."""
        while time.monotonic() - self._last_arrival < QUIET_S:
            self._take()
            time.sleep(0.05)
        for window in self._windows:
            window.flush()
        self._bags.close()


def header_stamp(serialized: bytes) -> int:
    """The stamp of a message that starts with a header, in nanoseconds, without reading the rest."""
    order: Any = "little" if serialized[1] & 1 else "big"  # second byte of the CDR encapsulation
    seconds = int.from_bytes(serialized[4:8], order, signed=True)
    return max(0, seconds * 1_000_000_000 + int.from_bytes(serialized[8:12], order))


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``recorder``."""
    run_node(RecorderNode, arguments)


if __name__ == "__main__":
    main()
