"""The blocks of a `UNet`: residual convolutions and attention, all called in the same way."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Maps, WiderMaps = Float[Tensor, "B C H W"], Float[Tensor, "B D H W"]
Embedding = Float[Tensor, "B E"]
Text = Float[Tensor, "B L T"]


def timestep_embedding(timesteps: Int[Tensor, "B"], width: int) -> Float[Tensor, "B width"]:
    """Sines and cosines of each timestep, from fast to slow (Vaswani et al. 2017, §3.5)."""
    half = width // 2
    speeds = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps[:, None].float() * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """x + f(x, told): two convolutions, in between scaled and shifted by what it is told."""

    def __init__(self, width_in: int, width_out: int, time_width: int):
        super().__init__()
        self.norm1 = norm(width_in)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * width_out)
        self.norm2 = norm(width_out)
        self.conv2 = zeroed(nn.Conv2d(width_out, width_out, 3, padding=1))
        same = width_in == width_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Maps, told: Embedding, text: Text | None = None) -> WiderMaps:
        scale, shift = self.time(told)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(h))


class Attention(nn.Module):
    """x + attention(x): every place looks at every other (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int):
        super().__init__()
        self.num_heads = _num_heads(width)
        self.norm = norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Maps, told: Embedding | None = None, text: Text | None = None) -> Maps:
        b, c, h, w = x.shape
        heads = self.qkv(self.norm(x)).reshape(b, 3, self.num_heads, c // self.num_heads, h * w)
        q, k, v = heads.transpose(-1, -2).unbind(1)  # each (B, heads, H*W, C/heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class CrossAttention(nn.Module):
    """x + attention(x, text): every place looks at every word (Rombach et al. 2022, §3.3)."""

    def __init__(self, width: int, text_width: int):
        super().__init__()
        self.num_heads = _num_heads(width)
        self.norm = norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.kv = nn.Linear(text_width, 2 * width, bias=False)  # a text of zeros says nothing
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Maps, told: Embedding | None, text: Text) -> Maps:
        b, c, h, w = x.shape
        q = self.q(self.norm(x)).reshape(b, self.num_heads, c // self.num_heads, h * w)
        words = self.kv(text).reshape(b, text.shape[1], 2, self.num_heads, c // self.num_heads)
        k, v = words.permute(2, 0, 3, 1, 4)  # each (B, heads, L, C/heads)
        mixed = F.scaled_dot_product_attention(q.transpose(-1, -2), k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class Grow(nn.Conv2d):
    """Twice as high and wide, then a convolution."""

    def forward(self, x: Maps) -> Float[Tensor, "B D H2 W2"]:
        return super().forward(F.interpolate(x, scale_factor=2))


def _num_heads(width: int) -> int:
    """As many heads as fit, each about 32 wide and all equally wide."""
    return max(n for n in range(1, max(1, width // 32) + 1) if width % n == 0)


def norm(width: int) -> nn.GroupNorm:
    """Eight groups of channels, each brought to mean 0 and variance 1 (Wu & He 2018)."""
    return nn.GroupNorm(8, width)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Weights of 0: a block starts as the identity, the network as silence."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
