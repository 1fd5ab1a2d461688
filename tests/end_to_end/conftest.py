"""Small recordings, and the command line as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from l4edge_perception.recordings import topics
from l4edge_perception.recordings.cameras import pinhole, to_camera_info, to_static_transform
from l4edge_perception.recordings.images import encode, to_compressed_message
from l4edge_perception.recordings.messages import to_message
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.types import EgoState, Route

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000


def write_drive(folder: Path, frames: int, images=None, odometry=True) -> Path:
    """A straight drive at 10 m/s past nothing.

    Args:
        frames: at 10 Hz.
        images: frame number -> the bytes to record instead of a JPEG of grey noise.
    """
    images = images or {}
    random = np.random.default_rng(1)
    camera = pinhole(640, 360, 1.1)
    centre_line = np.stack([np.arange(0.0, 400.0, 2.0), np.zeros(200)], axis=1)
    route = Route(centre_line, np.full(200, 13.9), np.full(200, 3.5))
    with BagWriter(folder) as bag:

        def write(topic, stamp_ns, message):
            bag.write(topic, topics.MESSAGE_TYPES[topic], stamp_ns, message)

        write(topics.CAMERA_INFO, START_NS, to_camera_info(camera, START_NS))
        write(topics.STATIC_TRANSFORMS, START_NS, to_static_transform(camera.camera_from_base, START_NS))
        write(topics.ROUTE, START_NS, to_message(route, stamp_ns=START_NS))
        for number in range(frames):
            stamp_ns = START_NS + number * PERIOD_NS
            if odometry:
                for part in range(5):
                    moment = stamp_ns + part * PERIOD_NS // 5
                    x = (moment - START_NS) * 1e-8
                    write(topics.ODOMETRY, moment, to_message(EgoState(moment, x, 0.0, 0.0, 10.0)))
            content = images.get(number)
            if content is None:
                content = encode(random.integers(90, 160, (360, 640, 3), np.uint8))
            write(topics.COMPRESSED_IMAGE, stamp_ns, to_compressed_message(content, "jpeg", stamp_ns))
    return folder


@pytest.fixture(scope="session")
def drive(tmp_path_factory):
    """A sound drive of 20 frames."""
    return write_drive(tmp_path_factory.mktemp("drive") / "drive", 20)


@pytest.fixture
def l4edge(tmp_path):
    """``l4edge("replay", ...)``: the finished process, run in an empty folder."""

    def call(*arguments, timeout=240, **environment):
        return subprocess.run(
            [sys.executable, "-m", "l4edge_pipeline.cli", *map(str, arguments)], cwd=str(tmp_path),
            capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment},
        )

    return call


def assert_refused(result, *words):
    """The command ended with exit code 2 and one line on stderr that holds ``words``."""
    assert result.returncode == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert str(word) in errors[0], errors[0]
