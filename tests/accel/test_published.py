"""Published designs against the cost model."""

import pytest

from l4edge_accel.devices import device
from l4edge_accel.published import DESIGNS, DSP_PACKING, PASS_OVERHEAD, fitted_overhead, predict


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_every_design_is_predicted_within_15_percent_with_one_set_of_constants(design):
    found = predict(design)
    assert abs(found.error) <= 0.15
    (engine,) = found.accelerator.engines
    dsps = sum(group.rows * engine.inputs / DSP_PACKING[group.format] for group in engine.groups)
    assert 0.8 * design.dsps < dsps <= design.dsps
    assert engine.rows % design.tile_multiple == 0
    assert engine.inputs % design.tile_multiple == 0
    assert engine.ports_in + engine.ports_weight + engine.ports_out <= device(design.device).memory_ports


def test_the_constant_is_the_one_that_fits_the_designs_it_is_fitted_to():
    fitted = [design for design in DESIGNS if design.fitted]
    assert len(fitted) == 3
    assert fitted_overhead(fitted, (PASS_OVERHEAD - 10, PASS_OVERHEAD, PASS_OVERHEAD + 10)) == PASS_OVERHEAD


def test_multipliers_on_luts_make_a_design_faster():
    design = DESIGNS[0]
    assert predict(design, lut_macs=design.lut_macs).error > predict(design).error + 0.1
