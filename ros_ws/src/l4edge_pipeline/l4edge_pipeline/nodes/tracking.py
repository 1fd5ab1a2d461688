"""Follows the detected objects over time and places them on the ground."""

from typing import List, Optional

from l4edge_perception.tracking import Tracker, TrackerConfig
from l4edge_perception.types import Detections, Tracks
from l4edge_pipeline.nodes.inputs import CameraInput, ego_input
from l4edge_pipeline.nodes.parameters import configure
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import StageNode


class TrackingNode(StageNode):
    """One tracker over all classes."""

    def __init__(self) -> None:
        super().__init__("tracking")
        inputs = self.stage.inputs
        self.tracker = Tracker(configure(self, TrackerConfig))
        self.camera = CameraInput(self, inputs["camera"], inputs["camera_pose"])
        self.ego = ego_input(self, inputs["odometry"])
        self.start()

    def process(self, value: Detections) -> Tracks:
        """Take one image's detections into the tracks."""
        return self.tracker.update(value, self.camera.take(), self.ego.take())


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``tracking``."""
    run_node(TrackingNode, arguments)


if __name__ == "__main__":
    main()
