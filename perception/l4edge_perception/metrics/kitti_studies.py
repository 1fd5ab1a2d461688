"""What each part of the tracker is worth on KITTI's cars, and whether its values hold where they were not chosen."""

from dataclasses import fields, replace
from typing import Dict, List, Mapping, Sequence

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


def ablation(sequences: Sequence[kitti.Sequence], class_name: str = "Car") -> Dict[str, Row]:
    """The result with each part taken away by itself, and with all of them taken away."""
    usual = CALIBRATIONS[class_name]
    without_range = fit_calibration(sequences, class_name, [name for name in FEATURES[class_name] if name != "range_m"])
    all_sizes = fit_calibration(sequences, class_name, FEATURES[class_name], least_height=0.0)
    config = KITTI_CONFIG
    at_once = replace(
        config, first_sighting_discount=0.0, publish_probability=config.birth_score, retract_probability=1e-6
    )
    plain = replace(at_once, doubt_noise=0.0, ground_weight=0.0)
    variants = {
        "all parts": (config, usual, True),
        "without 3D boxes in the association": (config, usual, False),
        "without nearness on the ground where boxes miss": (replace(config, ground_gate_m=0.0), usual, True),
        "without doubtful detections (single stage)": (replace(config, low_score=config.high_score), usual, True),
        "without belief: published from the first sighting on": (at_once, usual, True),
        "without memory of lost tracks": (replace(config, lost_buffer_s=0.05), usual, True),
        "without noise by score": (replace(config, doubt_noise=0.0), usual, True),
        "without filtering of published boxes": (replace(config, centre_noise=1e-3, size_noise=1e-3), usual, True),
        "calibrated without range": (config, without_range, True),
        "calibrated counting all sizes": (config, all_sizes, True),
        "plain: overlap alone, no belief, no range": (plain, without_range, False),
    }
    return {
        name: run_class(sequences, class_name, _for_all(sequences, calibration), values, with_3d).summary()
        for name, (values, calibration, with_3d) in variants.items()
    }


def sensitivity(
    sequences: Sequence[kitti.Sequence], class_name: str = "Car", factors: Sequence[float] = (0.5, 2.0)
) -> Dict[str, ClassRun]:
    """Runs with each of the tracker's values multiplied by each factor, everything else as usual."""
    calibrations = _for_all(sequences, CALIBRATIONS[class_name])
    runs = {"as it is": run_class(sequences, class_name, calibrations)}
    for field in fields(TrackerConfig):
        if field.name in NOT_VARIED:
            continue
        usual = getattr(KITTI_CONFIG, field.name)
        for factor in factors:
            # A probability is moved on the scale of its odds, where it cannot leave 0 to 1.
            value = usual * factor / (1.0 - usual + usual * factor) if _is_probability(field.name) else usual * factor
            runs[f"{field.name} x {factor:g}"] = run_class(
                sequences, class_name, calibrations, replace(KITTI_CONFIG, **{field.name: value})
            )
    return runs


def held_out(
    sequences: Sequence[kitti.Sequence], runs: Mapping[str, ClassRun], class_name: str = "Car"
) -> Dict[str, Row]:
    """Every sequence judged with values chosen on the others, all taken together.

    Args:
        sequences: the drives.
        runs: what there is to choose from, see :func:`sensitivity`.
        class_name: KITTI's name of the class.
    """
    fitted = {
        sequence.name: fit_calibration(_others(sequences, sequence), class_name, FEATURES[class_name])
        for sequence in sequences
    }
    chosen = []
    for sequence in sequences:
        others = [other.name for other in _others(sequences, sequence)]
        best = max(runs.values(), key=lambda run: summary([run.scores[name] for name in others])["hota"])
        chosen.append(best.scores[sequence.name])
    return {
        "as it is": runs["as it is"].summary(),
        "calibration fitted on the other sequences": run_class(sequences, class_name, fitted).summary(),
        "tracker's values chosen on the other sequences": summary(chosen),
    }


def _for_all(sequences: Sequence[kitti.Sequence], calibration: Calibration) -> Dict[str, Calibration]:
    return {sequence.name: calibration for sequence in sequences}


def _others(sequences: Sequence[kitti.Sequence], left_out: kitti.Sequence) -> List[kitti.Sequence]:
    return [sequence for sequence in sequences if sequence is not left_out]


def _is_probability(name: str) -> bool:
    return name.endswith(("_score", "_probability"))
