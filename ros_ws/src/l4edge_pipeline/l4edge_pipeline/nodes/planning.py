"""Decides where the vehicle means to be in the next seconds."""

from typing import List, Optional

from l4edge_perception.types import Tracks, Trajectory
from l4edge_pipeline.nodes.inputs import StatusInput, ego_input, route_input
from l4edge_pipeline.nodes.parameters import configure
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import StageNode
from l4edge_pipeline.planning import Planner, PlannerConfig


class PlanningNode(StageNode):
    """Plans along the route."""

    def __init__(self) -> None:
        super().__init__("planning")
        self.planner = Planner(configure(self, PlannerConfig))
        self.ego = ego_input(self, self.stage.inputs["odometry"])
        self.route = route_input(self, self.stage.inputs["route"])
        self.status = StatusInput(self, self.stage.inputs.get("status"))
        self.start()

    def process(self, value: Tracks) -> Trajectory:
        """Plan for these tracks."""
        return self.planner.plan(value, self.ego.take(), self.route.take(), self.status.take(value.stamp_ns))


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``planning``."""
    run_node(PlanningNode, arguments)


if __name__ == "__main__":
    main()
