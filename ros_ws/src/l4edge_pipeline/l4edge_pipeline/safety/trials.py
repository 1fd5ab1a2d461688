"""Does to a running monitor what may happen to one, and times until its consumer holds nothing for certified."""

import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from l4edge_perception.safety_types import Verdict
from l4edge_pipeline.replay.graph import Graph
from l4edge_pipeline.replay.processes import ProcessGroup

PERIODS = 2
"""Within so many the consumer must hold every frame for uncertified."""
LASTING_PERIODS = 10
"""How long a fault lasts in a trial."""
BASELINE_S = 30.0
"""How long is waited for a certified state before a fault."""
SLOW_STOPPED_S, SLOW_RUNNING_S = 0.09, 0.01
"""A slowed monitor runs a tenth of the time."""

KILLED, FROZEN, SLOWED, WRONG_HASH = "killed", "frozen", "slowed", "wrong_model_hash"

Hear = Callable[[], Tuple[int, List[Any]]]


@dataclass(frozen=True)
class Trial:
    """One fault and what became of it.

    Attributes:
        fault: its name.
        tried: whether frames were held for certified before it.
        after_ms: until the first status that holds the frame for uncertified; None if there was none.
        relapses: statuses that said certified later than the periods allowed, while the fault lasted.
        reason: of the first uncertified status.
    """

    fault: str
    tried: bool
    after_ms: Optional[float] = None
    relapses: int = 0
    reason: str = ""

    def in_time(self, period_ms: float) -> bool:
        """Whether the consumer held everything for uncertified within two periods, and kept to it."""
        return self.tried and self.after_ms is not None and self.after_ms <= PERIODS * period_ms and not self.relapses


def judge(fault: str, since_ns: int, beliefs: Sequence[Any], allowed_ms: float) -> Trial:
    """What the statuses after the moment of a fault say.

    Args:
        since_ns: steady clock.
        beliefs: with heard_ns, verdict, reason; while the fault lasted.
        allowed_ms: from then on no status may say certified.
    """
    after = [belief for belief in beliefs if belief.heard_ns >= since_ns]
    first = next((belief for belief in after if belief.verdict != Verdict.CERTIFIED), None)
    late = [belief for belief in after if (belief.heard_ns - since_ns) * 1e-6 > allowed_ms]
    relapses = sum(belief.verdict == Verdict.CERTIFIED for belief in late)
    if first is None:
        return Trial(fault, True, None, relapses)
    return Trial(fault, True, round((first.heard_ns - since_ns) * 1e-6, 1), relapses, first.reason)


class Bench:
    """A monitor and its consumer as processes, and a player that feeds them.

    Args:
        group: owns the processes.
        graph: starts them.
        values: parameters of the monitor.
        packages: folder with the copies of the packages that it works with; they may be tampered with.
        tell: sends a command to the player. hear: moment of the player's own fault, and statuses since the last time.
        period_ms: between two frames.
    """

    def __init__(
        self, group: ProcessGroup, graph: Graph, values: Dict[str, Any], packages: Path, tell: Callable[[str], None],
        hear: Hear, period_ms: float,
    ) -> None:
        self._group = group
        self._graph = graph
        self._values = values
        self._packages = packages
        self._tell = tell
        self._hear = hear
        self._period_ms = period_ms
        graph.start("safety_supervisor", {"monitor": True})
        self._start_monitor()

    def _start_monitor(self) -> None:
        self._monitor = self._graph.start("safety_monitor", {"monitor": True, **self._values})

    def certified(self) -> bool:
        """Wait until the consumer has held frames for certified for a while; then the frame is held, too."""
        self._tell("go on")
        run = 0
        give_up = time.monotonic() + BASELINE_S
        self._hear()
        while time.monotonic() < give_up:
            time.sleep(0.1)
            for belief in self._hear()[1]:
                run = run + 1 if belief.verdict == Verdict.CERTIFIED else 0
            if run >= 4:
                self._tell("hold")  # whatever made this frame certified stays before the camera
            else:
                self._tell("go on")
            if run >= 12:
                return True
        return False

    def trial(self, fault: str) -> Trial:
        """One fault from a certified state on, and back."""
        if not self.certified():
            return Trial(fault, False)
        time.sleep(0.037 * (time.monotonic_ns() % 3))  # anywhere within a period
        self._hear()
        since_ns, undo = self._inflict(fault)
        time.sleep(LASTING_PERIODS * self._period_ms * 1e-3)
        own_ns, beliefs = self._hear()
        undo()
        return judge(fault, own_ns or since_ns, beliefs, PERIODS * self._period_ms)

    def _inflict(self, fault: str) -> Tuple[int, Callable[[], None]]:
        """Do it; returns the moment and what undoes it."""
        process = self._monitor.process
        since_ns = time.monotonic_ns()
        if fault == KILLED:
            process.kill()

            def restart() -> None:
                process.wait()
                self._start_monitor()

            return since_ns, restart
        if fault == FROZEN:
            os.kill(process.pid, signal.SIGSTOP)
            return since_ns, lambda: os.kill(process.pid, signal.SIGCONT)
        if fault == SLOWED:
            over = threading.Event()
            thread = threading.Thread(target=_slow_down, args=(process.pid, over))
            thread.start()

            def let_go() -> None:
                over.set()
                thread.join()

            return since_ns, let_go
        if fault == WRONG_HASH:
            path = sorted(self._packages.glob("*/certified_head.onnx"))[0]
            kept = path.with_suffix(".kept")
            shutil.copy2(path, kept)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            since_ns = time.monotonic_ns()
            path.write_bytes(bytes(content))
            return since_ns, lambda: os.replace(kept, path)
        self._tell("fault " + fault)
        return since_ns, lambda: self._tell("fault ")


def _slow_down(process_id: int, over: threading.Event) -> None:
    """Let a process run only a part of the time."""
    while not over.is_set():
        os.kill(process_id, signal.SIGSTOP)
        time.sleep(SLOW_STOPPED_S)
        os.kill(process_id, signal.SIGCONT)
        time.sleep(SLOW_RUNNING_S)
