"""Sliders over stored pictures: each choice shows its own pictures, each scale its own price."""

import ipywidgets
import pytest
import torch
from matplotlib import pyplot as plt
from moving import movable, pixels, shown

from course_utils import widgets
from course_utils.widgets import page

LABELS, SCALES, STEPS = ["ant", "bee"], [0.0, 1.0, 2.5], [5, 10]
AXES = {"label": LABELS, "scale": SCALES}
CURVES = {"agreement": ([0.1, 0.5, 0.9], [0.1, 0.2, 0.0]), "distance": ([3, 1, 2], [1, 1, 1])}


def grey(*lengths, n=1):
    """Pictures of one grey each, all different, (*lengths, n, 3, 2, 2)."""
    count = torch.Size([*lengths, n]).numel()
    level = torch.linspace(-1, 1, count).reshape(*lengths, n, 1, 1, 1)
    return level.expand(*lengths, n, 3, 2, 2)


def level(x):
    """What a page shows of this grey."""
    return ((x + 1) / 2 * 255).round().int().flatten()[0].item()


def by_name(box):
    return {each.description: each for each in movable(box)}


# --- gallery


@pytest.mark.parametrize(("label", "scale"), [(0, 0), (0, 2), (1, 0), (1, 2)])
def test_the_gallery_shows_what_is_stored_for_the_choice(label, scale, live):
    pictures = grey(2, 3)
    box = widgets.gallery(pictures, AXES)
    choose = by_name(box)
    choose["label"].value, choose["scale"].value = LABELS[label], SCALES[scale]
    assert abs(int(pixels(shown(box)).mean()) - level(pictures[label, scale])) <= 1
    assert f"label: {LABELS[label]}, scale: {SCALES[scale]:g}" in shown(box)


def test_texts_are_a_list_and_numbers_a_slider_over_any_number_of_axes(live):
    axes = {"label": LABELS, "scale": SCALES, "steps": STEPS}
    box = widgets.gallery(grey(2, 3, 2), axes, start={"scale": 1}, title="bees & co")
    kinds = {name: type(each) for name, each in by_name(box).items()}
    slider = ipywidgets.SelectionSlider
    assert kinds == {"label": ipywidgets.Dropdown, "scale": slider, "steps": slider}
    assert by_name(box)["scale"].value == 1
    assert "bees &amp; co" in shown(box)


def test_an_axis_may_have_any_name(live):
    for name in ("show", "view", "guidance scale"):
        assert f"{name}: 2.5" in shown(widgets.gallery(grey(3), {name: SCALES}, start={name: 2.5}))


def levels_shown(figure):
    """The greys in a still figure, row by row."""
    (image,) = figure.axes[0].images
    page = image.get_array()
    return list(dict.fromkeys(round(255 * float(v)) for v in page[..., 0][page[..., 3] == 1]))


def test_the_still_gallery_has_a_row_for_each_label_and_a_column_for_each_scale():
    pictures = grey(2, 3)
    figure = widgets.gallery(pictures, AXES)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == LABELS
    assert sorted(text.get_text() for text in ax.texts) == ["scale 0", "scale 1", "scale 2.5"]
    assert levels_shown(figure) == [0, 51, 102, 153, 204, 255]


def test_the_still_gallery_of_one_axis_shows_all_pictures():
    ax = widgets.gallery(grey(3, n=4), {"strength": SCALES}).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "strength 2.5"
    assert len(ax.collections[0].get_paths()) == 12


def test_single_pictures_of_one_axis_stand_beside_each_other():
    figure = widgets.gallery(grey(9), {"share": [i / 8 for i in range(9)]}, title="cat → dog")
    (ax,) = figure.axes
    assert ax.get_title() == "cat → dog"
    captions = [text.get_text() for text in ax.texts][::-1]
    assert (captions[0], captions[-1], len(captions)) == ("share 0", "share 1", 7)
    tops = {path.get_extents().y0 for path in ax.collections[0].get_paths()}
    assert tops == {0}
    assert levels_shown(figure)[::6] == [0, 255]


def test_the_still_gallery_of_three_axes_says_what_it_holds_still():
    axes = {"label": LABELS, "scale": SCALES, "steps": STEPS}
    pictures = grey(2, 3, 2)
    figure = widgets.gallery(pictures, axes, start={"scale": 2.5}, title="all")
    assert figure.axes[0].get_title() == "all, scale: 2.5"
    assert levels_shown(figure) == [level(x) for x in pictures[:, 2].flatten(0, 1)]


def test_of_many_values_the_still_gallery_shows_a_few_and_both_ends():
    many = [str(i) for i in range(12)]
    ax = widgets.gallery(grey(12, 20), {"label": many, "scale": range(20)}).axes[0]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert (rows[0], rows[-1], len(rows)) == ("0", "11", 5)
    assert {"scale 0", "scale 19"} <= {text.get_text() for text in ax.texts}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("shape", "axes", "start", "words"),
    [
        ((2, 2), AXES, None, r"pictures must be \(2, 3, 'N', 'C', 'H', 'W'\).*got \(2, 2, 1"),
        ((2,), AXES, None, "pictures must be"),
        ((), {}, None, "at least one axis"),
        ((2,), {"a": [1, 1]}, None, r"axes\['a'\] must hold different values, got \[1, 1\]"),
        ((2,), {"a": []}, None, "must hold different values"),
        ((2,), {"a": [1, 2]}, {"a": 3}, "start must hold values of axes .*got a=3"),
        ((2,), {"a": [1, 2]}, {"b": 1}, "got b=1"),
    ],
)
def test_pictures_that_do_not_fit_their_axes_are_named(shape, axes, start, words):
    with pytest.raises(ValueError, match=words):
        widgets.gallery(grey(*shape), axes, start=start)


# --- price


def test_the_price_follows_the_scale(live):
    pictures = grey(3)
    box = widgets.price(SCALES, CURVES, pictures)
    (slider,) = movable(box)
    assert slider.description == "guidance scale"
    assert slider.value == 1
    slider.value = 2.5
    html = shown(box)
    assert "guidance scale: 2.5; agreement 0.9 ± 0, distance 2 ± 1" in html
    assert html.count("<svg") == html.count("<polygon") == html.count("<circle") == 2
    assert pixels(html).mean() == level(pictures[2])


def test_pictures_may_be_left_out_and_the_scale_may_be_another(live):
    box = widgets.price(SCALES, CURVES, name="strength", start=0)
    assert "<img" not in shown(box)
    assert "strength: 0; " in shown(box)


def test_the_still_price_has_a_curve_for_each_measure_and_the_pictures_below():
    before = plt.get_fignums()
    figure = widgets.price(SCALES, CURVES, grey(3, n=2), start=2.5)
    *curves, pictures = figure.axes
    assert [ax.get_ylabel() for ax in curves] == list(CURVES)
    for ax, (mean, _std) in zip(curves, CURVES.values(), strict=True):
        line, marker = ax.lines
        assert line.get_ydata().tolist() == list(mean)
        assert set(marker.get_xdata()) == {2.5}
    assert len(pictures.collections[0].get_paths()) == 6
    assert len(widgets.price(SCALES, CURVES).axes) == 2
    assert plt.get_fignums() == before


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("curves", "pictures", "start", "words"),
    [
        ({}, None, 1, "measures must not be empty"),
        ({"a": ([1], [1])}, None, 1, "a needs a mean"),
        (CURVES, grey(2), 1, "pictures must be"),
        (CURVES, None, 7, "start must hold values"),
    ],
)
def test_a_price_that_does_not_fit_is_named(curves, pictures, start, words):
    with pytest.raises(ValueError, match=words):
        widgets.price(SCALES, curves, pictures, start=start)


def test_a_band_lies_around_its_curve():
    html = page.curves({"a": [1, 2]}, "a", xlabel="x", std=[1, 1], limits=(0, 3), width=200)
    left, right, top, bottom = 44, 190, 26, 164
    third = (bottom - top) / 3
    upper = f"{left:.1f},{bottom - 2 * third:.1f} {right:.1f},{top:.1f}"
    lower = f"{right:.1f},{bottom - third:.1f} {left:.1f},{bottom:.1f}"
    assert f'<polygon points="{upper} {lower}"' in html
    assert "<polygon" not in page.curves({"a": [1, 2]}, "a", xlabel="x")


def test_the_ends_of_an_axis_have_plain_numbers():
    ends = {(0, 2e6): ("0", "2,000,000"), (0.0, 12.0): ("0", "12"), (0.25, 2.5): ("0.25", "2.5")}
    for x, texts in ends.items():
        html = page.curves({"a": [1, 2]}, "a", xlabel="x", x=x)
        assert all(f">{text}</text>" in html for text in texts)
