"""Camera frames from a driver's topics."""

import time
from typing import Any, Dict, List, Optional

from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from l4edge_perception.camera.mounting import CameraMounting
from l4edge_perception.recordings.cameras import from_camera_info
from l4edge_perception.recordings.images import from_image_message
from l4edge_perception.recordings.messages import stamp_of
from l4edge_pipeline.nodes.frame_source import FrameSourceNode
from l4edge_pipeline.nodes.parameters import configure
from l4edge_pipeline.nodes.quality import SENSOR
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.wire import decode


class SensingNode(FrameSourceNode):
    """Takes ``sensor_msgs/Image`` or, on the same topic with ``/compressed``, ``sensor_msgs/CompressedImage``."""

    def __init__(self) -> None:
        super().__init__()
        # Drivers know the lens, not the place on the vehicle.
        self._camera_from_base = configure(self, CameraMounting).camera_from_base()
        self._frames = 0
        topic = self.stage.inputs["image"]
        for message_type, name in ((ImageMessage, topic), (CompressedImage, topic + "/compressed")):
            self.create_subscription(message_type, name, self._taker(message_type), SENSOR, raw=True)
        self.create_subscription(CameraInfo, self.stage.inputs["camera_info"], self._on_camera, SENSOR, raw=True)
        self.wait_for_readers({"frame": self.outputs["frame"], "records": self.records})

    def _taker(self, message_type: type) -> Any:
        def take(serialized: bytes, info: Dict[str, int]) -> None:
            received_ns = info["received_timestamp"] + time.monotonic_ns() - time.time_ns()
            message = decode(serialized, message_type)
            stamp_ns = stamp_of(message.header)
            self.take_frame(lambda: from_image_message(message).open(), stamp_ns, self._frames, received_ns)
            self._frames += 1

        return take

    def _on_camera(self, serialized: bytes) -> None:
        message = decode(serialized, CameraInfo)
        try:
            camera = from_camera_info(message, self._camera_from_base)
        except ValueError as error:
            self.get_logger().error("{}: {}".format(self.stage.inputs["camera_info"], error), once=True)
            return
        if camera is not None:
            self.say_camera(camera, stamp_of(message.header))


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``sensing``."""
    run_node(SensingNode, arguments)


if __name__ == "__main__":
    main()
