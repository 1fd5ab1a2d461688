"""What each part of the tracker is worth on KITTI, and whether its values hold where they were not chosen."""

from dataclasses import fields, replace
from typing import Dict, Mapping, Sequence

from l4edge_perception.metrics import kitti
from l4edge_perception.metrics.kitti_tracking import (
    CALIBRATIONS,
    FEATURES,
    KITTI_CONFIG,
    Calibration,
    ClassRun,
    fit_calibration,
    run_class,
)
from l4edge_perception.metrics.tracking import summary
from l4edge_perception.tracking import TrackerConfig

Row = Dict[str, float]

NOT_VARIED = ("publish_unseen_s", "relabel_cost")
"""Values that one class alone, reported only while seen, does not show."""


def ablation(sequences: Sequence[kitti.Sequence]) -> Dict[str, Row]:
    """The result for cars with each part taken away or changed by itself, and with all of them taken away."""
    usual, features = CALIBRATIONS["Car"], FEATURES["Car"]
    without_range = fit_calibration(sequences, "Car", [name for name in features if name != "range_m"])
    all_sizes = fit_calibration(sequences, "Car", features, least_height=0.0)
    config = KITTI_CONFIG
    at_once = replace(
        config, birth_score=0.5, publish_probability=0.5, retract_probability=1e-6, first_sighting_discount=0.0
    )
    plain = replace(at_once, high_score=0.5, ground_weight=0.0, doubt_noise=0.0)
    variants = {
        "all parts": (config, usual, True),
        "without 3D boxes in the association": (config, usual, False),
        "without nearness on the ground where boxes miss": (replace(config, ground_gate_m=0.0), usual, True),
        "without doubtful detections (single stage)": (replace(config, low_score=config.high_score), usual, True),
        "without belief: published at once from a score of 0.5": (at_once, usual, True),
        "without memory of tracks that one frame misses": (replace(config, lost_buffer_s=0.15), usual, True),
        "without noise by score": (replace(config, doubt_noise=0.0), usual, True),
        "without filtering of published boxes": (replace(config, centre_noise=1e-3, size_noise=1e-3), usual, True),
        "with unseen objects published for one frame": (replace(config, publish_unseen_s=0.15), usual, True),
        "calibrated without range": (config, without_range, True),
        "calibrated counting all sizes": (config, all_sizes, True),
        "plain: two stages, Kalman filter and overlap alone": (plain, without_range, False),
    }
    return {
        name: run_class(sequences, "Car", _for_all(sequences, calibration), values, with_3d).summary()
        for name, (values, calibration, with_3d) in variants.items()
    }


def sensitivity(sequences: Sequence[kitti.Sequence], factors: Sequence[float] = (0.5, 2.0)) -> Dict[str, ClassRun]:
    """Runs for cars with each of the tracker's values multiplied by each factor, everything else as usual."""
    calibrations = _for_all(sequences, CALIBRATIONS["Car"])
    runs = {"as it is": run_class(sequences, "Car", calibrations)}
    for field in fields(TrackerConfig):
        if field.name in NOT_VARIED:
            continue
        usual = getattr(KITTI_CONFIG, field.name)
        for factor in factors:
            # A probability is moved on the scale of its odds, where it cannot leave 0 to 1.
            is_probability = field.name.endswith(("_score", "_probability"))
            value = usual * factor / (1.0 - usual + usual * factor) if is_probability else usual * factor
            runs[f"{field.name} x {factor:g}"] = run_class(
                sequences, "Car", calibrations, replace(KITTI_CONFIG, **{field.name: value})
            )
    return runs


def held_out(sequences: Sequence[kitti.Sequence], runs: Mapping[str, ClassRun]) -> Dict[str, Row]:
    """Every sequence judged with values that the other sequences gave, all taken together.

    Args:
        sequences: the drives.
        runs: what there is to choose the tracker's values for cars from, see :func:`sensitivity`.
    """
    others = {sequence.name: [other for other in sequences if other is not sequence] for sequence in sequences}
    chosen = []
    for sequence in sequences:
        names = [other.name for other in others[sequence.name]]
        best = max(runs.values(), key=lambda run: summary([run.scores[name] for name in names])["hota"])
        chosen.append(best.scores[sequence.name])
    rows = {
        "Car: as it is": runs["as it is"].summary(),
        "Car: tracker's values from the other sequences": summary(chosen),
    }
    for class_name, features in FEATURES.items():
        fitted = {name: fit_calibration(rest, class_name, features) for name, rest in others.items()}
        rows[f"{class_name}: calibration from the other sequences"] = run_class(
            sequences, class_name, fitted
        ).summary()
    return rows


def _for_all(sequences: Sequence[kitti.Sequence], calibration: Calibration) -> Dict[str, Calibration]:
    return {sequence.name: calibration for sequence in sequences}
