"""Turns the planned trajectory into steering and acceleration, and stops the vehicle when no plan comes."""

import time
from typing import List, Optional

from l4edge_perception.safety_types import State
from l4edge_perception.types import ControlCommand, Trajectory
from l4edge_pipeline.control import Controller, ControllerConfig
from l4edge_pipeline.nodes.inputs import StatusInput, ego_input
from l4edge_pipeline.nodes.parameters import configure, declare
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import StageNode

SKIPPED_PERIODS = 1.5
"""Without a trajectory for so long, the minimal-risk manoeuvre goes on without the planner."""


class ControlNode(StageNode):
    """Follows trajectories; its watchdog needs none of the other stages."""

    def __init__(self) -> None:
        super().__init__("control")
        self.controller = Controller(configure(self, ControllerConfig))
        self.ego = ego_input(self, self.stage.inputs["odometry"])
        self.status = StatusInput(self, self.stage.inputs.get("status"))
        self.last_stamp_ns = 0
        self.last_arrival_ns = time.monotonic_ns()
        # Seconds without a trajectory before the vehicle is stopped; 0: never (lockstep replay waits for no clock).
        self.watchdog_s = declare(self, "watchdog_s", 0.5)
        if self.watchdog_s > 0:
            self.create_timer(1.0 / self.stage.rate_hz, self._watch)
        self.start()

    def process(self, value: Trajectory) -> ControlCommand:
        """Follow the trajectory."""
        self.last_stamp_ns = value.stamp_ns
        self.last_arrival_ns = time.monotonic_ns()
        return self.controller.command(value, self.ego.take(), value.stamp_ns, self._halts(value.stamp_ns))

    def _halts(self, stamp_ns: int) -> bool:
        status = self.status.take(stamp_ns)
        return status is not None and status.state == State.MINIMAL_RISK_MANOEUVRE

    def _watch(self) -> None:
        """Stop the vehicle when no trajectory comes: after a while, or at once when the supervisor says so."""
        if not self.last_stamp_ns:
            return
        silent_ns = time.monotonic_ns() - self.last_arrival_ns
        now_ns = self.last_stamp_ns + silent_ns
        late = silent_ns > SKIPPED_PERIODS * 1e9 / self.stage.rate_hz
        if silent_ns > self.watchdog_s * 1e9 or (late and self._halts(now_ns)):
            self.publish(self.controller.command(None, self.ego.take(), now_ns, halt=True))


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``control``."""
    run_node(ControlNode, arguments)


if __name__ == "__main__":
    main()
