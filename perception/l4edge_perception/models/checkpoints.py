"""Public checkpoints of torchvision, timm and HuggingFace into the networks of this room.

Files are ``.pt`` / ``.pth`` / ``.bin`` (read with ``weights_only``, so no code in them runs) or ``.safetensors`` (read
here, without a further library: length of the header in 8 bytes, the header as JSON, the numbers). Torchvision and timm
use the names of this project's networks as they are. HuggingFace names of ViT and DeiT are translated, and its separate
query, key and value become timm's one ``qkv``.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from l4edge_perception.errors import InputError

WRAPPERS = ("state_dict", "model", "model_state_dict", "network", "state_dict_ema")
"""Under which of these fields training scripts put the weights."""

HUGGINGFACE_NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.", r"blocks.\1.attn.\2."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"layernorm\.", "norm."),
    (r"classifier\.", "head."),
)
"""What the names of HuggingFace's ViTForImageClassification and DeiTForImageClassification become."""

HEADS = ("fc.", "head.", "classifier.", "linear.")
"""How the last layer's parameters begin, which is left out where the classes are others."""

SAFETENSORS_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_weights(
    network: nn.Module, path: str | Path, with_head: bool = True, leaving_out: tuple[str, ...] = ()
) -> None:
    """Fill ``network`` with the weights of a public checkpoint.

    Args:
        network: one of this room; changed only when everything in the file fits.
        path: ``.safetensors``, or anything ``torch.save`` wrote.
        with_head: False leaves the last layer as it is, for other classes than the checkpoint's.
        leaving_out: beginnings of names in the file that the network has no use for.

    Raises:
        InputError: no such file, not a checkpoint, or weights that are missing, unexpected or of another shape; the
            message names the first of them.
    """
    weights = renamed(read_weights(path))
    weights = {name: value for name, value in weights.items() if not name.startswith(leaving_out)}
    if not with_head:
        weights = {name: value for name, value in weights.items() if not name.startswith(HEADS)}
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # older files have none
    kept = {name for name in wanted if not with_head and name.startswith(HEADS)}
    missing = sorted(wanted.keys() - weights.keys() - counters - kept)
    unexpected = sorted(weights.keys() - wanted.keys())
    if missing or unexpected:
        raise InputError(f"{path}: not a checkpoint of this network: {_difference(missing, unexpected)}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise InputError(
                f"{path}: {name}: shape {tuple(value.shape)}, the network has {tuple(wanted[name].shape)}; "
                + ("load with_head=False to keep its own classes" if name.startswith(HEADS) else "choose another size")
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {name}: holds NaN or infinite numbers; get the file again")
    network.load_state_dict(weights, strict=False)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Names and tensors of a checkpoint file, as they are in it; wrappers of training scripts taken off.

    Raises:
        InputError: no such file, or nothing in it that maps names to tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a checkpoint")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a file it does not like
        raise InputError(f"{path}: not a file of weights: {str(error).splitlines()[0]}; give a state_dict") from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: holds no weights by name; give a state_dict, or a file with one under state_dict")
    weights = dict(content)
    if weights and all(name.startswith("module.") for name in weights):  # of a network spread over several GPUs
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """HuggingFace's names of ViT and DeiT in timm's; all others unchanged.

    Raises:
        InputError: query without key or value; a DeiT with a distillation token, which is another network.
    """
    bare = {re.sub(r"^(vit|deit)\.", "", name): value for name, value in weights.items()}
    if "embeddings.cls_token" not in bare:
        return dict(weights)
    if "embeddings.distillation_token" in bare:
        raise InputError("embeddings.distillation_token: a distilled DeiT; use the one that is not distilled")
    result: dict[str, Tensor] = {}
    for name, value in bare.items():
        if not name.startswith("pooler."):  # a layer that classification does not use
            result[_timm_name(name)] = value
    for name in [name for name in result if ".attn.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        for part in parts:
            if part not in result:
                raise InputError(f"{part}: missing beside {name}; the checkpoint is not whole")
        result[name.replace(".query.", ".qkv.")] = torch.cat([result.pop(part) for part in parts])
    return result


def _timm_name(name: str) -> str:
    for pattern, replacement in HUGGINGFACE_NAMES:
        changed, count = re.subn("^" + pattern, replacement, name)
        if count:
            return changed
    return name


def _difference(missing: list[str], unexpected: list[str]) -> str:
    parts = []
    for word, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            parts.append(f"{word} {names[0]}{more}")
    return "; ".join(parts)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        data = content[8 + length :]
        header.pop("__metadata__", None)
        return {name: _tensor(data, **entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); get the file again") from error


def _tensor(data: bytes, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    begin, end = data_offsets
    kind = SAFETENSORS_TYPES[dtype]
    if not 0 <= begin <= end <= len(data):
        raise ValueError(f"numbers at {begin} to {end} of {len(data)} bytes")
    if begin == end:
        return torch.zeros(shape, dtype=kind)
    return torch.frombuffer(bytearray(data[begin:end]), dtype=kind).reshape(shape)
