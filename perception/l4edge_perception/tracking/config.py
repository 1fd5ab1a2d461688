"""Every number of the tracker, with its unit."""

import math
from dataclasses import dataclass, fields

from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class TrackerConfig:
    """How detections become tracks. The values hold for scores that read as probabilities.

    Times are seconds, so that they mean the same at every frame rate. Errors and speeds in the image are in heights of
    the box unless the name says pixels. ``docs/tracking.md`` shows what each part is worth.

    Attributes:
        low_score: detections below it are not looked at.
        high_score: detections from it on choose their tracks first; the others may only continue what is left.
        birth_score: detections from it on that continue no track begin one.
        publish_probability: a track is published once its probability of existing reaches it.
        retract_probability: a published track falls silent when its probability sinks below it.
        memory_s: time constant with which the probability of existing follows the scores.
        absence_memory_s: time constant with which it sinks while nothing is seen.
        first_sighting_discount: log odds by which a first sighting is believed less than its score says.
        lost_buffer_s: how long a track that nothing matches stays known.
        publish_unseen_s: how long such a track is still published, at the place where it should be.

        overlap_gate: least overlap (intersection over union) of prediction and detection for a match.
        ground_gate_m: distance on the ground below which a match needs no overlap; 0 turns that off.
        ground_gate_sigmas: the same in standard deviations of prediction and measurement; both must hold.
        ground_weight: worth of nearness on the ground, where known, against overlap in the image.
        relabel_cost: overlap that a match across related classes (car and truck, pedestrian and cyclist) must make up.

        centre_noise: error of a detected box's centre (standard deviation).
        size_noise: error of its width and height.
        pixel_noise: what every box's centre and size are wrong by at least, pixels.
        doubt_noise: growth of all three, as an exponent per unit of log odds that a score lies below 0.98.
        centre_acceleration: how much the centre's velocity wanders in one second.
        size_acceleration: how much the size's rate of change wanders in one second.
        first_box_velocity: velocity to expect of a new box, per second.
    """

    low_score: float = 0.1
    high_score: float = 0.35
    birth_score: float = 0.3
    publish_probability: float = 0.5
    retract_probability: float = 0.45
    memory_s: float = 0.2
    absence_memory_s: float = 1.0
    first_sighting_discount: float = 1.0
    lost_buffer_s: float = 2.0
    publish_unseen_s: float = 0.5

    overlap_gate: float = 0.1
    ground_gate_m: float = 5.0
    ground_gate_sigmas: float = 5.0
    ground_weight: float = 1.0
    relabel_cost: float = 0.2

    centre_noise: float = 0.035
    size_noise: float = 0.03
    pixel_noise: float = 1.0
    doubt_noise: float = 0.15
    centre_acceleration: float = 2.2
    size_acceleration: float = 1.0
    first_box_velocity: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_score", "_probability")):
                usable, wanted = 0.0 < value < 1.0, "between 0 and 1"
            elif field.name in ("memory_s", "absence_memory_s", "ground_gate_sigmas", "centre_noise", "size_noise"):
                usable, wanted = 0.0 < value < math.inf, "above 0"
            else:
                usable, wanted = 0.0 <= value < math.inf, "0 or more"
            if not usable:
                raise InputError(f"tracker: {field.name} is {value}; it must be {wanted}")
