"""From a trajectory to what the actuators are asked for, with a watchdog that stops the vehicle without one.

``Controller`` is the entrance. The laws are in docs/planning.md, their numbers in launch/config/control.param.yaml.
"""

from l4edge_pipeline.control.config import ControllerConfig
from l4edge_pipeline.control.controller import Controller, ControllerState

__all__ = ["Controller", "ControllerConfig", "ControllerState"]
