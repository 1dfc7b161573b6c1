"""Curves: the loss of a training, lines through measured points, the laboratory's choices."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from course_utils.language import N_, _
from course_utils.plotting.style import (
    COLOURS,
    MARKERS,
    add_note,
    finish,
    line_style,
    new_axes,
    plain_numbers,
    text_inches,
)

LEGEND = 10  # points
CHOICES = {  # of the laboratory: how its table names them, and how the figure does
    "optimizer": N_("optimizer"),
    "schedule": N_("schedule"),
    "target": N_("target"),
    "weighting": N_("loss weights"),
    "timesteps": N_("timesteps"),
    "EMA": N_("average of the weights (EMA)"),
    "adamw": "AdamW",
    "muon": "Muon",
    "cosine": N_("cosine"),
    "linear": N_("linear"),
    "straight": N_("straight"),
    "min_snr": "min-SNR",
    "none": N_("all alike"),
    "logit_normal": N_("logit-normal"),
    "uniform": N_("uniform"),
    "order 2": N_("second order"),
    "True": N_("yes"),
    "False": N_("no"),
}


def compare_curves(
    curves: Mapping[str, tuple[Iterable, Iterable]],
    ax: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    title: str | None = None,
) -> Axes:
    """One line with markers for each name, through its points (x values, y values).

    `log` names the axes that are logarithmic: "", "x", "y" or "xy".
    Raises ValueError for no curves or another `log`.
    """
    if not curves or log not in ("", "x", "y", "xy"):
        raise ValueError(
            f"curves must not be empty, and log one of '', 'x', 'y', 'xy'; "
            f"got {len(curves)} curves, log={log!r}"
        )
    ax = new_axes(ax, 7, 3.5)
    places = set()
    for i, (name, (x, y)) in enumerate(curves.items()):
        x = list(x)
        places.update(x)
        ax.plot(x, list(y), label=name, marker=MARKERS[i % len(MARKERS)], **line_style(i))
    if "x" in log:
        ax.set_xscale("log")
        ax.set_xticks(sorted(places), [f"{place:,g}" for place in sorted(places)])
        ax.xaxis.set_minor_formatter(NullFormatter())
    if "y" in log:
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
    fits = len(curves) <= 4 and text_inches("".join(curves), LEGEND) < 4
    return finish(ax, xlabel, ylabel, title, "above" if fits else "best")


def compare_bands(
    curves: Mapping[str, tuple[Iterable, Iterable, Iterable]],
    ax: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    marker: float | int | None = None,
    floor: float | int | None = None,
    log: bool = False,
    title: str | None = None,
) -> Axes:
    """One line for each name through its means, in a pale band of one standard deviation.

    Each curve is (x values, means, standard deviations); `marker` is an x with a vertical line,
    `floor` a y with a dotted one, such as what real pictures reach; `log` is for the y axis.
    Raises ValueError for no curves, lengths that differ or a standard deviation below 0.
    """
    if not curves:
        raise ValueError("curves must not be empty: pass {name: (x, means, standard deviations)}")
    ax = new_axes(ax, 7, 3.5)
    for i, (name, points) in enumerate(curves.items()):
        x, mean, std = check_band(name, *points)
        style = line_style(i)
        ax.plot(x, mean, label=name, marker=MARKERS[i % len(MARKERS)], ms=4, **style)
        ax.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.2, lw=0)
    if marker is not None:
        ax.axvline(marker, color=ax.title.get_color(), lw=1, alpha=0.7)
    if floor is not None:
        ax.axhline(floor, color=ax.title.get_color(), lw=1, ls=":")
    if log:
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
    fits = len(curves) <= 4 and text_inches("".join(curves), LEGEND) < 4
    return finish(ax, xlabel, ylabel, title, "above" if fits else "best")


def check_band(name: str, x: Iterable, mean: Iterable, std: Iterable) -> list[np.ndarray]:
    """The three as arrays. Raises ValueError unless they are as long, and std nowhere below 0."""
    band = [np.asarray([float(value) for value in values]) for values in (x, mean, std)]
    lengths = list(map(len, band))
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"{name} needs a mean and a standard deviation for each x, at least one; "
            f"got {lengths[0]} x, {lengths[1]} means, {lengths[2]} standard deviations"
        )
    if (band[2] < 0).any():
        raise ValueError(f"the standard deviations of {name} must not be below 0, got {band[2]}")
    return band


def plot_choices(summary, ax: Axes | None = None, *, floor: float | None = None) -> Axes:
    """The laboratory's summary: for each choice a dot for every network, a line at the median.

    `summary` is the table that `evaluation.benchmarks.summary` makes; `floor`, the distance of real
    pictures, is drawn as a line.
    """
    ax = new_axes(ax, 7.5, 0.28 * len(summary) + 1.4)
    factors = list(dict.fromkeys(summary.factor))
    colours = [COLOURS[factors.index(f) % (len(COLOURS) - 1)] for f in summary.factor]
    rows = range(len(summary))
    for row, distances, colour in zip(rows, summary.distances, colours, strict=True):
        label = None if row else _("one network")
        ax.scatter(distances, [row] * len(distances), 28, colour, alpha=0.45, lw=0, label=label)
    ends = [row - 0.35 for row in rows], [row + 0.35 for row in rows]
    ax.vlines(summary["median"], *ends, color=colours, lw=3, label=_("median"))
    if floor is not None:
        ax.axvline(floor, color=COLOURS[-1], ls=":", label=_("real digits"))
    pairs = zip(summary.factor, summary.choice, strict=True)
    words = [tuple(_(CHOICES.get(str(word), str(word))) for word in pair) for pair in pairs]
    ax.set_yticks(rows, [f"{factor}: {choice}" for factor, choice in words])
    ax.invert_yaxis()
    ax.set_xscale("log")
    plain_numbers(ax.xaxis)
    return finish(ax, _("Fréchet distance (smaller is better)"), _("choice"), loc="upper right")


def plot_loss(
    losses: Iterable,
    ax: Axes | None = None,
    *,
    smoothing: float = 0.95,
    label: str | None = None,
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
    x, y = np.arange(1, len(losses) + 1)[finite], losses[finite]
    style = line_style(len(ax.lines) // 2)
    ax.plot(x, y, color=style["color"], alpha=0.3, lw=0.8, label=None if label else _("each step"))
    ax.plot(x, _smooth(y, smoothing), label=label or _("running average"), **style)
    if log and y.min() > 0:
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
    finish(ax, _("training step"), _("loss"), loc="upper right")
    if not finite.all():
        note = _("{name}: {count:,} of {total:,} not finite, left out")
        name = label or _("loss")
        add_note(ax, note.format(name=name, count=(~finite).sum(), total=len(losses)))
    return ax


def _smooth(values, weight):
    """Exponential average; the weight that the first values lack is divided out."""
    averages, average = [], 0.0
    for count, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        averages.append(average / (1 - weight**count))
    return averages
