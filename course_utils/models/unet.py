"""Two networks of our own: the toy `BasicUNet`, and `UNet`, small, fast and time-conditioned."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class BasicUNet(nn.Module):
    """The toy of notebook 02: three convolutions down, three up, joined by skip connections.

    (B, in_channels, H, W) → (B, out_channels, H, W), H and W multiples of 4. The last layer is
    linear, so that any value can come out. It takes timesteps, for `sample`, and ignores them.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1):
        super().__init__()
        widths = [in_channels, 32, 64, 64]
        self.down = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], kernel_size=5, padding=2) for i in range(3)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(width_in, width_out, kernel_size=5, padding=2)
            for width_in, width_out in [(64, 64), (64, 32), (32, out_channels)]
        )

    def forward(
        self, x: Float[Tensor, "B C H W"], timesteps: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B D H W"]:
        _check_multiple_of(4, x)
        first = F.silu(self.down[0](x))  # (B, 32, H, W)
        second = F.silu(self.down[1](F.max_pool2d(first, 2)))  # (B, 64, H/2, W/2)
        x = F.silu(self.down[2](F.max_pool2d(second, 2)))  # (B, 64, H/4, W/4)
        x = F.silu(self.up[0](x))
        x = F.silu(self.up[1](F.interpolate(x, scale_factor=2) + second))
        return self.up[2](F.interpolate(x, scale_factor=2) + first)


def timestep_embedding(timesteps: Int[Tensor, "B"], width: int) -> Float[Tensor, "B width"]:
    """Sines and cosines of each timestep, from fast to slow (Vaswani et al. 2017, §3.5)."""
    half = width // 2
    speeds = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps[:, None].float() * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """x + f(x, time): two convolutions, in between scaled and shifted by the time embedding."""

    def __init__(self, width_in: int, width_out: int, time_width: int):
        super().__init__()
        self.norm1 = _norm(width_in)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * width_out)
        self.norm2 = _norm(width_out)
        self.conv2 = _zeroed(nn.Conv2d(width_out, width_out, 3, padding=1))
        same = width_in == width_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Float[Tensor, "B C H W"], time: Float[Tensor, "B E"]) -> Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(h))


class Attention(nn.Module):
    """x + attention(x): every place looks at every other (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, head_width: int = 32):
        super().__init__()
        self.num_heads = max(1, width // head_width)
        self.norm = _norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = _zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        b, c, h, w = x.shape
        heads = self.qkv(self.norm(x)).reshape(b, 3, self.num_heads, c // self.num_heads, h * w)
        q, k, v = heads.transpose(-1, -2).unbind(1)  # each (B, heads, H*W, C/heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class Level(nn.Module):
    """One level of a UNet, wrapped around the coarser ones; the coarsest holds attention.

    (B, widths[0], H, W) → the same shape: residual blocks, down to the next level and back up,
    and residual blocks that see both what went down and what came up.
    """

    def __init__(self, widths: tuple[int, ...], num_blocks: int, time_width: int):
        super().__init__()
        width, *coarser = widths
        self.before = nn.ModuleList(ResBlock(width, width, time_width) for _ in range(num_blocks))
        if coarser:
            self.shrink = nn.Conv2d(width, coarser[0], 3, stride=2, padding=1)
            self.inner = Level(tuple(coarser), num_blocks, time_width)
            self.grow = nn.Conv2d(coarser[0], width, 3, padding=1)
        else:
            self.shrink, self.inner, self.grow = None, Attention(width), None
        self.after = nn.ModuleList(
            ResBlock(2 * width if i == 0 else width, width, time_width) for i in range(num_blocks)
        )

    def forward(self, x: Float[Tensor, "B C H W"], time: Float[Tensor, "B E"]) -> Tensor:
        for block in self.before:
            x = block(x, time)
        if self.shrink is None:
            inner = self.inner(x)
        else:
            inner = self.grow(F.interpolate(self.inner(self.shrink(x), time), scale_factor=2))
        x = torch.cat([x, inner], dim=1)
        for block in self.after:
            x = block(x, time)
        return x


class UNet(nn.Module):
    """The course's network: `model(x_t, timesteps)` → (B, out_channels, H, W).

    Squares of `patch_size` pixels are first stacked into channels, which makes all that follows
    cheaper. Each width in `channels` is a level, half as fine as the one before.
    Raises ValueError where H or W is no multiple of patch_size * 2 ** (levels - 1).
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int | None = None,
        *,
        channels: tuple[int, ...] = (64, 128),
        num_blocks: int = 1,
        patch_size: int = 2,
    ):
        super().__init__()
        if not channels or any(width < 8 or width % 8 for width in channels):
            raise ValueError(f"channels must be multiples of 8, got {channels}: try (64, 128)")
        width, time_width = channels[0], 2 * channels[0]
        patch_area = patch_size**2
        self.multiple = patch_size * 2 ** (len(channels) - 1)
        self.embedding_width = width
        self.time = nn.Sequential(
            nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width), nn.SiLU()
        )
        self.enter = nn.Sequential(
            nn.PixelUnshuffle(patch_size),
            nn.Conv2d(in_channels * patch_area, width, 3, padding=1),
        )
        self.levels = Level(tuple(channels), num_blocks, time_width)
        self.leave = nn.Sequential(
            _norm(width),
            nn.SiLU(),
            _zeroed(nn.Conv2d(width, (out_channels or in_channels) * patch_area, 3, padding=1)),
            nn.PixelShuffle(patch_size),
        )

    def forward(
        self, x_t: Float[Tensor, "B C H W"], timesteps: Int[Tensor, "B"]
    ) -> Float[Tensor, "B D H W"]:
        _check_multiple_of(self.multiple, x_t)
        time = self.time(timestep_embedding(timesteps, self.embedding_width).to(x_t.dtype))
        return self.leave(self.levels(self.enter(x_t), time))


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, width)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Weights of 0: a block starts as the identity, the network as silence."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _check_multiple_of(multiple: int, x: Tensor) -> None:
    if x.ndim != 4 or x.shape[-2] % multiple or x.shape[-1] % multiple:
        raise ValueError(
            f"images must be (B, C, H, W) with H and W multiples of {multiple}, "
            f"got {tuple(x.shape)}: resize or pad them"
        )
