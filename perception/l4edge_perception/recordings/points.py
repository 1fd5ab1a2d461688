"""LiDAR sweeps as ROS messages."""

from typing import Any

import numpy as np

from l4edge_perception.recordings.messages import make, make_header
from l4edge_perception.recordings.topics import LIDAR_FRAME

FLOAT32 = 7  # sensor_msgs/PointField.FLOAT32


def to_point_cloud(points: np.ndarray, stamp_ns: int, frame_id: str = LIDAR_FRAME) -> Any:
    """A ``sensor_msgs/PointCloud2`` of ``points`` (N, 4) float32: x y z reflectance."""
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=make_header(stamp_ns, frame_id),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * len(points),
        data=np.ascontiguousarray(points, "<f4").view(np.uint8).reshape(-1),
        is_dense=bool(np.isfinite(points).all()),
    )


def from_point_cloud(message: Any) -> np.ndarray:
    """The points of a ``sensor_msgs/PointCloud2``: (N, 4) float32, x y z reflectance (0 where there is none).

    Raises:
        ValueError: x, y or z is missing or not float32, or the sizes contradict each other.
    """
    offsets = {entry.name: entry.offset for entry in message.fields if entry.datatype == FLOAT32}
    if not {"x", "y", "z"} <= set(offsets):
        raise ValueError("a point cloud without the float32 fields x, y and z")
    height, width, step, row = message.height, message.width, message.point_step, message.row_step
    data = np.frombuffer(message.data, np.uint8)
    if row < width * step or len(data) < height * row or max(offsets.values()) + 4 > step:
        raise ValueError(f"a point cloud of {len(data)} bytes for {height} rows of {row} bytes")
    rows = data[: height * row].reshape(height, row)[:, : width * step].reshape(-1, step)
    kind = ">f4" if message.is_bigendian else "<f4"
    points = np.zeros((len(rows), 4), np.float32)
    for column, name in enumerate(("x", "y", "z", "intensity")):
        if name in offsets:
            start = offsets[name]
            points[:, column] = np.ascontiguousarray(rows[:, start : start + 4]).view(kind)[:, 0]
    return points
