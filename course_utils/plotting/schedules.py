"""All plots: curves here, rows of pictures and the film from their own modules.

Each draws on `ax`, or on a new white figure, and returns the ax. Nothing calls `show`, draws from
a global random state or changes matplotlib's settings.
"""

import re
from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from course_utils.language import N_, _
from course_utils.plotting.animation import animate_sampling
from course_utils.plotting.curves import compare_curves, plot_choices
from course_utils.plotting.pictures import (
    Ax,
    Text,
    show_corruption,
    show_film,
    show_images,
    show_rows,
)
from course_utils.plotting.style import (
    COLOURS,
    MARKERS,
    add_note,
    finish,
    line_style,
    new_axes,
    plain_numbers,
)
from course_utils.schedule import NoiseSchedule

__all__ = [
    "animate_sampling",
    "compare_curves",
    "compare_schedules",
    "plot_choices",
    "plot_loss",
    "plot_schedule",
    "plot_unet",
    "show_corruption",
    "show_film",
    "show_images",
    "show_rows",
]
SNR_LIMITS = (1e-6, 1e6)
TIMESTEP, SIGNAL, NOISE = N_("timestep $t$"), N_(r"signal $\alpha_t$"), N_(r"noise $\sigma_t$")
VIEWS = {
    "snr": (TIMESTEP, N_(r"signal-to-noise ratio $\alpha_t^2 / \sigma_t^2$")),
    "alphas": (TIMESTEP, SIGNAL),
    "sigmas": (TIMESTEP, NOISE),
    "plane": (
        N_(r"signal $\alpha_t$ (1: the clean image)"),
        N_(r"noise $\sigma_t$ (1: noise alone)"),
    ),
}


def plot_schedule(
    schedule: NoiseSchedule, ax: Ax = None, *, title: Text = None, label: Text = None
) -> Axes:
    """The curves alpha_t and sigma_t of the mix; `label` names the schedule in the legend."""
    ax = new_axes(ax, 7, 3.5)
    for values, name in ((schedule.alphas, SIGNAL), (schedule.sigmas, NOISE)):
        name = f"{label}: {_(name)}" if label else _(name)
        ax.plot(range(len(values)), values.tolist(), label=name, **line_style(len(ax.lines)))
    return finish(ax, _(TIMESTEP), _("share in the mix"), title)


def compare_schedules(
    schedules: dict[str, NoiseSchedule], ax: Ax = None, *, what: str = "snr"
) -> Axes:
    """One line for each schedule, with a dot after every tenth of its timesteps.

    `what`: "snr" (log axis), "alphas" or "sigmas" over time, or "plane", the path (alpha, sigma).
    """
    if what not in VIEWS or not schedules:
        raise ValueError(
            f"schedules must not be empty and what must be one of {', '.join(VIEWS)}; "
            f"got {len(schedules)} schedules, what={what!r}"
        )
    ax = new_axes(ax, *((5, 5) if what == "plane" else (7, 3.5)))
    for i, (name, schedule) in enumerate(schedules.items()):
        x = schedule.alphas.tolist() if what == "plane" else range(len(schedule))
        y = schedule.sigmas if what == "plane" else getattr(schedule, what)
        y = y.clamp(*SNR_LIMITS) if what == "snr" else y
        ax.plot(x, y.tolist(), label=name, **_dotted(i, len(schedule)))
    finish(ax, *map(_, VIEWS[what]))
    if what == "snr":
        ax.set_yscale("log")
        if any((s.snr != s.snr.clamp(*SNR_LIMITS)).any() for s in schedules.values()):
            add_note(ax, _("values outside [10⁻⁶, 10⁶], 0 among them, are drawn on that edge"))
    if what == "plane":
        ax.set(aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        add_note(ax, _("a dot after every tenth of the timesteps"))
    return ax


def plot_loss(
    losses: Iterable,
    ax: Ax = None,
    *,
    smoothing: float = 0.95,
    label: Text = None,
    log: bool = True,
) -> Axes:
    """The loss of each training step, pale, and its running average, bold.

    The average is exponential, `smoothing` in [0, 1) the weight of the past, without bias towards
    0 at the start. Losses that are not finite are left out and counted below the axis.
    """
    losses = np.asarray([float(loss) for loss in losses])
    finite = np.isfinite(losses)
    if not finite.any():
        raise ValueError(f"losses must hold a finite number, got {len(losses)} values, none finite")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing}: 0 is none, try 0.95")
    ax = new_axes(ax, 7, 3.5)
    x, y, style = (
        np.arange(1, len(losses) + 1)[finite],
        losses[finite],
        line_style(len(ax.lines) // 2),
    )
    ax.plot(x, y, color=style["color"], alpha=0.3, lw=0.8, label=None if label else _("each step"))
    ax.plot(x, _smooth(y, smoothing), label=label or _("running average"), **style)
    if log and y.min() > 0:
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
    finish(ax, _("training step"), _("loss"), loc="upper right")
    if not finite.all():
        add_note(
            ax,
            _("{name}: {count:,} of {total:,} not finite, left out").format(
                name=label or _("loss"), count=(~finite).sum(), total=len(losses)
            ),
        )
    return ax


def plot_unet(model: nn.Module, x_t: Tensor, timesteps: Tensor, ax: Ax = None) -> Axes:
    """What a UNet makes of x_t on its way down and up: one bar for each block's output.

    A bar is as tall as the picture is there; below it stand its size and its channels. The model
    is a diffusers one (`down_blocks`, `mid_block`, `up_blocks`); it is called once.
    """
    sizes, hooks = [], []

    def note(block, args, output):
        tensor = output[0] if isinstance(output, tuple) else output
        name = re.sub("UNet|Block2D", "", type(block).__name__)
        sizes.append((name, *tensor.shape[1:3]))

    for block in (model.conv_in, *model.down_blocks, model.mid_block, *model.up_blocks):
        hooks.append(block.register_forward_hook(note))
    with torch.no_grad():
        model(x_t, timesteps)
    for hook in hooks:
        hook.remove()
    ax = new_axes(ax, 8, 3)
    looks = {
        False: (COLOURS[0], "", _("convolutions")),
        True: (COLOURS[4], "//", _("with attention")),
    }
    for attends, (colour, hatch, label) in looks.items():
        bars = [
            (i, h)
            for i, (name, _, h) in enumerate(sizes)
            if bool(re.match("Attn|Mid", name)) is attends
        ]
        ax.bar(*zip(*bars, strict=True), 0.6, color=colour, hatch=hatch, ec="white", label=label)
    ticks = [f"{name}\n{height}×{height}\n{width} ch." for name, width, height in sizes]
    ax.set_xticks(range(len(sizes)), ticks, size=8)
    return finish(
        ax, _("down on the left, up on the right"), _("height in pixels"), loc="upper center"
    )


def _dotted(index, T):
    """Ten dots on the way; later lines are thinner, so that two on one path are both seen."""
    dots = {"marker": MARKERS[index % len(MARKERS)], "markevery": max(1, T // 10), "mec": "white"}
    sizes = {"lw": max(1.2, 3.6 - 1.1 * index), "ms": max(5, 9.5 - 1.75 * index), "mew": 0.8}
    return line_style(index) | dots | sizes


def _smooth(values, weight):
    """Exponential average; the weight that the first values lack is divided out."""
    averages, average = [], 0.0
    for count, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        averages.append(average / (1 - weight**count))
    return averages
