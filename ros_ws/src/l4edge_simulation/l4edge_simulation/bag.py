"""A simulated drive as a recording, which ``l4edge_perception.recordings`` writes to a rosbag2."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    Event,
    FrameEvent,
    GroundTruthEvent,
    Recording,
    RouteEvent,
)
from l4edge_perception.recordings.images import Image
from l4edge_simulation.rendering.renderer import Renderer
from l4edge_simulation.simulation import Simulation
from l4edge_simulation.world.state import STEP_S


def record(
    seed: int, split: str, duration_s: float, rate_hz: float, renderer: Renderer, start_s: float = 0.0, look: str = ""
) -> Recording:
    """A drive of the simulated expert; it is driven anew each time its events are read.

    Odometry comes at the simulation's own rate, images and their ground truth at ``rate_hz``.

    Args:
        seed, split, look: see :class:`~.simulation.Simulation`.
        duration_s: of the recording. start_s: how long the world has been moving when it begins.
    """

    def read() -> Iterator[Event]:
        simulation = Simulation(seed, split, start_s + duration_s, renderer, look)
        simulation.advance(start_s)
        steps_per_frame = round(1.0 / (rate_hz * STEP_S))
        yield RouteEvent(simulation.stamp_ns, simulation.route())
        yield CameraEvent(simulation.stamp_ns, simulation.camera_model())
        for step in range(round(duration_s / STEP_S)):
            yield EgoEvent(simulation.stamp_ns, simulation.odometry())
            if step % steps_per_frame == 0:
                seen = simulation.observe()
                file = np.frombuffer(simulation.camera.jpeg(seen.image), np.uint8)
                yield FrameEvent(seen.stamp_ns, step // steps_per_frame, Image("compressed", file))
                yield GroundTruthEvent(seen.stamp_ns, seen.ground_truth)
            simulation.advance(STEP_S)

    return Recording(
        path=Path(f"seed {seed}"),
        kind="simulation",
        width=renderer.width,
        height=renderer.height,
        frame_count=round(duration_s * rate_hz),
        rate_hz=rate_hz,
        duration_s=duration_s,
        read=read,
    )
