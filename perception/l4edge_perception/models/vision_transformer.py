"""Vision transformers of the DeiT form: patches and a class token through blocks of attention and perceptron.

Parameter names and shapes are those of timm's DeiT-T/S/B, so public checkpoints load (``checkpoints``). The forward
pass is a fixed list of operations for any batch, which ``torch.fx`` can trace and a quantizer can walk.

Sources: Dosovitskiy et al. 2020, arXiv 2010.11929, section 3.1; Touvron et al. 2020, arXiv 2012.12877, table 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4edge_perception.errors import InputError

NORMALIZATION_EPSILON = 1e-6
"""What DeiT was trained with; torch's own default is 1e-5."""


class Attention(nn.Module):
    """Every token looks at every token, in several heads."""

    def __init__(self, width: int, heads: int, token_count: int):
        super().__init__()
        self.width, self.heads, self.token_count = width, heads, token_count
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        split = self.qkv(tokens).reshape(-1, self.token_count, 3, self.heads, self.width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = functional.softmax(torch.matmul(queries, keys.transpose(-2, -1)) * self.scale, dim=-1)
        mixed = torch.matmul(weights, values).transpose(1, 2)
        return self.proj(mixed.reshape(-1, self.token_count, self.width))


class Perceptron(nn.Module):
    """Two layers on each token alone."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        return self.fc2(self.act(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and perceptron, each beside the identity, normalized at their entry."""

    def __init__(self, width: int, heads: int, token_count: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORMALIZATION_EPSILON)
        self.attn = Attention(width, heads, token_count)
        self.norm2 = nn.LayerNorm(width, eps=NORMALIZATION_EPSILON)
        self.mlp = Perceptron(width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbedding(nn.Module):
    """Squares of pixels to tokens."""

    def __init__(self, patch_size: int, width: int, channels: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, H / patch * W / patch, width)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """A square image in, one logit per class out.

    Args:
        image_size: height and width in pixels, a multiple of ``patch_size``.
        patch_size: height and width of a patch in pixels.
        width: numbers per token, a multiple of ``heads``.
        depth: blocks.
        heads: attention heads per block.
        class_count: logits.
        expansion: hidden neurons of the perceptrons per number of a token.
        channels: of the image.

    Raises:
        InputError: sizes that do not divide.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        class_count: int = 1000,
        expansion: float = 4.0,
        channels: int = 3,
    ):
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise InputError(
                f"vision transformer: patch_size {patch_size} does not divide image_size {image_size}: choose another"
            )
        if heads < 1 or width % heads:
            raise InputError(f"vision transformer: heads {heads} does not divide width {width}: choose another")
        token_count = (image_size // patch_size) ** 2 + 1
        self.patch_embed = PatchEmbedding(patch_size, width, channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, token_count, width))
        hidden = int(width * expansion)
        self.blocks = nn.Sequential(*(Block(width, heads, token_count, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=NORMALIZATION_EPSILON)
        self.head = nn.Linear(width, class_count)
        self._initialize()

    def _initialize(self) -> None:
        """As DeiT begins: normal weights of 0.02, cut at two, biases zero."""
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, image_size, image_size) to (B, class_count)."""
        return self.from_patches(self.patch_embed(images))

    def from_patches(self, patches: Tensor) -> Tensor:
        """(B, N, width) tokens of the patches to (B, class_count)."""
        class_token = self.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def deit_tiny(class_count: int = 1000) -> VisionTransformer:
    """DeiT-T for 224 x 224 pixels: 5,717,416 parameters with 1000 classes."""
    return VisionTransformer(width=192, heads=3, class_count=class_count)


def deit_small(class_count: int = 1000) -> VisionTransformer:
    """DeiT-S for 224 x 224 pixels: 22,050,664 parameters with 1000 classes."""
    return VisionTransformer(width=384, heads=6, class_count=class_count)


def deit_base(class_count: int = 1000) -> VisionTransformer:
    """DeiT-B for 224 x 224 pixels: 86,567,656 parameters with 1000 classes."""
    return VisionTransformer(width=768, heads=12, class_count=class_count)
