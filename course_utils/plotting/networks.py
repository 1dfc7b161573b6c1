"""A network's shape: what a UNet makes of a picture on its way down and up."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from torch import Tensor, nn

from course_utils.language import _
from course_utils.plotting.style import COLOURS, INK, finish, new_axes

WIDTH = 0.6  # of a bar


class Stage(NamedTuple):
    """A part of the network, the layer whose output it works on, and the stage it hands that to."""

    name: str
    layer: nn.Module
    attends: bool
    skips_to: int | None = None


def plot_unet(
    model: nn.Module,
    x_t: Tensor,
    timesteps: Tensor,
    ax: Axes | None = None,
    *,
    condition: Mapping[str, Tensor] | None = None,
) -> Axes:
    """What a UNet makes of x_t on its way down and up: a bar for each level, an arc for each skip.

    A bar is as tall as the picture on which its convolutions and its attention work; below it stand
    size and channels. The model is one of diffusers (`down_blocks`, `mid_block`, `up_blocks`) or
    the course's `UNet`; it is called once, `condition` gives it more keywords, such as
    `{"class_labels": labels}`.
    """
    stages = list((_of_diffusers if hasattr(model, "down_blocks") else _of_the_course)(model))
    sizes = _run(model, [stage.layer for stage in stages], x_t, timesteps, condition or {})
    ax = new_axes(ax, 8, 3.6)
    for attends, colour, hatch, label in (
        (False, COLOURS[0], "", _("convolutions")),
        (True, COLOURS[4], "//", _("with attention")),
    ):
        places = [i for i, stage in enumerate(stages) if stage.attends is attends]
        heights = [sizes[i][1] for i in places]
        ax.bar(places, heights, WIDTH, color=colour, hatch=hatch, ec="white", label=label)
    _draw_skips(ax, stages, sizes)
    count = _("channels\n{count}")
    ticks = [
        f"{stage.name}\n{height}×{width}\n" + count.format(count=channels)
        for stage, (channels, height, width) in zip(stages, sizes, strict=True)
    ]
    ax.set_xticks(range(len(stages)), ticks, size=9)
    ax.set_ylim(0, 1.8 * max(height for _channels, height, _width in sizes))
    return finish(ax, _("down on the left, up on the right"), _("height in pixels"), loc="above")


def _draw_skips(ax, stages, sizes):
    """From each level on the way down to its level on the way up, over what lies between."""
    arrow = {"arrowstyle": "-|>", "mutation_scale": 10, "color": INK, "lw": 1.2, "zorder": 3}
    for i, stage in enumerate(stages):
        if stage.skips_to is None:
            continue
        ends = (i, sizes[i][1]), (stage.skips_to, sizes[stage.skips_to][1])
        bend = f"arc3,rad={-0.6 / (stage.skips_to - i) ** 0.5:.3f}"
        ax.add_patch(FancyArrowPatch(*ends, connectionstyle=bend, **arrow))
    ax.plot([], [], color=INK, lw=1.2, label=_("skip connections"))


def _of_diffusers(model) -> Iterator[Stage]:
    """The blocks, at the size on which they work: a down block halves it only when it is done."""
    count = len(model.down_blocks)
    for i, block in enumerate(model.down_blocks):
        yield _stage(block, block.resnets[-1], 2 * count - i)
    yield _stage(model.mid_block, model.mid_block, None)
    for block in model.up_blocks:
        yield _stage(block, block.resnets[-1], None)


def _stage(block, layer, skips_to):
    name = re.sub("UNet|Block2D|CrossAttn|Attn", "", type(block).__name__)
    attends = any(type(part).__name__ == "Attention" for part in block.modules())
    return Stage(name, layer, attends, skips_to)


def _of_the_course(model) -> Iterator[Stage]:
    """The levels of `UNet`, from outside in and back; the innermost turns around in itself."""
    levels = [model.levels]
    while hasattr(levels[-1].inner, "before"):
        levels.append(levels[-1].inner)
    attending = [any("Attention" in type(part).__name__ for part in _own(x)) for x in levels]
    last = 2 * len(levels)
    for i, (level, attends) in enumerate(zip(levels, attending, strict=True)):
        yield Stage("Down", level.before[-1], attends and i < len(levels) - 1, last - i)
    yield Stage("Mid", levels[-1].inner, attending[-1])
    for level in levels[::-1]:
        yield Stage("Up", level.after[-1], False)


def _own(level):
    """The parts of a level that belong to no coarser one."""
    yield from level.before
    yield level.inner


def _run(model: Callable, layers, x_t, timesteps, condition) -> list[tuple[int, int, int]]:
    """Call the model once, and note the (C, H, W) of what each layer hands on."""
    sizes: dict[nn.Module, tuple[int, int, int]] = {}

    def note(layer, args, output):
        output = output[0] if isinstance(output, tuple) else output
        sizes[layer] = tuple(output.shape[1:])

    with ExitStack() as hooks, torch.no_grad():
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(note))
        model(x_t, timesteps, **condition)
    return [sizes[layer] for layer in layers]
