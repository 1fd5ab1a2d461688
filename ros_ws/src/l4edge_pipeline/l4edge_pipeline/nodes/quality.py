"""Qualities of service, one per kind of topic."""

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy

NEWEST = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
)
"""Between stages: the newest frame wins, an older one that still waits is superseded."""

LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
"""What is said once and holds: camera model, route."""

LOG = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1000, reliability=QoSReliabilityPolicy.RELIABLE,
)
"""What must arrive whole: stage records, everything a recorder takes."""

SENSOR = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT,
)
"""From drivers: compatible with publishers of either reliability."""
