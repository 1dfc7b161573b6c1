"""`UNet`: small and fast; told the time and, if it is made for them, a class or a text."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_multiple_of
from course_utils.models.blocks import (
    Attention,
    CrossAttention,
    Embedding,
    Grow,
    Maps,
    ResBlock,
    Text,
    norm,
    timestep_embedding,
    zeroed,
)


class Level(nn.Module):
    """One level of a UNet, wrapped around the coarser ones, or at the bottom around attention.

    (B, widths[0], H, W) → the same shape: blocks, down to the next level and back up, and residual
    blocks that see both what went down and what came up. `attention` says for each level whether
    places look at each other there, and at the text, if there is one.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        attention: tuple[bool, ...],
        num_blocks: int,
        time_width: int,
        text_width: int | None,
    ):
        super().__init__()
        width, *coarser = widths
        before = [ResBlock(width, width, time_width) for _ in range(num_blocks)]
        if coarser:
            self.shrink = nn.Conv2d(width, coarser[0], 3, stride=2, padding=1)
            below = tuple(coarser), attention[1:]
            self.inner = Level(*below, num_blocks, time_width, text_width)
            self.grow = Grow(coarser[0], width, 3, padding=1)
            before += [Attention(width)] if attention[0] else []
        else:
            self.shrink, self.grow = nn.Identity(), nn.Identity()
            bottom = Attention(width) if attention[0] else ResBlock(width, width, time_width)
            self.inner = bottom
        before += [CrossAttention(width, text_width)] if attention[0] and text_width else []
        self.before = nn.ModuleList(before)
        self.after = nn.ModuleList(
            ResBlock(2 * width if i == 0 else width, width, time_width) for i in range(num_blocks)
        )

    def forward(self, x: Maps, told: Embedding, text: Text | None = None) -> Maps:
        for block in self.before:
            x = block(x, told, text)
        x = torch.cat([x, self.grow(self.inner(self.shrink(x), told, text))], dim=1)
        for block in self.after:
            x = block(x, told, text)
        return x


class UNet(nn.Module):
    """The course's network: `model(x_t, timesteps, **condition)` → (B, out_channels, H, W).

    Squares of `patch_size` pixels are first stacked into channels, which makes all that follows
    cheaper. Each width in `channels` is a level, half as fine as the one before; `attention` says
    which levels have it, None the coarsest only. Made for `num_classes` classes it takes
    `class_labels` (B,), of which the number num_classes, or None, is "no label"; made for a text
    `context_width` wide, `encoder_hidden_states` (B, L, context_width), of which None is "no text".
    Raises ValueError where H or W is no multiple of patch_size * 2 ** (levels - 1), and for a
    condition that it was not made for.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int | None = None,
        *,
        channels: Sequence[int] = (64, 128),
        num_blocks: int = 1,
        patch_size: int = 2,
        attention: Sequence[bool] | None = None,
        num_classes: int | None = None,
        context_width: int | None = None,
    ):
        super().__init__()
        channels, attention = tuple(channels), _which_attend(channels, attention)
        self.settings = {  # what makes this network again
            "in_channels": in_channels,
            "out_channels": out_channels,
            "channels": channels,
            "num_blocks": num_blocks,
            "patch_size": patch_size,
            "attention": attention,
            "num_classes": num_classes,
            "context_width": context_width,
        }
        width, time_width = channels[0], 2 * channels[0]
        patch_area = patch_size**2
        self.multiple = patch_size * 2 ** (len(channels) - 1)
        self.embedding_width = width
        self.num_classes, self.context_width = num_classes, context_width
        self.time = nn.Sequential(
            nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        if num_classes is not None:
            self.classes = nn.Embedding(num_classes + 1, time_width)  # the last row: no label
        self.enter = nn.Sequential(
            nn.PixelUnshuffle(patch_size),
            nn.Conv2d(in_channels * patch_area, width, 3, padding=1),
        )
        self.levels = Level(channels, attention, num_blocks, time_width, context_width)
        self.leave = nn.Sequential(
            norm(width),
            nn.SiLU(),
            zeroed(nn.Conv2d(width, (out_channels or in_channels) * patch_area, 3, padding=1)),
            nn.PixelShuffle(patch_size),
        )

    def forward(
        self,
        x_t: Maps,
        timesteps: Int[Tensor, "B"],
        class_labels: Int[Tensor, "B"] | None = None,
        encoder_hidden_states: Text | None = None,
    ) -> Float[Tensor, "B D H W"]:
        check_multiple_of(self.multiple, x_t)
        told = self.time(timestep_embedding(timesteps, self.embedding_width).to(x_t.dtype))
        told = F.silu(told + self._label(timesteps, class_labels))
        text = self._text(x_t, encoder_hidden_states)
        return self.leave(self.levels(self.enter(x_t), told, text))

    def _label(self, timesteps: Tensor, class_labels: Tensor | None) -> Embedding | float:
        if self.num_classes is None:
            if class_labels is not None:
                raise ValueError("class_labels go to a UNet that was made with num_classes")
            return 0.0
        if class_labels is None:
            class_labels = torch.full_like(timesteps, self.num_classes)
        try:
            return self.classes(class_labels)
        except IndexError:
            raise ValueError(
                f"class_labels must lie in [0, {self.num_classes}], where {self.num_classes} is "
                f"no label; got {class_labels.tolist()}"
            ) from None

    def _text(self, x_t: Tensor, text: Text | None) -> Text | None:
        if self.context_width is None:
            if text is not None:
                raise ValueError(
                    "encoder_hidden_states go to a UNet that was made with context_width"
                )
            return None
        return x_t.new_zeros(len(x_t), 1, self.context_width) if text is None else text


def _which_attend(channels: Sequence[int], attention: Sequence[bool] | None) -> tuple[bool, ...]:
    """For each level whether it attends; by default the coarsest alone."""
    if not channels or any(width < 8 or width % 8 for width in channels):
        raise ValueError(f"channels must be multiples of 8, got {channels}: try (64, 128)")
    attention = tuple(attention or (*[False] * (len(channels) - 1), True))
    if len(attention) != len(channels):
        raise ValueError(
            f"attention must have one value for each of the {len(channels)} channels, "
            f"got {attention}"
        )
    return attention


def count_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
