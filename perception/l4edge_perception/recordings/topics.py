"""The topics and message types of a recording, and the frames its stamps and poses refer to."""

IMAGE = "/camera/front/image"
COMPRESSED_IMAGE = "/camera/front/image/compressed"
CAMERA_INFO = "/camera/front/camera_info"
STATIC_TRANSFORMS = "/tf_static"
ODOMETRY = "/localization/odometry"
ROUTE = "/map/route"
GROUND_TRUTH = "/ground_truth/objects"
POINTS = "/lidar/points"

MESSAGE_TYPES = {
    IMAGE: "sensor_msgs/msg/Image",
    COMPRESSED_IMAGE: "sensor_msgs/msg/CompressedImage",
    CAMERA_INFO: "sensor_msgs/msg/CameraInfo",
    STATIC_TRANSFORMS: "tf2_msgs/msg/TFMessage",
    ODOMETRY: "nav_msgs/msg/Odometry",
    ROUTE: "l4edge_msgs/msg/Route",
    GROUND_TRUTH: "l4edge_msgs/msg/GroundTruthArray",
    POINTS: "sensor_msgs/msg/PointCloud2",
}
"""What each topic of a recording must hold."""

LATCHED_TOPICS = frozenset({STATIC_TRANSFORMS, ROUTE})
"""Topics that are published once and kept for whoever comes later."""

MAP_FRAME = "map"
BASE_FRAME = "base_link"
CAMERA_FRAME = "camera_front_optical_frame"
LIDAR_FRAME = "lidar"
