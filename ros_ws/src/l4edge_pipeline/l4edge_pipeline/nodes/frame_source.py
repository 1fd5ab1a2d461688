"""What every source of camera frames shares: publishers, and the way of a frame into shared memory."""

from typing import Any, Callable, Tuple

import numpy as np
from rclpy.publisher import Publisher

from l4edge_perception.recordings.cameras import to_camera_info, to_static_transform
from l4edge_perception.recordings.images import FrameError, Pixels, to_image_message
from l4edge_perception.recordings.messages import make, make_header
from l4edge_perception.recordings.topics import CAMERA_FRAME
from l4edge_perception.types import CameraModel
from l4edge_pipeline.nodes.interfaces import LATCHED_ROLES, MESSAGE_TYPES
from l4edge_pipeline.nodes.quality import LATCHED, NEWEST
from l4edge_pipeline.nodes.stage_node import MeteredNode
from l4edge_pipeline.nodes.wire import encode
from l4edge_pipeline.transport.frames import FrameWriter


class FrameSourceNode(MeteredNode):
    """The sensing stage, whatever its frames come from.

    Attributes:
        roles: the outputs that this source has; on a vehicle others publish the rest.
    """

    roles: Tuple[str, ...] = ("frame", "image", "camera", "camera_pose")

    def __init__(self) -> None:
        super().__init__("sensing")
        self.writer = FrameWriter()
        self.outputs = {role: self._output(role, self.stage.outputs[role]) for role in self.roles}
        self._sequence = 0

    def _output(self, role: str, topic: str) -> Publisher:
        return self.create_publisher(MESSAGE_TYPES[role], topic, LATCHED if role in LATCHED_ROLES else NEWEST)

    def say(self, role: str, message: Any) -> None:
        """Publish a ``rosbags`` message on the output of that role."""
        self.outputs[role].publish(encode(message))

    def say_camera(self, camera: CameraModel, stamp_ns: int) -> None:
        """Publish the camera's intrinsics and its place on the vehicle."""
        self.say("camera", to_camera_info(camera, stamp_ns))
        self.say("camera_pose", to_static_transform(camera.camera_from_base, stamp_ns).transforms[0])

    def take_frame(self, open_image: Callable[[], Pixels], stamp_ns: int, sequence: int, received_ns: int) -> bool:
        """Put one frame into shared memory and tell its readers; False if it was dropped (and counted).

        Args:
            open_image: gives the image or raises FrameError; called within the stage's measured time.
            stamp_ns: when it was taken.
            sequence: count of the frame at its source.
            received_ns: steady clock, when it arrived.
        """
        frame = self.meter.begin(stamp_ns, CAMERA_FRAME, sequence, received_ns)
        if frame is None:
            return False
        try:
            pixels = open_image()
        except FrameError as error:
            frame.drop(str(error))
            return False
        with self.writer.slot(*pixels.shape[:2], "rgb8") as shared:
            pixels.write_rgb(shared)
        frame.finish()
        self.say("frame", self._handle_message(stamp_ns))
        frame.publish(self._sequence)
        self._sequence += 1
        self._say_pixels(shared, stamp_ns)
        return True

    def _handle_message(self, stamp_ns: int) -> Any:
        header = make_header(stamp_ns, CAMERA_FRAME)
        return make("l4edge_msgs/msg/SharedFrame", header=header, sequence=self._sequence, **vars(self.writer.handle))

    def _say_pixels(self, pixels: np.ndarray, stamp_ns: int) -> None:
        # For viewers and other ROS tools; costs nothing while nobody looks.
        if self.outputs["image"].get_subscription_count():
            self.say("image", to_image_message(pixels, stamp_ns))
