"""Sliders over stored pictures: of every label at every scale, and what a scale costs."""

from collections.abc import Mapping, Sequence

import ipywidgets
import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.checks import check_images
from course_utils.language import _
from course_utils.plotting import compare_bands, show_images, show_rows
from course_utils.plotting.curves import check_band
from course_utils.plotting.pictures import to_unit
from course_utils.plotting.sheet import draw_sheet
from course_utils.widgets.controls import control, is_live, panel, still
from course_utils.widgets.page import beside, curves, picture, words

MOST_ROWS, MOST_COLUMNS = 5, 7  # of a still figure
Numbers = Sequence[float | int]


def gallery(
    pictures: Float[Tensor, "*axes N C H W"],
    axes: Mapping[str, Sequence],
    *,
    start: Mapping[str, object] | None = None,
    title: str | None = None,
) -> ipywidgets.VBox | Figure:
    """The N pictures in model range that are stored for one value of each of `axes`.

    `axes` names the leading dimensions in their order, each with its values: texts give a list to
    choose from, numbers a slider. Moves: every one of them, from `start` or its first value. Still:
    the first axis downwards, the last to the right, of others the start; one axis: all N, or to the
    right where N is 1.
    Raises ValueError where axes and pictures don't fit.
    """
    axes = {name: list(values) for name, values in axes.items()}
    start = _check_start(axes, dict(start or {}))
    pictures = _check_stored(pictures, axes).detach().cpu()
    if not is_live():
        return _gallery_figure(pictures, axes, start, title)

    def show(**chosen):
        index = tuple(axes[name].index(value) for name, value in chosen.items())
        text = _say(chosen)
        alt = _("stored pictures, {text}").format(text=text)
        shown = pictures[index]
        width = min(560, 160 * len(shown))
        heading = [words(title)] if title else []
        return beside(*heading, picture(shown, alt, text, width=width))

    return panel(show, **{name: _chooser(name, axes[name], start[name]) for name in axes})


def _check_start(axes, start):
    """A value for each axis. Raises ValueError for values that are empty, doubled or unknown."""
    for name, values in axes.items():
        if not values or len(set(values)) < len(values):
            raise ValueError(f"axes[{name!r}] must hold different values, got {values}")
    for name, value in start.items():
        if value not in axes.get(name, ()):
            raise ValueError(f"start must hold values of axes {list(axes)}, got {name}={value!r}")
    return {name: start.get(name, values[0]) for name, values in axes.items()}


def _check_stored(pictures, axes):
    lengths = tuple(map(len, axes.values()))
    if not axes or pictures.ndim != len(axes) + 4 or pictures.shape[:-4] != lengths:
        raise ValueError(
            f"pictures must be {(*lengths, 'N', 'C', 'H', 'W')}, a dimension for each of at least "
            f"one axis, {list(axes)}; got {tuple(pictures.shape)}"
        )
    check_images("pictures", pictures.flatten(0, -4))
    return pictures


def _chooser(name, values, value):
    """A list for texts, a slider for numbers."""
    tip = _("choose: {name}").format(name=name)
    if any(isinstance(each, str) for each in values):
        return control(ipywidgets.Dropdown, name, tip, options=values, value=value)
    options = [(f"{each:g}", each) for each in values]
    return control(ipywidgets.SelectionSlider, name, tip, options=options, value=value)


def _say(chosen):
    return ", ".join(f"{name}: {_short(value)}" for name, value in chosen.items())


def _short(value):
    return value if isinstance(value, str) else f"{value:g}"


def _few(count, most):
    """At most `most` indices from 0 to count - 1, both ends among them."""
    return torch.linspace(0, count - 1, min(count, most)).round().long().tolist()


def _gallery_figure(pictures, axes, start, title):
    down, *between = axes
    if not between and pictures.shape[1] == 1:
        few = _few(len(pictures), MOST_COLUMNS)
        captions = [_label(down, axes[down][i]) for i in few]
        return still(
            show_images(pictures[few, 0], columns=len(few), captions=captions, title=title)
        )
    if not between:
        captions = None
        shown = {i: pictures[i, :MOST_COLUMNS] for i in _few(len(pictures), MOST_ROWS)}
    else:
        *between, right = between
        fixed = {name: start[name] for name in between}
        title = ", ".join(filter(None, [title, _say(fixed)])) or None
        inner = tuple(axes[name].index(value) for name, value in fixed.items())
        columns = _few(len(axes[right]), MOST_COLUMNS)
        captions = [f"{right} {_short(axes[right][i])}" for i in columns]
        rows = _few(len(axes[down]), MOST_ROWS)
        shown = {i: pictures[(i, *inner)][columns, 0] for i in rows}
    rows = {_label(down, axes[down][i]): x for i, x in shown.items()}
    return still(show_rows(rows, title=title, captions=captions))


def _label(name, value):
    """The label of a row: a text says itself what it is, a number does not."""
    return value if isinstance(value, str) else f"{name} {value:g}"


def price(
    scales: Numbers | Tensor,
    measures: Mapping[str, tuple[Numbers | Tensor, Numbers | Tensor]],
    pictures: Float[Tensor, "S N C H W"] | None = None,
    *,
    name: str | None = None,
    start: float | int | None = None,
) -> ipywidgets.VBox | Figure:
    """What rises and what falls with a scale: one curve for each of `measures`, pictures beside.

    A measure is (mean, standard deviation) at each of the S scales; `name` says what the scales
    are (default: the guidance scale). Moves: the scale, from `start` or the middle one.
    Raises ValueError where lengths differ or `start` is no scale.
    """
    scales = [float(scale) for scale in scales]
    name = name or _("guidance scale")
    bands = {key: check_band(key, scales, *band)[1:] for key, band in measures.items()}
    if not bands:
        raise ValueError("measures must not be empty: pass {name: (mean, standard deviation)}")
    start = scales[len(scales) // 2] if start is None else float(start)
    start = _check_start({name: scales}, {name: start})[name]
    if pictures is not None:
        pictures = _check_stored(pictures, {name: scales}).detach().cpu()
    if not is_live():
        return _price_figure(scales, bands, pictures, name, start)

    def show(scale):
        at = scales.index(scale)
        text = _say({name: scale}) + "; " + _numbers(bands, at)
        shown = [] if pictures is None else [_priced(pictures[at], _say({name: scale}))]
        drawn = [_curve(scales, key, *band, name, at) for key, band in bands.items()]
        return beside(words(text), *drawn, *shown)

    return panel(show, scale=_chooser(name, scales, start))


def _numbers(bands, at):
    each = _("{name} {mean:.3g} ± {std:.2g}")
    return ", ".join(
        each.format(name=key, mean=mean[at], std=std[at]) for key, (mean, std) in bands.items()
    )


def _curve(scales, key, mean, std, name, at):
    alt = _("{measure} over the {name}, from {first:.3g} to {last:.3g}; here {here:.3g}")
    ends = {"first": mean[0], "last": mean[-1], "here": mean[at]}
    alt = alt.format(measure=key, name=name, **ends)
    look = {"marker": scales[at], "std": std.tolist(), "width": 270}
    return curves({key: mean.tolist()}, alt, xlabel=name, x=scales, **look)


def _priced(pictures, text):
    alt = _("stored pictures, {text}").format(text=text)
    return picture(pictures, alt, text, width=min(560, 110 * len(pictures)))


def _price_figure(scales, bands, pictures, name, start):
    """The curves beside each other, and below them the pictures of each scale."""
    count = len(bands)
    places = [list(bands)] if pictures is None else [list(bands), ["pictures"] * count]
    size = (2.9 * count, 2.7 if pictures is None else 5.0)
    figure = plt.figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplot_mosaic(places)
    for key, (mean, std) in bands.items():
        ax = compare_bands(
            {key: (scales, mean, std)}, axes[key], xlabel=name, ylabel=key, marker=start
        )
        ax.get_legend().remove()
    if pictures is not None:
        few = _few(len(scales), MOST_COLUMNS)
        shown = pictures[few, :2].transpose(0, 1).flatten(0, 1)
        captions = [_short(scales[i]) for i in few]
        draw_sheet(to_unit(shown, (-1, 1)), axes["pictures"], len(few), None, captions)
        axes["pictures"].set_xlabel("\n" + name)
    return still(ax)
