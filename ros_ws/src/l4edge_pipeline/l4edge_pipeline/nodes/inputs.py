"""Inputs that several stages read as they last were."""

from types import SimpleNamespace
from typing import Any, Optional

from rclpy.node import Node

from l4edge_perception.recordings.cameras import StaticTransforms, from_camera_info
from l4edge_perception.safety_types import SafetyStatus
from l4edge_perception.types import CameraModel
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.quality import LATCHED, NEWEST
from l4edge_pipeline.nodes.stage_node import FrameDroppedError, LatestInput, PipelineNode
from l4edge_pipeline.safety.obedience import SILENT, Obedience


def ego_input(node: Node, topic: str) -> LatestInput:
    """The vehicle's own motion, ``EgoState``."""
    return LatestInput(node, MESSAGE_TYPES["odometry"], topic, NEWEST)


def route_input(node: Node, topic: str) -> LatestInput:
    """The lane to follow, ``Route``; the same object as long as it is the same route."""
    return LatestInput(node, MESSAGE_TYPES["route"], topic, LATCHED)


class StatusInput:
    """The safety status that holds for a frame; where no supervisor is part of the run, always None."""

    def __init__(self, node: PipelineNode, topic: Optional[str]):
        self._newest = LatestInput(node, MESSAGE_TYPES["status"], topic, NEWEST) if topic else None
        self._obedience = Obedience()

    def take(self, stamp_ns: int) -> Optional[SafetyStatus]:
        """The status to obey for the frame of this stamp; one that is too old or cannot be read stops the vehicle."""
        if self._newest is None:
            return None
        try:
            status = self._newest.take()
        except FrameDroppedError:
            return SILENT
        return self._obedience.obeyed(status, stamp_ns)


class CameraInput:
    """The camera's intrinsics and its place on the vehicle, from two topics."""

    def __init__(self, node: Node, info_topic: str, pose_topic: str):
        self._info = LatestInput(node, MESSAGE_TYPES["camera"], info_topic, LATCHED, _as_it_is)
        self._pose = LatestInput(node, MESSAGE_TYPES["camera_pose"], pose_topic, LATCHED, _as_it_is)
        self._made_from = (None, None)
        self._model: Optional[CameraModel] = None

    def take(self) -> Optional[CameraModel]:
        """The camera model, or None until both parts are known."""
        info, pose = self._info.take(), self._pose.take()
        if info is None or pose is None:
            return None
        if info is not self._made_from[0] or pose is not self._made_from[1]:
            self._made_from = (info, pose)
            camera_from_base = StaticTransforms([SimpleNamespace(transforms=[pose])]).from_base(pose.child_frame_id)
            self._model = None if camera_from_base is None else from_camera_info(info, camera_from_base)
        return self._model


def _as_it_is(message: Any) -> Any:
    return message
