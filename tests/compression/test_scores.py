"""Scores of rows."""

import pytest
import torch
from scipy import stats
from torch import nn

from l4edge_compression.quantization.curvature import largest_eigenvalues, traces
from l4edge_compression.quantization.formats import level_set, project
from l4edge_compression.quantization.scales import least_error_scales
from l4edge_compression.quantization.scores import row_scores
from l4edge_perception.errors import InputError

LAYERS = ("0", "3", "8")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 12, 3, stride=2),
        nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 5),
    )


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(count, 3, 8, 8, generator=generator), torch.randint(0, 5, (count,), generator=generator))
        for count in (20, 12)
    ]


def quadratic(inputs):
    """A linear layer under mean squared error: its Hessian has the same block, (2/outputs) E[x xᵀ], for each row."""
    model = nn.Linear(inputs.shape[1], 4).double()
    return nn.Sequential(model), [(inputs, torch.zeros(len(inputs), 4, dtype=torch.float64))]


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(50, 6, dtype=torch.float64, generator=generator) * torch.arange(1, 7)


def test_hessian_of_a_quadratic_is_exact(inputs):
    model, data = quadratic(inputs)
    block = 2 / 4 * inputs.T @ inputs / len(inputs)
    scores = row_scores(model, ["0"], data, nn.functional.mse_loss, "hessian")["0"]
    assert torch.allclose(scores, torch.linalg.eigvalsh(block).max().expand(4), rtol=1e-9)


def test_batches_weigh_by_their_size(inputs):
    model, ((whole, target),) = quadratic(inputs)
    parts = [(whole[:10], target[:10]), (whole[10:], target[10:])]
    one, two = (row_scores(model, ["0"], data, nn.functional.mse_loss, "hessian")["0"] for data in
                ([(whole, target)], parts))
    assert torch.allclose(one, two, rtol=1e-9)


def test_trace_of_a_quadratic(inputs):
    model, data = quadratic(inputs)
    trace = float(2 / 4 * (inputs**2).sum() / len(inputs))
    scores = row_scores(model, ["0"], data, nn.functional.mse_loss, "trace")["0"]
    assert scores.tolist() == pytest.approx([trace] * 4, rel=0.25)


def test_eigenvalues_of_blocks_of_any_sign():
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(30, 30, dtype=torch.float64, generator=generator)
    matrix = matrix + matrix.T
    matrix[0:5] -= 40 * torch.eye(30, dtype=torch.float64)[0:5]  # the first block is negative altogether

    def product(vectors):
        return (vectors.reshape(-1, 30) @ matrix).reshape(vectors.shape)

    expected = torch.stack([torch.linalg.eigvalsh(matrix[row:row + 5, row:row + 5]).max() for row in range(0, 30, 5)])
    assert expected[0] < 0
    assert torch.allclose(largest_eigenvalues(product, 6, 5), expected)
    diagonal = torch.stack([matrix.diagonal()[row:row + 5].sum() for row in range(0, 30, 5)])
    assert torch.allclose(traces(product, 6, 5, probes=4000), diagonal, atol=2)


def test_a_row_of_rank_one_ends_early():
    vectors = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)

    def product(given):
        return (given * vectors).sum(dim=2, keepdim=True) * vectors

    assert largest_eigenvalues(product, 2, 3).tolist() == pytest.approx([9, 0])


def test_hessian_in_a_network_is_that_of_autograd(network, batches):
    network.eval()
    inputs, target = batches[0]

    def loss(weight):
        outputs = torch.func.functional_call(network, {"8.weight": weight}, (inputs,))
        return nn.functional.cross_entropy(outputs, target)

    hessian = torch.autograd.functional.hessian(loss, network[8].weight.detach())
    expected = torch.stack([torch.linalg.eigvalsh(hessian[row, :, row]).max() for row in range(5)])
    found = row_scores(network, ["8"], batches[:1], nn.functional.cross_entropy, "hessian")["8"]
    assert torch.allclose(found.float(), expected, rtol=1e-2)


def test_fisher_ranks_like_the_hessian(network, batches):
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        for inputs, target in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), target).backward()
            optimizer.step()
    fisher, hessian = (
        row_scores(network, LAYERS, batches, nn.functional.cross_entropy, kind) for kind in ("fisher", "hessian")
    )
    ranks = [stats.spearmanr(fisher[name], hessian[name]).statistic for name in LAYERS]
    assert min(ranks) > 0.3 and max(ranks) > 0.7, ranks


def test_fisher_is_the_sum_of_squared_gradients(network, batches):
    network.eval()
    (inputs, target), _ = batches
    expected = torch.zeros(12, dtype=torch.float64)
    for start in range(0, 20, 8):
        some = slice(start, start + 8)
        loss = nn.functional.cross_entropy(network(inputs[some]), target[some], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, network[3].weight)
        expected += gradient.flatten(1).double().square().sum(dim=1)
    found = row_scores(network, ["3"], batches[:1], nn.functional.cross_entropy, "fisher")["3"]
    assert torch.allclose(found, expected / 20, rtol=1e-4)


@pytest.mark.parametrize("kind", ["hessian", "trace", "fisher", "output_error", "weight"])
def test_a_score_leaves_the_model_alone_and_comes_out_the_same_again(network, batches, kind):
    network[0].weight.requires_grad_(False)
    network[6].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (
        row_scores(network, LAYERS, iter(batches), nn.functional.cross_entropy, kind, seed=5) for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in LAYERS)
    assert [len(first[name]) for name in LAYERS] == [8, 12, 5]
    assert all(torch.isfinite(values).all() and values.dtype == torch.float64 for values in first.values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network[1].training and not network[6].training
    assert not network[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_output_error_is_that_of_the_layer(mode):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, padding=(1, 2), groups=2, padding_mode=mode)
    inputs = torch.randn(3, 4, 7, 9)
    found = row_scores(nn.Sequential(layer), ["0"], [inputs], None, "output_error")["0"]
    outputs = []
    for name in ("fixed4", "fixed8"):
        levels, rows = level_set(name), layer.weight.detach().flatten(1)
        scales = least_error_scales(rows, levels)[:, None]
        weight = (project(levels, rows / scales) * scales / levels.largest).reshape(layer.weight.shape)
        outputs.append(torch.func.functional_call(layer, {"weight": weight}, (inputs,)).detach())
    expected = (outputs[1] - outputs[0]).double().square().sum(dim=(0, 2, 3)) / 3
    assert torch.allclose(found, expected, rtol=1e-4)


def test_linear_layers_on_sequences():
    layer = nn.Linear(8, 3)
    found = row_scores(nn.Sequential(layer), ["0"], [torch.randn(2, 5, 8)], None, "output_error")["0"]
    assert found.shape == (3,) and (found > 0).all()


def test_a_row_of_zeros_scores_nothing_by_its_weights(network):
    with torch.no_grad():
        network[0].weight[2] = 0
    scores = row_scores(network, ["0"], [], None, "weight")["0"]
    assert scores[2] == 0 and (scores[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("kind", ["hessian", "fisher", "output_error"])
def test_no_data(network, kind):
    with pytest.raises(InputError, match="no data"):
        row_scores(network, LAYERS, [], nn.functional.cross_entropy, kind)


def test_unusable_input(network, batches):
    with pytest.raises(InputError, match="labels"):
        row_scores(network, LAYERS, [batches[0][0]], nn.functional.cross_entropy, "fisher")
    with pytest.raises(InputError, match="loss function"):
        row_scores(network, LAYERS, batches, None, "fisher")
    with pytest.raises(InputError, match="'9'"):
        row_scores(network, ["9"], batches, nn.functional.cross_entropy, "fisher")
    with pytest.raises(InputError, match="BatchNorm2d"):
        row_scores(network, ["1"], batches, nn.functional.cross_entropy, "fisher")
    with pytest.raises(InputError, match="not a tensor"):
        row_scores(network, LAYERS, ["picture"], nn.functional.cross_entropy, "fisher")
    with pytest.raises(InputError, match="unknown"):
        row_scores(network, LAYERS, batches, nn.functional.cross_entropy, "magic")
    with pytest.raises(InputError, match="meta"):
        row_scores(network, LAYERS, [(batches[0][0].to("meta"), batches[0][1])], nn.functional.cross_entropy, "fisher")
    with pytest.raises(InputError, match="finite"):
        row_scores(network, LAYERS, [(batches[0][0] * float("nan"), batches[0][1])], nn.functional.cross_entropy,
                   "fisher")
    with torch.no_grad():
        network[3].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="3: 1 of"):
        row_scores(network, LAYERS, batches, nn.functional.cross_entropy, "fisher")
