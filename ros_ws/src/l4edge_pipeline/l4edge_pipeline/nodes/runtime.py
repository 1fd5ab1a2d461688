"""Starts, spins and ends a node: the one place that knows about processes, signals and executors."""

import gc
import signal
import sys
from typing import Callable, List, Optional

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from l4edge_perception.errors import InputError

SPIN_S = 0.1  # how long a stop request may wait for the executor to look up


class Stop:
    """Set by SIGINT and SIGTERM; nodes finish what they hold and leave."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def _request(self, number: int, frame: object) -> None:
        self.requested = True


def run_node(make: Callable[[], Node], arguments: Optional[List[str]] = None) -> None:
    """Run a node until it is asked to stop.

    A node may have ``step(spin)``, called over and over until it returns False, instead of being spun, and
    ``close(spin)`` for what must happen at the end; ``spin(seconds)`` waits for at most one event and serves it. A
    fault of the input (a missing package, a wrong parameter) ends in one line on stderr and exit code 2.
    """
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = Stop()
    node = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        # What exists now lives as long as the process. Without this, the garbage collector looks through all of it
        # again in the middle of some frame.
        gc.collect()
        gc.freeze()

        def spin(seconds: float) -> None:
            executor.spin_once(timeout_sec=max(0.0, min(seconds, SPIN_S)))

        step = getattr(node, "step", None)
        while rclpy.ok() and not stop.requested:
            if step is None:
                spin(SPIN_S)
            elif not step(spin):
                break
        if hasattr(node, "close"):
            node.close(spin)
    except InputError as error:
        print(f"l4edge: error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()

