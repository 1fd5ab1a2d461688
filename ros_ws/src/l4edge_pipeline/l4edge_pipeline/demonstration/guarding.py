"""The safety monitor and the supervisor beside the stages of one drive, on a clock that stands still while they work.

Time is the frames' own: a verdict is never late here. ``l4edge bench monitor`` measures what a real clock does to it.
What the supervisor says of a frame's verdict reaches the planner with the next frame, as on the vehicle, where the
monitor works while the command is already on its way.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Optional, Type, TypeVar

import numpy as np
import yaml

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict, State
from l4edge_perception.types import CameraModel, Detections, EgoState, Tracks
from l4edge_pipeline.safety.assembly import PackageConfig, assemble
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.hiding import FreeSpaceConfig
from l4edge_pipeline.safety.monitor import Monitor, MonitorConfig
from l4edge_pipeline.safety.scene import Scene
from l4edge_pipeline.safety.supervisor import Supervisor
from l4edge_pipeline.stages import StageTable, configuration_folder
from l4edge_pipeline.timing.records import Outcome

Config = TypeVar("Config")

UPDATE_NS = 50_000_000
"""Between two statuses; a frame has two."""


class Clock:
    """Nanoseconds that somebody sets."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """Now."""
        return self.now_ns


@dataclass(frozen=True)
class MonitorSettings:
    """The parameters of the monitor's node."""

    packages: PackageConfig
    monitor: MonitorConfig
    grid: FreeSpaceConfig


def monitor_settings(path: Optional[Path] = None) -> MonitorSettings:
    """What the node is started with.

    Args:
        path: its parameter file, or None for the one that ships.

    Raises:
        InputError: the file is missing or is no parameter file.
    """
    path = path or configuration_folder() / "safety_monitor.param.yaml"
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: no parameter file of the safety monitor ({error})") from error

    def filled(kind: Type[Config]) -> Config:
        names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in given.items() if name in names})

    return MonitorSettings(filled(PackageConfig), filled(MonitorConfig), filled(FreeSpaceConfig))


def make_monitor(clock: Clock, package: Optional[str], deadline_ms: float, settings: MonitorSettings) -> Monitor:
    """The monitor as the node makes it, with its self-test passed.

    Args:
        clock: that it is to go by. package: certified package of signs, of the table of stages.

    Raises:
        InputError: a package was refused, or the self-test failed.
    """
    monitor, _, refused = assemble(
        settings.packages, package, settings.monitor, settings.grid, deadline_ms, 1, clock=clock, ros_clock=clock
    )
    if refused:
        raise InputError(refused)
    monitor.check()
    if monitor.finding:
        raise InputError(f"safety monitor: {monitor.finding}")
    return monitor


class Guard:
    """Monitor and supervisor of one drive.

    Args:
        monitor: fresh, on ``clock``. table: of stages with the safety stage in it. camera: its model.
    """

    def __init__(self, monitor: Monitor, clock: Clock, table: StageTable, camera: CameraModel) -> None:
        self._monitor, self._clock, self._camera = monitor, clock, camera
        self._supervisor = Supervisor(table, SupervisorConfig(), timed=False)
        self._chain = max((chain.stages for chain in table.chains.values()), key=len)
        self.status: Optional[SafetyStatus] = None

    def obeyed(self) -> Optional[SafetyStatus]:
        """What the planner of this frame obeys."""
        return self.status

    def halts(self) -> bool:
        """Whether the controller is to stop the vehicle by itself."""
        return self.status is not None and self.status.state == State.MINIMAL_RISK_MANOEUVRE

    def judge(
        self, image: np.ndarray, detections: Detections, tracks: Tracks, ego: EgoState, stamp_ns: int
    ) -> SafetyVerdict:
        """The verdict on a frame; what follows from it is obeyed from the next frame on."""
        self._clock.now_ns = stamp_ns
        supervisor = self._supervisor
        supervisor.take_ego(ego, stamp_ns)
        for stage in self._chain:
            supervisor.take_pass(stage, Outcome.PROCESSED, stamp_ns, 0.0, stamp_ns)
        verdict = self._monitor.examine(Scene(stamp_ns, stamp_ns, image, detections, tracks, self._camera))
        supervisor.take_verdict(verdict, stamp_ns)
        for update in range(2):
            self.status = supervisor.status(stamp_ns + update * UPDATE_NS)
        return verdict
