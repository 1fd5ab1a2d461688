import pytest
import torch
from torch import nn
from torch.nn import functional

from l4edge_compression.api import (
    BinaryConfig,
    FixedConfig,
    RmsmpConfig,
    compress_,
    describe,
    parameter_groups,
    reassign_rows,
    restore_,
)
from l4edge_compression.quantization.qat import Schedule, begin_epoch
from l4edge_perception.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 20, 3, bias=False), nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 20, 3, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(80, 4),
    )


def stripes(count=64):
    """Pictures of noise with a brighter half, and which half that is."""
    labels = torch.arange(count) % 4
    pictures = torch.randn(count, 1, 8, 8)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        half = slice(0, 4) if label % 2 else slice(4, 8)
        (picture[0, half] if label < 2 else picture[0, :, half]).add_(1.5)
    return pictures, labels


def test_when_rows_are_due():
    schedule = Schedule(RmsmpConfig(reassign_every=10, freeze_last=0.33), 60)
    assert [epoch for epoch in range(60) if schedule.at(epoch).reassign] == [0, 10, 20, 30]
    assert [schedule.at(epoch).frozen for epoch in (0, 39, 40, 59)] == [False, False, True, True]
    assert not any(Schedule(FixedConfig(), 5).at(epoch).reassign for epoch in range(5))
    with pytest.raises(InputError, match="0 epochs"):
        Schedule(FixedConfig(), 0)


@pytest.mark.parametrize("config", [
    RmsmpConfig(reassign_every=1, observe_in_training=2), FixedConfig(observe_in_training=1),
    RmsmpConfig(scale="learned", granularity="row", reassign_every=1, observe_in_training=1),
], ids=["rmsmp", "fixed", "learned"])
def test_training_in_the_users_own_loop(config):
    model = compress_(network(), config)
    pictures, labels = stripes()
    schedule = Schedule(config, 6)
    optimizer = torch.optim.SGD(parameter_groups(model, 1e-4), 0.05, momentum=0.9)
    losses = []
    for epoch in range(6):
        due = schedule.at(epoch)
        before = {layer.name: layer.row_schemes for layer in describe(model)}
        begin_epoch(model, due, [(pictures, labels)], functional.cross_entropy)
        if due.frozen:
            assert before == {layer.name: layer.row_schemes for layer in describe(model)}
        model.train()
        for some, their in zip(pictures.split(16), labels.split(16), strict=True):
            loss = functional.cross_entropy(model(some), their)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert {quantizer.state for quantizer in model.quantizers.values()} == {"quantize"}
    model.eval()
    with torch.no_grad():
        answer = model(pictures)
        assert (answer.argmax(1) == labels).float().mean() > 0.8
        assert torch.equal(model(pictures), answer)
        assert torch.equal(restore_(network(), config, model.state_dict()).eval()(pictures), answer)


def test_reassignment_keeps_scales_learned_by_rows_that_stay():
    model = compress_(network(), RmsmpConfig(scale="learned", granularity="row", score="weight"), [stripes()[0]])
    model.train()(stripes()[0]).sum().backward()
    quantizer = model[3].row_quantizer
    with torch.no_grad():
        quantizer.scale.mul_(1.1)
        model[3].weight[2] *= 30
    learned, rows = quantizer.scale.detach().clone(), quantizer.assignment.clone()
    assert reassign_rows(model, None)["3"] > 0
    stayed = quantizer.assignment == rows
    assert torch.equal(quantizer.scale[stayed], learned[stayed])
    assert not torch.equal(quantizer.scale[~stayed], learned[~stayed])


def test_reassignment_is_for_methods_that_mix_rows():
    pictures, _ = stripes()
    assert reassign_rows(compress_(network(), FixedConfig(), [pictures]), [pictures]) == {}
    assert reassign_rows(compress_(network(), BinaryConfig(), [pictures]), [pictures]) == {}
    with pytest.raises(InputError, match="is not compressed"):
        reassign_rows(network(), [pictures])


def test_scales_and_biases_are_not_decayed():
    model = compress_(network(), FixedConfig(), [stripes()[0]])
    decayed, free = parameter_groups(model, 0.1)
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert id(model[0].row_quantizer.scale) in {id(parameter) for parameter in free["params"]}
    assert free["weight_decay"] == 0.0
