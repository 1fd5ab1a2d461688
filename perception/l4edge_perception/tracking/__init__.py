"""Objects followed over time, in the image and on the ground."""

from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.ground import Detections3D
from l4edge_perception.tracking.tracker import StampError, Tracker

__all__ = ["Detections3D", "StampError", "Tracker", "TrackerConfig"]
