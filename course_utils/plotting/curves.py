"""Curves that compare: lines through measured points, and the laboratory's choices."""

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from course_utils.language import _
from course_utils.plotting.style import (
    COLOURS,
    MARKERS,
    finish,
    line_style,
    new_axes,
    plain_numbers,
)


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
    return finish(ax, xlabel, ylabel, title)


def plot_choices(summary, ax: Axes | None = None, *, floor: float | None = None) -> Axes:
    """The laboratory's summary: for each choice a bar from its best network to the median one.

    `summary` is the table that `evaluation.benchmarks.summary` makes; `floor`, the distance of real
    pictures, is drawn as a line.
    """
    ax = new_axes(ax, 7.5, 0.26 * len(summary) + 1.4)
    pairs = zip(summary.factor, summary.choice, strict=True)
    names = [f"{factor}: {choice}" for factor, choice in pairs]
    factors = list(dict.fromkeys(summary.factor))
    colours = [COLOURS[factors.index(factor) % len(COLOURS)] for factor in summary.factor]
    rows = range(len(summary))
    ax.hlines(rows, summary.best, summary["median"], color=colours, lw=3)
    ax.scatter(summary.best, rows, color=colours, marker="D", s=36, label=_("best network"))
    ax.scatter(summary["median"], rows, color=colours, marker="o", s=36, label=_("median network"))
    if floor is not None:
        ax.axvline(floor, color=COLOURS[-1], ls=":", label=_("real digits"))
    ax.set_yticks(rows, names)
    ax.invert_yaxis()
    ax.set_xscale("log")
    plain_numbers(ax.xaxis)
    return finish(ax, _("Fréchet distance (smaller is better)"), _("choice"), loc="lower right")
