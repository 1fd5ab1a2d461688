"""``l4edge run`` on live topics: frames in, commands out, and a safe stop when the frames end."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from l4edge_perception.recordings.cameras import pinhole, to_camera_info
from l4edge_perception.recordings.images import encode as encode_image
from l4edge_perception.recordings.images import to_compressed_message
from l4edge_perception.recordings.messages import from_message, to_message
from l4edge_perception.recordings.storage import Storage
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.types import EgoState
from l4edge_pipeline.stages import load_stages

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("l4edge_msgs.msg", reason="needs the built l4edge_msgs")

DOMAIN = "91"
RATE_HZ = 10.0
FRAMES = 60
READERS_OF_ODOMETRY = 5  # tracking, planning, control, supervisor, recorder


@pytest.fixture
def vehicle(monkeypatch):
    """What a vehicle has besides this pipeline: a node that publishes images, camera model and odometry."""
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage

    stages = load_stages().stages
    inputs = stages["sensing"].inputs
    monkeypatch.setenv("ROS_DOMAIN_ID", DOMAIN)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init()
    node = rclpy.create_node("camera_driver")
    images = node.create_publisher(CompressedImage, inputs["image"] + "/compressed", 5)
    cameras = node.create_publisher(CameraInfo, inputs["camera_info"], 5)
    odometry = node.create_publisher(Odometry, stages["control"].inputs["odometry"], 5)
    yield images, cameras, odometry
    node.destroy_node()
    rclpy.try_shutdown()


def drive(images, cameras, odometry, frames):
    """Publish frames as a camera would, of a vehicle at 5 m/s."""
    from l4edge_pipeline.nodes.wire import encode

    picture = encode_image(np.random.default_rng(0).integers(90, 160, (360, 640, 3), np.uint8))
    for _ in range(frames):
        stamp_ns = time.time_ns()
        cameras.publish(encode(to_camera_info(pinhole(640, 360, 1.1), stamp_ns)))
        odometry.publish(encode(to_message(EgoState(stamp_ns, stamp_ns % 10**12 * 5e-9, 0.0, 0.0, 5.0))))
        images.publish(encode(to_compressed_message(picture, "jpeg", stamp_ns)))
        time.sleep(1.0 / RATE_HZ)


def read_commands(bag):
    """The control commands in a bag."""
    stage = load_stages().stages["control"]
    store = load_typestore()
    with Storage(bag) as storage:
        stored = list(storage.messages([stage.outputs[stage.result]]))
    return [from_message(store.deserialize_cdr(entry.data, entry.message_type)) for entry in stored]


def test_live_frames_become_commands_and_silence_a_stop(vehicle, tmp_path):
    images, cameras, odometry = vehicle
    process = subprocess.Popen(
        [sys.executable, "-m", "l4edge_pipeline.cli", "run", "--record", "--out", str(tmp_path)],
        stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )
    try:
        wait_until(lambda: images.get_subscription_count() and odometry.get_subscription_count() >= READERS_OF_ODOMETRY)
        drive(images, cameras, odometry, FRAMES)
        time.sleep(2.0)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    commands = read_commands((tmp_path / "latest" / "bag").resolve())
    assert sum(not command.emergency for command in commands) >= FRAMES // 6  # a busy machine supersedes many
    assert commands[-1].emergency, "nobody stopped the vehicle when the camera went silent"
    assert commands[-1].acceleration <= 0.0


def wait_until(condition, seconds=60.0):
    """Fail unless it comes true in time."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the pipeline did not come up"
        time.sleep(0.1)
