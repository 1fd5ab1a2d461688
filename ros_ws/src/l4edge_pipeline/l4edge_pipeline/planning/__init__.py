"""Where to drive and how fast: follows the centre of a given lane and yields to what stands or moves in it.

``Planner`` is the entrance. The laws are in docs/planning.md, their numbers in launch/config/planning.param.yaml.
"""

from l4edge_pipeline.planning.config import PlannerConfig
from l4edge_pipeline.planning.planner import Planner, PlannerState

__all__ = ["Planner", "PlannerConfig", "PlannerState"]
