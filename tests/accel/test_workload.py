"""Networks as matrix products and steps."""

import pytest

from l4edge_accel.workload import deit, named_workloads, with_fewer_tokens
from l4edge_perception.errors import InputError


def test_deit_base_has_the_published_work():
    workload = named_workloads()["deit_base"]
    linear = sum(gemm.macs for gemm in workload.gemms if gemm.weight_rows and gemm.name.startswith("blocks."))
    attention = sum(gemm.macs for gemm in workload.gemms if gemm.of_activations)
    assert linear == 12 * 197 * 768 * 768 * 12  # 16.73 G
    assert attention == 2 * 12 * 12 * 197 * 197 * 64  # 0.715 G
    assert workload.macs == linear + attention + 768 * 768 * 196 + 1000 * 768
    assert sum(step.elements for step in workload.steps if step.kind == "softmax") == 12 * 12 * 197 * 197


@pytest.mark.parametrize(("name", "macs", "weights"), [("resnet18", 1.814e9, 11.68e6), ("resnet50", 4.089e9, 25.50e6)])
def test_residual_networks_have_the_known_work_and_weights(name, macs, weights):
    workload = named_workloads()[name]
    assert workload.macs == pytest.approx(macs, rel=1e-3)
    assert sum(gemm.weight_elements for gemm in workload.gemms) == pytest.approx(weights, rel=2e-3)


def test_a_convolution_fetches_each_pixel_once_and_knows_its_kernel():
    first = named_workloads()["resnet18"].gemms[0]
    assert (first.outputs, first.inputs, first.tokens) == (64, 147, 112 * 112)
    assert (first.input_elements, first.kernel) == (3 * 224 * 224, (7, 7))


def test_formats_of_ends_and_of_attention():
    workload = named_workloads()["deit_tiny"].quantized({"binary": 1.0}, 6, {"fixed8": 1.0}, 8)
    gemms = {gemm.name: gemm for gemm in workload.gemms}
    for end in ("patch_embed", "head"):
        assert (gemms[end].weight_rows, gemms[end].activation_bits) == ({"fixed8": 1.0}, 8)
    assert (gemms["blocks.3.fc1"].weight_rows, gemms["blocks.3.fc1"].activation_bits) == ({"binary": 1.0}, 6)
    assert gemms["blocks.3.scores"].of_activations
    assert gemms["blocks.3.scores"].activation_bits == 6


def test_dropped_tokens_are_gone_from_their_block_on():
    full = deit("small", 384, 6)
    pruned = with_fewer_tokens(full, 197, {3: 0.7, 6: 0.4})
    before, after = ({gemm.name: gemm for gemm in workload.gemms} for workload in (full, pruned))
    assert before["blocks.2.fc1"] == after["blocks.2.fc1"]
    assert before["patch_embed"] == after["patch_embed"]
    assert after["blocks.3.fc1"].tokens == 138
    assert after["blocks.11.qkv"].tokens == 79
    scores, mix = after["blocks.6.scores"], after["blocks.6.mix"]
    assert (scores.outputs, scores.inputs, scores.tokens) == (79, 64, 79)
    assert (mix.outputs, mix.inputs, mix.tokens) == (64, 79, 79)
    steps = {step.name: step for step in pruned.steps}
    assert (steps["blocks.6.softmax"].elements, steps["blocks.6.softmax"].rows) == (6 * 79 * 79, 6 * 79)
    assert steps["blocks.6.norm1"].elements == 79 * 384
    assert 0.5 < pruned.macs / full.macs < 0.7


@pytest.mark.parametrize(("kept", "message"), [({12: 0.5}, "no block 12; blocks are 0 to 11"), ({3: 0.0}, "share 0.0")])
def test_selectors_that_cannot_be(kept, message):
    with pytest.raises(InputError, match=message):
        with_fewer_tokens(deit("tiny", 192, 3), 197, kept)


def test_selectors_need_blocks():
    with pytest.raises(InputError, match="no vision transformer"):
        with_fewer_tokens(named_workloads()["resnet18"], 197, {0: 0.5})
