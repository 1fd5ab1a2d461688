"""Modelled power and energy, from resources and clock.

Source: published board power of accelerators of this kind on ZCU102 and XC7Z020: Auto-ViT-Acc (Li et al., FPL 2022, six
designs, W, LUTs and DSPs) and FILM-QNN (Sun et al., FPGA 2022, GOPS per W). The model is a constant per device family
plus watts per LUT and per DSP, scaled with the clock; its constants are fitted to those designs here, at import, so
that what it knows is in the table below. It knows nothing of how often signals toggle.
"""

import functools
from typing import Dict, NamedTuple, Tuple

import numpy as np


class PublishedPower(NamedTuple):
    """One published design: board power in W, what it occupies, and its clock as that paper's boards are run."""

    name: str
    device: str
    watts: float
    luts: float
    dsps: float
    clock_hz: float


PUBLISHED: Tuple[PublishedPower, ...] = (
    PublishedPower("Auto-ViT-Acc DeiT-base fixed W4A4", "zcu102", 11.27, 139e3, 2064, 150e6),
    PublishedPower("Auto-ViT-Acc DeiT-base PoT W3A4", "zcu102", 8.11, 191e3, 19, 150e6),
    PublishedPower("Auto-ViT-Acc DeiT-base mixed", "zcu102", 11.03, 179e3, 1555, 150e6),
    PublishedPower("Auto-ViT-Acc DeiT-small fixed W4A4", "zcu102", 10.44, 137e3, 1933, 150e6),
    PublishedPower("Auto-ViT-Acc DeiT-small PoT W3A4", "zcu102", 6.55, 176e3, 13, 150e6),
    PublishedPower("Auto-ViT-Acc DeiT-small mixed", "zcu102", 10.34, 193e3, 1549, 150e6),
    PublishedPower("FILM-QNN ResNet-18", "zcu102", 778.9 / 60.4, 180.1e3, 2092, 150e6),
    PublishedPower("FILM-QNN ResNet-18", "xc7z020", 100.6 / 28.7, 41.3e3, 208, 100e6),
)
"""FILM-QNN prints the clocks; that Auto-ViT-Acc's designs run at the same one on the same board is assumed."""

SOURCE = "fitted to published board power of Auto-ViT-Acc and FILM-QNN; modelled"


@functools.lru_cache(maxsize=1)
def constants() -> Dict[str, float]:
    """Watts: ``idle`` of a board, ``per_lut_hz`` and ``per_dsp_hz`` for each LUT or DSP and Hz; none negative."""
    from scipy.optimize import nnls

    weights, _ = nnls(_features(PUBLISHED) / _watts(PUBLISHED)[:, None], np.ones(len(PUBLISHED)))
    return {"idle": float(weights[0]), "per_lut_hz": float(weights[1]) * 1e-12, "per_dsp_hz": float(weights[2]) * 1e-10}


def _features(designs: Tuple[PublishedPower, ...]) -> np.ndarray:
    return np.array([[1.0, one.luts * one.clock_hz * 1e-12, one.dsps * one.clock_hz * 1e-10] for one in designs])


def _watts(designs: Tuple[PublishedPower, ...]) -> np.ndarray:
    return np.array([one.watts for one in designs])


def power_w(luts: float, dsps: float, clock_hz: float) -> float:
    """Return the modelled power of a board that runs a design all the time, in W."""
    values = constants()
    return values["idle"] + (values["per_lut_hz"] * luts + values["per_dsp_hz"] * dsps) * clock_hz


def energy_j(luts: float, dsps: float, clock_hz: float, cycles: float) -> float:
    """Return the modelled energy of ``cycles`` of a design, in J."""
    return power_w(luts, dsps, clock_hz) * cycles / clock_hz


def errors() -> Dict[str, float]:
    """Return the relative error of the model on each published design, by name and device."""
    return {
        f"{one.name}, {one.device}": power_w(one.luts, one.dsps, one.clock_hz) / one.watts - 1 for one in PUBLISHED
    }
