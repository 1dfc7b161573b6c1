"""What a network makes of a picture on its way through."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from course_utils.language import _
from course_utils.plotting.style import COLOURS, finish, new_axes


class Bar(NamedTuple):
    """A block, and the size of what comes out of it."""

    name: str
    attends: bool
    channels: int
    height: int
    width: int


def plot_unet(
    model: nn.Module,
    x_t: Tensor,
    timesteps: Tensor,
    ax: Axes | None = None,
    *,
    condition: Mapping[str, Tensor] | None = None,
) -> Axes:
    """What a UNet makes of x_t on its way down and up: one bar for each block's output.

    A bar is as tall as the picture is there; below it stand its size and its channels. The model
    is a diffusers one (`down_blocks`, `mid_block`, `up_blocks`); it is called once, `condition`
    gives it more keywords, such as `{"class_labels": labels}`.
    """
    bars = _run(model, x_t, timesteps, condition or {})
    ax = new_axes(ax, 8, 3)
    for attends, colour, hatch, label in (
        (False, COLOURS[0], "", _("convolutions")),
        (True, COLOURS[4], "//", _("with attention")),
    ):
        places = [i for i, bar in enumerate(bars) if bar.attends is attends]
        heights = [bars[i].height for i in places]
        ax.bar(places, heights, 0.6, color=colour, hatch=hatch, ec="white", label=label)
    ticks = [f"{bar.name}\n{bar.height}×{bar.width}\n{bar.channels} ch." for bar in bars]
    ax.set_xticks(range(len(bars)), ticks, size=8)
    return finish(
        ax, _("down on the left, up on the right"), _("height in pixels"), loc="upper center"
    )


def _run(model, x_t, timesteps, condition) -> list[Bar]:
    """Call the model once, and note what each block hands on."""
    bars = []

    def note(block, args, output):
        output = output[0] if isinstance(output, tuple) else output
        name = re.sub("UNet|Block2D", "", type(block).__name__)
        attends = any(type(part).__name__ == "Attention" for part in block.modules())
        bars.append(Bar(name, attends, *output.shape[1:]))

    with ExitStack() as hooks, torch.no_grad():
        for block in (model.conv_in, *model.down_blocks, model.mid_block, *model.up_blocks):
            hooks.enter_context(block.register_forward_hook(note))
        model(x_t, timesteps, **condition)
    return bars
