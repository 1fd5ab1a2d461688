"""Networks against the published parameter counts and names, and checkpoints in the namings of three libraries."""

import json
import re
import struct

import pytest
import torch

from l4edge_perception.errors import InputError
from l4edge_perception.models.checkpoints import load_weights
from l4edge_perception.models.mobilenet import mobilenet_v2
from l4edge_perception.models.resnet import resnet18, resnet20, resnet50
from l4edge_perception.models.vision_transformer import VisionTransformer, deit_base, deit_small, deit_tiny


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (resnet18, 11_689_512),
        (resnet50, 25_557_032),
        (resnet20, 272_474),
        (mobilenet_v2, 3_504_872),
        (deit_tiny, 5_717_416),
        (deit_small, 22_050_664),
        (deit_base, 86_567_656),
    ],
)
def test_a_network_has_the_published_number_of_parameters(make, parameters):
    with torch.device("meta"):
        assert count(make()) == parameters


@pytest.mark.parametrize(
    ("make", "entries", "shapes"),
    [
        (
            resnet18,
            122,
            {
                "conv1.weight": (64, 3, 7, 7),
                "layer1.0.bn1.running_mean": (64,),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.1.conv2.weight": (512, 512, 3, 3),
                "fc.weight": (1000, 512),
            },
        ),
        (
            resnet50,
            320,
            {
                "layer1.0.downsample.1.bias": (256,),
                "layer2.0.conv2.weight": (128, 128, 3, 3),
                "layer4.2.conv3.weight": (2048, 512, 1, 1),
                "fc.weight": (1000, 2048),
            },
        ),
        (
            mobilenet_v2,
            314,
            {
                "features.0.0.weight": (32, 3, 3, 3),
                "features.1.conv.0.0.weight": (32, 1, 3, 3),
                "features.1.conv.1.weight": (16, 32, 1, 1),
                "features.2.conv.0.0.weight": (96, 16, 1, 1),
                "features.17.conv.2.weight": (320, 960, 1, 1),
                "features.18.1.running_var": (1280,),
                "classifier.1.weight": (1000, 1280),
            },
        ),
        (
            deit_tiny,
            152,
            {
                "cls_token": (1, 1, 192),
                "pos_embed": (1, 197, 192),
                "patch_embed.proj.weight": (192, 3, 16, 16),
                "blocks.0.attn.qkv.weight": (576, 192),
                "blocks.11.mlp.fc1.bias": (768,),
                "norm.weight": (192,),
                "head.weight": (1000, 192),
            },
        ),
    ],
)
def test_parameters_have_the_public_names_and_shapes(make, entries, shapes):
    with torch.device("meta"):
        state = make().state_dict()
    assert len(state) == entries
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize(
    ("make", "pixels"),
    [
        (lambda: resnet18(7), 64),
        (lambda: resnet50(7), 64),
        (lambda: resnet20(7), 32),
        (lambda: mobilenet_v2(7), 64),
        (lambda: VisionTransformer(32, 8, 24, 2, 3, 7), 32),
    ],
)
def test_a_network_can_be_traced_for_any_batch(make, pixels):
    torch.manual_seed(0)
    network = make().eval()
    traced = torch.fx.symbolic_trace(network)
    for batch in (1, 3):
        images = torch.randn(batch, 3, pixels, pixels)
        outputs = network(images)
        assert outputs.shape == (batch, 7)
        torch.testing.assert_close(traced(images), outputs)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    attention = VisionTransformer(16, 8, 24, 1, 3, 2).blocks[0].attn
    tokens = torch.randn(2, 5, 24)
    reference = torch.nn.MultiheadAttention(24, 3, batch_first=True)
    reference.in_proj_weight.data, reference.in_proj_bias.data = attention.qkv.weight.data, attention.qkv.bias.data
    reference.out_proj.weight.data, reference.out_proj.bias.data = attention.proj.weight.data, attention.proj.bias.data
    torch.testing.assert_close(attention(tokens), reference(tokens, tokens, tokens)[0])


@pytest.mark.parametrize(("sizes", "word"), [((30, 8, 24, 1, 3), "patch_size 8"), ((32, 8, 25, 1, 3), "heads 3")])
def test_sizes_that_do_not_divide_are_refused(sizes, word):
    with pytest.raises(InputError, match=word):
        VisionTransformer(*sizes)


def small_transformer(seed):
    torch.manual_seed(seed)
    network = VisionTransformer(16, 8, 24, 2, 3, 5)
    for parameter in network.parameters():  # LayerNorm's ones and the biases' zeros would hide a mix-up
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def huggingface_state(network, prefix):
    """The weights as HuggingFace's ViTForImageClassification names them."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    state = {}
    for name, value in network.state_dict().items():
        if name.startswith("head."):
            state[name.replace("head.", "classifier.")] = value
        elif name.startswith("norm."):
            state[prefix + name.replace("norm.", "layernorm.")] = value
        elif ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                public = re.sub(r"blocks\.(\d+)\.attn\.qkv", rf"encoder.layer.\1.attention.attention.{part}", name)
                state[prefix + public] = piece.clone()
        else:
            public = re.sub(r"^blocks\.", "encoder.layer.", name)
            for ours, theirs in names.items():
                public = re.sub(rf"(^|\.){re.escape(ours)}(\.|$)", rf"\1{theirs}\2", public)
            state[prefix + public] = value
    state[prefix + "pooler.dense.weight"] = torch.zeros(24, 24)
    return state


@pytest.mark.parametrize("prefix", ["vit.", "deit.", ""])
def test_a_huggingface_checkpoint_gives_the_same_outputs(tmp_path, prefix):
    trained, fresh = small_transformer(1), small_transformer(2)
    torch.save(huggingface_state(trained, prefix), tmp_path / "pytorch_model.bin")
    load_weights(fresh, tmp_path / "pytorch_model.bin")
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(fresh(images), trained(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"model": s}, lambda s: {"module." + k: v for k, v in s.items()}],
)
def test_weights_are_found_where_training_scripts_put_them(tmp_path, wrap):
    trained, fresh = small_transformer(1), small_transformer(2)
    torch.save(wrap(trained.state_dict()), tmp_path / "a.pt")
    load_weights(fresh, tmp_path / "a.pt")
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in trained.state_dict().items())


def write_safetensors(path, state):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    kinds = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}
    for name, value in state.items():
        content = value.contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kinds[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_safetensors_are_read_without_a_further_library(tmp_path):
    torch.manual_seed(0)
    trained, fresh = resnet20().eval(), resnet20().eval()
    trained.bn1.running_mean.fill_(0.25)
    state = trained.state_dict()
    state["fc.weight"] = state["fc.weight"].half()
    write_safetensors(tmp_path / "model.safetensors", state)
    load_weights(fresh, tmp_path / "model.safetensors")
    assert torch.equal(fresh.conv1.weight, trained.conv1.weight)
    assert torch.equal(fresh.bn1.running_mean, trained.bn1.running_mean)
    assert torch.equal(fresh.fc.weight, trained.fc.weight.half().float())


def test_another_number_of_classes_loads_all_but_the_head(tmp_path):
    torch.manual_seed(0)
    torch.save(resnet20(10).state_dict(), tmp_path / "a.pt")
    network = resnet20(4)
    kept = network.fc.weight.clone()
    with pytest.raises(InputError, match=r"fc\.weight: shape \(10, 64\), the network has \(4, 64\); load with_head"):
        load_weights(network, tmp_path / "a.pt")
    load_weights(network, tmp_path / "a.pt", with_head=False)
    assert torch.equal(network.fc.weight, kept)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "layer1.0.conv1.weight"), r"missing layer1\.0\.conv1\.weight"),
        (lambda s: {**s, "layer9.weight": torch.ones(1)}, r"unexpected layer9\.weight"),
        (lambda s: {**s, "conv1.weight": torch.ones(16, 3, 5, 5)}, r"conv1\.weight: shape \(16, 3, 5, 5\)"),
        (lambda s: {**s, "bn1.bias": torch.full((16,), torch.nan)}, r"bn1\.bias: holds NaN"),
        (lambda s: [1, 2], "holds no weights"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, change, message):
    torch.manual_seed(0)
    network = resnet20()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(change(resnet20().state_dict()), tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        load_weights(network, tmp_path / "a.pt")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_old_checkpoints_without_batch_counters_load(tmp_path):
    torch.save({k: v for k, v in resnet20().state_dict().items() if "num_batches" not in k}, tmp_path / "a.pt")
    load_weights(resnet20(), tmp_path / "a.pt")


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_weights(resnet20(), tmp_path / "a.pt")
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"\x09\0\0\0\0\0\0\0not json")
        with pytest.raises(InputError, match=name):
            load_weights(resnet20(), tmp_path / name)
    write_safetensors(tmp_path / "cut.safetensors", {"weight": torch.ones(100)})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-8])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_weights(resnet20(), tmp_path / "cut.safetensors")


def test_parts_of_an_attention_and_distilled_networks_are_refused(tmp_path):
    state = huggingface_state(small_transformer(1), "vit.")
    torch.save(without(state, "vit.encoder.layer.1.attention.attention.key.weight"), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"blocks\.1\.attn\.key\.weight: missing"):
        load_weights(small_transformer(2), tmp_path / "a.pt")
    torch.save({**state, "vit.embeddings.distillation_token": torch.ones(1, 1, 24)}, tmp_path / "b.pt")
    with pytest.raises(InputError, match="distilled"):
        load_weights(small_transformer(2), tmp_path / "b.pt")
