"""The data that stages exchange: frozen dataclasses, structs of arrays, no ROS.

Frames follow REP 103 and REP 105:

* ``map``: fixed to the world, x east, y north, z up, metres.
* ``base_link``: fixed to the vehicle, origin on the ground below the rear axle's centre, x forward, y left, z up.
* ``camera``: optical frame, origin at the camera, x right, y down, z forward.
* image: pixels, origin at the outer corner of the top-left pixel, x right, y down.

Stamps are integer nanoseconds of the clock of the sensor that took the frame. Every result keeps the stamp of the
frame it came from, so a chain's age can be read anywhere.
"""

from dataclasses import dataclass
from typing import Any, Optional, Tuple

import numpy as np

OBJECT_CLASSES = ("car", "truck", "pedestrian", "cyclist", "sign", "light")
"""What the detectors of this project find; ``class_ids`` everywhere are indices into this tuple."""

SIGN_MEANINGS = ("stop", "yield", "speed_30", "speed_50", "speed_80", "priority")
LIGHT_STATES = ("red", "amber", "green", "off")
MEANINGS = (*SIGN_MEANINGS, *LIGHT_STATES, "none")
"""What a sign tells or a light shows; "none" for what cannot be read. Columns of ``meanings`` follow this tuple."""


def unread(count: int) -> np.ndarray:
    """(count, len(MEANINGS)) float32 zeros: the meanings of objects that nobody has read."""
    return np.zeros((count, len(MEANINGS)), np.float32)


@dataclass(frozen=True)
class Detections:
    """What a detector saw in one image. N objects.

    Attributes:
        stamp_ns: stamp of the image.
        boxes: (N, 4) float32, x_min y_min x_max y_max, pixels of the full image.
        scores: (N,) float32 in 0..1 (a foreign detector may use another monotone scale).
        class_ids: (N,) int32, indices into ``OBJECT_CLASSES``.
        meanings: (N, len(MEANINGS)) float32, probabilities of what each sign or light means; a row of zeros where
            nobody has read it. Left out, all rows are.
    """

    stamp_ns: int
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    meanings: Any = None

    def __post_init__(self) -> None:
        if self.meanings is None:
            object.__setattr__(self, "meanings", unread(len(self.scores)))

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def empty(stamp_ns: int) -> "Detections":
        """No objects."""
        return Detections(
            stamp_ns, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )

    def select(self, index: np.ndarray) -> "Detections":
        """The objects at ``index`` (a mask or integer indices)."""
        return Detections(
            self.stamp_ns, self.boxes[index], self.scores[index], self.class_ids[index], self.meanings[index]
        )


@dataclass(frozen=True)
class Tracks:
    """Objects followed over time, as they are believed to be at ``stamp_ns``. N objects.

    Attributes:
        stamp_ns: stamp of the newest image that went in.
        ids: (N,) int64, unique over a run, never reused.
        boxes: (N, 4) float32, filtered box, x_min y_min x_max y_max, pixels.
        scores: (N,) float32, score of the last matched detection.
        class_ids: (N,) int32, indices into ``OBJECT_CLASSES``.
        ages_s: (N,) float32, seconds since the track's first detection.
        unseen_s: (N,) float32, seconds since the last matched detection, 0 when seen in this frame.
        positions: (N, 2) float64, metres, ``map`` frame, where the object's near side meets the ground; NaN while
            unknown (no camera model, no ego pose, above the horizon).
        velocities: (N, 2) float64, metres per second, ``map`` frame; NaN while unknown.
        sizes: (N, 3) float32, length width height in metres; NaN while unknown.
        meanings: (N, len(MEANINGS)) float32, probabilities of what each sign or light means, all its sightings
            together; a row of zeros where nobody has read it. Left out, all rows are.
    """

    stamp_ns: int
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    ages_s: np.ndarray
    unseen_s: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    sizes: np.ndarray
    meanings: Any = None

    def __post_init__(self) -> None:
        if self.meanings is None:
            object.__setattr__(self, "meanings", unread(len(self.ids)))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera on the vehicle.

    Attributes:
        width, height: image size in pixels.
        intrinsics: (3, 3) float64, pixels.
        distortion: (K,) float64, OpenCV "plumb bob" order; empty for an ideal lens.
        camera_from_base: (4, 4) float64, takes a homogeneous point from ``base_link`` to ``camera``.
    """

    width: int
    height: int
    intrinsics: np.ndarray
    distortion: np.ndarray
    camera_from_base: np.ndarray


@dataclass(frozen=True)
class EgoState:
    """The vehicle's own motion, ``map`` frame, of the point ``base_link``.

    Attributes:
        stamp_ns: when it was true.
        x, y: metres. yaw: radians, counter-clockwise from the map's x axis.
        speed: metres per second along the vehicle's x axis. yaw_rate: radians per second.
        acceleration: metres per second squared along the vehicle's x axis.
    """

    stamp_ns: int
    x: float
    y: float
    yaw: float
    speed: float
    yaw_rate: float = 0.0
    acceleration: float = 0.0


@dataclass(frozen=True)
class Route:
    """The lane to follow. M points along its centre.

    Attributes:
        centre_line: (M, 2) float64, metres, ``map`` frame, in driving direction.
        speed_limits: (M,) float64, metres per second, from this point on.
        lane_widths: (M,) float64, metres.
    """

    centre_line: np.ndarray
    speed_limits: np.ndarray
    lane_widths: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """Where the vehicle means to be. T points, the first at ``stamp_ns``.

    Attributes:
        stamp_ns: stamp of the image whose objects were planned for.
        times: (T,) float64, seconds from ``stamp_ns``, rising.
        positions: (T, 2) float64, metres, ``map`` frame.
        yaws: (T,) float64, radians.
        speeds: (T,) float64, metres per second.
        accelerations: (T,) float64, metres per second squared.
        reason: why this speed was chosen, one word from ``planning.reasons``.
        obstacle_id: track that the speed yields to, or None.
    """

    stamp_ns: int
    times: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray
    speeds: np.ndarray
    accelerations: np.ndarray
    reason: str = ""
    obstacle_id: Optional[int] = None


@dataclass(frozen=True)
class ControlCommand:
    """What the actuators are asked for.

    Attributes:
        stamp_ns: stamp of the image at the start of the chain.
        steering_angle: radians at the front wheels, left positive.
        acceleration: metres per second squared, braking negative.
        speed: metres per second, the speed that the acceleration aims at.
        emergency: whether this is the controller's own safe stop because no usable trajectory is at hand.
    """

    stamp_ns: int
    steering_angle: float
    acceleration: float
    speed: float
    emergency: bool = False


@dataclass(frozen=True)
class GroundTruth:
    """What was really there when an image was taken, in a simulated or labelled drive. N objects.

    Attributes:
        stamp_ns: stamp of the image.
        ids: (N,) int64, unique over the drive.
        class_ids: (N,) int32, indices into ``OBJECT_CLASSES``; 255 for what is none of them, with ``ignore`` set.
        boxes: (N, 4) float32, pixels, around the visible part.
        visibilities: (N,) float32, 0..1, visible share of the object's own pixels.
        positions: (N, 3) float64, metres, ``map`` frame, centre of the ground contact.
        yaws: (N,) float64, radians, ``map`` frame.
        velocities: (N, 2) float64, metres per second, ``map`` frame.
        sizes: (N, 3) float32, length width height in metres. Like positions and velocities NaN where a recording
            does not say.
        ignore: (N,) bool, regions that are neither to be found nor to be counted as false (too small, unlabelled).
        attributes: N words that tell more than the class: a sign's meaning ("stop", "yield", "speed_50", ...), a
            light's state ("red", "amber", "green", "off"), "" elsewhere.
    """

    stamp_ns: int
    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    visibilities: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray
    velocities: np.ndarray
    sizes: np.ndarray
    ignore: np.ndarray
    attributes: Tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)
