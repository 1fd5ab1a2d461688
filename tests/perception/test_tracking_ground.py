"""Places on the ground, from boxes drawn through a pinhole camera on a vehicle that drives and turns."""

import cv2
import numpy as np
import pytest

from l4edge_perception.tracking import Tracker
from l4edge_perception.tracking.ground import (
    SIZE_PRIORS,
    Detections3D,
    points_from_boxes_3d,
    points_from_camera,
    to_map,
)
from l4edge_perception.types import OBJECT_CLASSES, CameraModel, Detections, EgoState

CAR, PEDESTRIAN, SIGN, LIGHT = (OBJECT_CLASSES.index(name) for name in ("car", "pedestrian", "sign", "light"))


def camera_model(pitch=0.0, distortion=()):
    """A camera 1.4 m above the ground, 1.5 m ahead of the rear axle, turned down by ``pitch`` radians."""
    level = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    down = np.array(
        [[1.0, 0.0, 0.0], [0.0, np.cos(pitch), -np.sin(pitch)], [0.0, np.sin(pitch), np.cos(pitch)]]
    )
    camera_from_base = np.eye(4)
    camera_from_base[:3, :3] = down @ level
    camera_from_base[:3, 3] = -down @ level @ np.array([1.5, 0.0, 1.4])
    intrinsics = np.array([[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]])
    return CameraModel(1280, 720, intrinsics, np.array(distortion, dtype=np.float64), camera_from_base)


def pixels(points, camera):
    """(N, 2) pixels of points (N, 3) in ``base_link``, and their depths."""
    seen = points @ camera.camera_from_base[:3, :3].T + camera.camera_from_base[:3, 3]
    distortion = camera.distortion if len(camera.distortion) else None
    drawn = cv2.projectPoints(seen[:, None, :], np.zeros(3), np.zeros(3), camera.intrinsics, distortion)[0][:, 0, :]
    return drawn, seen[:, 2]


def drawn_box(place, yaw, size, floor, camera):
    """Box around a cuboid in ``base_link`` as the image shows it, None where it does not."""
    signs = np.array([[a, b, c] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (0.0, 1.0)])
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    corners = signs * size
    corners[:, :2] = corners[:, :2] @ turn.T + place
    corners[:, 2] += floor
    drawn, depths = pixels(corners, camera)
    if depths.min() < 0.1:
        return None
    box = np.concatenate((drawn.min(axis=0), drawn.max(axis=0)))
    box = np.clip(box, 0, [camera.width, camera.height] * 2)
    return box if box[2] - box[0] > 3 and box[3] - box[1] > 3 else None


@pytest.mark.parametrize("camera", [
    camera_model(), camera_model(pitch=0.05), camera_model(distortion=(-0.2, 0.05, 1e-3, -5e-4, 0.0))
])
@pytest.mark.parametrize("place", [(8.0, 0.0), (20.0, -4.0), (60.0, 7.0)])
def test_lower_edge_is_followed_to_the_ground(camera, place):
    foot = pixels(np.array([[*place, 0.0]]), camera)[0][0]
    box = np.array([[foot[0] - 20, foot[1] - 50, foot[0] + 20, foot[1]]])
    points = points_from_camera(box.T, np.array([PEDESTRIAN]), camera)
    np.testing.assert_allclose(points.positions[:, 0], place, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("pitch", [0.0, 0.04])
def test_covariance_is_what_pixel_errors_do(pitch):
    """The stated covariance against the scatter of many noisy boxes, near and far, beside and ahead."""
    camera, random = camera_model(pitch), np.random.default_rng(0)
    for place in ((10.0, 2.0), (40.0, -8.0)):
        foot = pixels(np.array([[*place, 0.0]]), camera)[0][0]
        # As wide as a person's near face there, so that no flank is seen.
        half = 0.5 * SIZE_PRIORS[PEDESTRIAN, 1] * 1000.0 / (place[0] - 1.5)
        box = np.array([foot[0] - half, foot[1] - 4 * half, foot[0] + half, foot[1]])
        stated = points_from_camera(box[:, None], np.array([PEDESTRIAN]), camera).covariances[:, :, 0]
        edge_std = np.hypot(1.5, 0.02 * 4 * half)
        many = np.repeat(box[None], 4000, axis=0)
        many[:, [0, 2]] += random.normal(0, edge_std, (4000, 1))
        many[:, 3] += random.normal(0, edge_std, 4000)
        places = points_from_camera(many.T, np.full(4000, PEDESTRIAN), camera).positions
        found = np.cov(places) + 0.05**2 * np.eye(2)
        np.testing.assert_allclose(stated, found, rtol=0.3, atol=0.01)


def test_error_grows_with_the_square_of_the_distance():
    camera = camera_model()
    ranges = np.array([15.0, 30.0, 60.0])
    feet = pixels(np.stack((ranges, 0 * ranges, 0 * ranges), axis=1), camera)[0]
    boxes = np.stack((feet[:, 0] - 5, feet[:, 1] - 30, feet[:, 0] + 5, feet[:, 1]), axis=1)
    points = points_from_camera(boxes.T, np.full(3, PEDESTRIAN), camera)
    along = np.sqrt(points.covariances[0, 0])
    assert along[1] / along[0] == pytest.approx((28.5 / 13.5) ** 2, rel=0.1)
    assert along[2] / along[1] == pytest.approx((58.5 / 28.5) ** 2, rel=0.1)


@pytest.mark.parametrize("class_id", [SIGN, LIGHT])
def test_what_hangs_above_the_ground_is_placed_by_its_usual_height(class_id):
    camera, place = camera_model(), np.array([30.0, 4.0])
    size = SIZE_PRIORS[class_id] * [0.0, 1.0, 1.0]
    box = drawn_box(place, 0.0, size, 3.0, camera)
    points = points_from_camera(box[:, None], np.array([class_id]), camera)
    np.testing.assert_allclose(points.positions[:, 0], place, rtol=0.01)
    np.testing.assert_allclose(points.sizes[:, 0], SIZE_PRIORS[class_id])
    # A height that differs by a quarter moves the object by a quarter of its distance.
    assert np.sqrt(points.covariances[0, 0, 0]) == pytest.approx(0.25 * 28.5, rel=0.15)


def test_a_box_above_the_horizon_has_no_contact_but_a_height():
    points = points_from_camera(np.array([[600.0, 300.0, 640.0, 340.0]]).T, np.array([CAR]), camera_model())
    assert points.positions[0, 0] == pytest.approx(1.5 + 1000.0 * SIZE_PRIORS[CAR, 2] / 40.0)


def test_a_sign_that_the_border_cuts_has_no_place():
    points = points_from_camera(np.array([[600.0, 0.0, 640.0, 40.0]]).T, np.array([SIGN]), camera_model())
    assert np.isnan(points.positions).all()


def test_nothing_to_place():
    points = points_from_camera(np.zeros((4, 0)), np.zeros(0, dtype=np.int64), camera_model())
    assert points.positions.shape == (2, 0) and points.covariances.shape == (2, 2, 0)


@pytest.mark.parametrize(
    ("place", "yaw", "nearest"),
    [((20.0, 0.0), 0.0, (18.0, 0.0)), ((20.0, 0.0), np.pi / 2, (19.1, 0.0)), ((0.0, 10.0), np.pi, (0.0, 9.1))],
)
def test_nearest_side_of_a_3d_box(place, yaw, nearest):
    boxes_3d = Detections3D(np.array([[*place, 0.0]]), np.array([[4.0, 1.8, 1.5]]), np.array([yaw]))
    np.testing.assert_allclose(points_from_boxes_3d(boxes_3d).positions[:, 0], nearest, atol=1e-9)


def test_a_pose_is_carried_on_to_the_image():
    boxes_3d = Detections3D(np.array([[10.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.5]]), np.zeros(1))
    points = points_from_boxes_3d(boxes_3d)
    ego = EgoState(0, x=5.0, y=0.0, yaw=0.0, speed=10.0)
    np.testing.assert_allclose(to_map(points, ego, 200_000_000).positions, [[17.0], [0.0]])
    assert np.isnan(to_map(points, ego, 2_000_000_000).positions).all()
    # On a circle of radius 10 m, a quarter of a radian further.
    turning = EgoState(0, x=0.0, y=0.0, yaw=0.0, speed=10.0, yaw_rate=1.0)
    moved = to_map(points, turning, 250_000_000).positions[:, 0]
    end = 10.0 * np.array([np.sin(0.25), 1.0 - np.cos(0.25)])
    np.testing.assert_allclose(moved, end + 10.0 * np.array([np.cos(0.25), np.sin(0.25)]), atol=0.02)


OBJECTS = {
    "lead": (CAR, (33.6, 0.0), (10.0, 0.0), (4.3, 1.8, 1.5), 0.0),
    "parked": (CAR, (45.0, -4.0), (0.0, 0.0), (4.3, 1.8, 1.5), 0.0),
    "walking": (PEDESTRIAN, (35.0, -5.0), (0.0, 1.4), (0.5, 0.6, 1.75), 0.0),
    "sign": (SIGN, (55.0, 5.0), (0.0, 0.0), (0.1, 0.75, 0.75), 2.2),
}
"""Class, place in the map, velocity, size, height above the ground."""


def velocity_errors(seed, rate_hz, noise_pixels=1.0, speed=12.0, yaw_rate=0.05, until=2.5):
    """By name, errors of velocities from 1.5 s on, metres per second: the vehicle drives a curve at ``speed``."""
    random, camera, tracker = np.random.default_rng(seed), camera_model(), Tracker()
    x = y = yaw = 0.0
    errors = {name: [] for name in OBJECTS}
    for index in range(round(until * rate_hz) + 1):
        seconds = index / rate_hz
        names, boxes, class_ids = [], [], []
        for name, (class_id, place, velocity, size, floor) in OBJECTS.items():
            east, north = np.add(place, np.multiply(velocity, seconds)) - [x, y]
            ahead = np.cos(yaw) * east + np.sin(yaw) * north, np.cos(yaw) * north - np.sin(yaw) * east
            box = drawn_box(np.array(ahead), -yaw, np.array(size), floor, camera)
            if box is not None:
                names.append(name)
                boxes.append(box + random.normal(0.0, noise_pixels, 4))
                class_ids.append(class_id)
        stamp_ns = 1 + round(seconds * 1e9)
        boxes = np.array(boxes, dtype=np.float32)
        detections = Detections(stamp_ns, boxes, np.full(len(boxes), 0.9, np.float32), np.array(class_ids, np.int32))
        tracks = tracker.update(detections, camera, EgoState(stamp_ns, x, y, yaw, speed, yaw_rate))
        if seconds >= 1.5:
            for name, box in zip(names, boxes):
                nearest = np.abs(tracks.boxes - box).sum(axis=1).argmin()
                errors[name].append(np.hypot(*(tracks.velocities[nearest] - OBJECTS[name][2])))
        x += speed / rate_hz * np.cos(yaw + 0.5 * yaw_rate / rate_hz)
        y += speed / rate_hz * np.sin(yaw + 0.5 * yaw_rate / rate_hz)
        yaw += yaw_rate / rate_hz
    return errors


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_velocities_over_ground_while_the_vehicle_drives_a_curve(rate_hz):
    """Boxes have errors of 1 pixel.

    A parked car's nearest point slides along its flank as one comes near; that shows as a velocity of up to 1 m/s.
    """
    runs = [velocity_errors(seed, rate_hz) for seed in range(3)]
    worst = {name: max(max(run[name]) for run in runs) for name in OBJECTS}
    assert worst["lead"] < 1.0
    assert worst["parked"] < 1.2
    assert worst["walking"] < 0.7
    assert worst["sign"] < 0.05


def test_a_parked_car_stands_still_when_the_vehicle_drives_straight():
    errors = [velocity_errors(seed, 10.0, yaw_rate=0.0)["parked"] for seed in range(3)]
    assert np.median(np.concatenate(errors)) < 0.5
