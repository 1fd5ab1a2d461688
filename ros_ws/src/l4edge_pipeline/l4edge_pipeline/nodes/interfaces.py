"""The message type of each role that a topic plays in stages.yaml."""

from geometry_msgs.msg import TransformStamped
from l4edge_msgs.msg import (
    ControlCommand,
    Detection2DArray,
    GroundTruthArray,
    OffloadAnswer,
    OffloadRequest,
    OffloadStatus,
    Route,
    SafetyStatus,
    SafetyVerdict,
    SharedFrame,
    StageRecord,
    TrackedObjectArray,
    Trajectory,
)
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image

MESSAGE_TYPES = {
    "image": Image,
    "frame": SharedFrame,
    "camera": CameraInfo,
    "camera_pose": TransformStamped,
    "odometry": Odometry,
    "route": Route,
    "ground_truth": GroundTruthArray,
    "detections": Detection2DArray,
    "tracks": TrackedObjectArray,
    "trajectory": Trajectory,
    "command": ControlCommand,
    "records": StageRecord,
    "verdict": SafetyVerdict,
    "status": SafetyStatus,
    "offload_request": OffloadRequest,
    "offload_answer": OffloadAnswer,
    "offload_status": OffloadStatus,
}

LATCHED_ROLES = frozenset({"camera", "camera_pose", "route"})
"""What is said once and holds."""

UNRECORDED_ROLES = frozenset({"image", "frame"})
"""Pixels stay in the recording they came from."""
