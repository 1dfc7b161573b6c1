"""The pad: what is painted is the mask, in a browser (tests/test_browser.py) as without one."""

import re

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from moving import inside, pixels, shown

from course_utils import widgets
from course_utils.widgets import canvas, page

SIZE = 4
CORNER = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
CORNER[..., 0, 1] = True  # row 0, column 1
PICTURE = torch.full((3, 8, 8), 0.5)


def button(pad, name):
    return next(
        each
        for each in inside(pad.view)
        if isinstance(each, ipywidgets.Button) and each.description == name
    )


def cells(pad):
    """The text field that the page writes to."""
    return next(each for each in inside(pad.view) if isinstance(each, ipywidgets.Text))


def stroke(pad, *places):
    """Paint cells (row, column), as the page does."""
    text = list(cells(pad).value)
    for row, column in places:
        text[row * SIZE + column] = "1"
    cells(pad).value = "".join(text)


def painted(pad):
    return [tuple(place) for place in pad.mask[0, 0].nonzero().tolist()]


# --- without a person


def test_headless_the_mask_is_what_is_painted_at_first():
    before = plt.get_fignums()
    pad = widgets.paint(CORNER)
    assert isinstance(pad.view, Figure)
    assert plt.get_fignums() == before, "a notebook would show it twice"
    assert torch.equal(pad.mask, CORNER)
    pad.mask[:] = True
    assert torch.equal(pad.mask, CORNER)
    empty = widgets.paint(size=5).mask
    assert (empty.shape, empty.dtype, empty.any().item()) == ((1, 1, 5, 5), torch.bool, False)


def still_pixels(figure, index=0):
    (image,) = figure.axes[index].images
    sheet = np.asarray(image.get_array())
    alpha = sheet[..., 3] == 1
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    return sheet[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, :3]


def test_the_still_picture_shows_the_paint_on_paper_or_on_the_picture_behind():
    paper = still_pixels(widgets.paint(CORNER).view)
    assert (paper.min(axis=2) < 0.9).tolist() == CORNER[0, 0].tolist()
    over = still_pixels(widgets.paint(CORNER, behind=PICTURE).view)
    differs = np.abs(over - 0.75).max(axis=2) > 0.1
    assert differs.tolist() == CORNER[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1).tolist()


def test_the_still_picture_shows_what_is_drawn_to_the_start():
    seen = []
    draw = lambda mask: seen.append(mask) or PICTURE  # noqa: E731
    figure = widgets.paint(CORNER, draw=draw).view
    assert torch.equal(*seen, CORNER)
    assert np.allclose(still_pixels(figure, 1), 0.75)
    assert len(widgets.paint(size=4, draw=pytest.fail).view.axes) == 1, "nothing to draw to"
    assert len(widgets.paint(CORNER, draw=lambda mask: "<p>a page</p>").view.axes) == 1


# --- with a person


def test_a_notebook_shows_the_controls(live, monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    pad = widgets.paint()
    pad._ipython_display_()
    assert displayed == [pad.view]
    for each in inside(pad.view):
        assert type(each).__module__.startswith("ipywidgets.")
        if isinstance(each, ipywidgets.Button | ipywidgets.ToggleButton):
            assert each.description
            assert each.tooltip


def test_the_mask_follows_the_strokes_and_back(live):
    pad = widgets.paint(CORNER)
    button(pad, "Undo").click()
    assert painted(pad) == [(0, 1)]
    stroke(pad, (1, 1), (2, 1))
    stroke(pad, (3, 3))
    assert painted(pad) == [(0, 1), (1, 1), (2, 1), (3, 3)]
    button(pad, "Undo").click()
    assert painted(pad) == [(0, 1), (1, 1), (2, 1)]
    button(pad, "Clear").click()
    assert painted(pad) == []
    button(pad, "Clear").click()
    button(pad, "Undo").click()
    assert painted(pad) == [(0, 1), (1, 1), (2, 1)]
    button(pad, "Undo").click()
    assert painted(pad) == [(0, 1)]
    assert cells(pad).value == "0100" + "0000" * 3


def test_undo_and_clear_change_the_page_whatever_it_showed_before(live):
    """The browser has painted on it since; the same page again would not renew it."""
    pad = widgets.paint(size=SIZE)
    for name in ("Undo", "Clear"):
        stroke(pad, (1, 2))
        before = shown(pad.view)
        button(pad, name).click()
        assert shown(pad.view) != before
        assert 'd=""' in shown(pad.view)


@pytest.mark.parametrize("text", ["", "1", "2" * 16, "1" * 17])
def test_what_is_no_mask_is_left_out(text, live):
    pad = widgets.paint(CORNER)
    cells(pad).value = text
    assert torch.equal(pad.mask, CORNER)


def test_the_button_shows_what_is_drawn_to_the_mask(live):
    pad = widgets.paint(CORNER, draw=lambda mask: mask.float().expand(1, 3, -1, -1) * 2 - 1)
    answer = pad.view.children[0].children[1]
    assert answer.value == ""
    stroke(pad, (3, 0))
    assert answer.value == "", "only the button draws"
    button(pad, "Draw").click()
    assert (pixels(answer.value)[..., 0] == 255).tolist() == pad.mask[0, 0].tolist()
    assert re.search(r'<img alt="[^"]+"', answer.value)


def test_the_button_rests_while_the_model_draws(live):
    resting = []

    def draw(mask):
        resting.append((go.disabled, "drawing…" in pad.view.children[0].children[1].value))
        return "<b>done</b>"

    pad = widgets.paint(CORNER, draw=draw)
    go = button(pad, "Draw")
    go.click()
    assert resting == [(True, True)]
    assert not go.disabled
    assert "<b>done</b>" in shown(pad.view)


def test_an_error_is_shown_and_the_button_works_again(live):
    def draw(mask):
        raise ValueError("no <wings>")

    pad = widgets.paint(CORNER, draw=draw)
    go = button(pad, "Draw")
    go.click()
    assert "ValueError: no &lt;wings&gt;" in shown(pad.view)
    assert not go.disabled


def test_the_page_shows_the_mask_and_says_how_to_paint(live):
    html = shown(widgets.paint(CORNER, title="a wing & more").view)
    assert 'd="M1 0h1v1h-1z"' in html
    assert re.search(r'role="application" aria-label="a wing &amp; more. Drag to paint[^"]+"', html)
    assert 'tabindex="0"' in html
    assert 'data-mirrored=""' in html
    assert 'data-mirrored="yes"' in shown(widgets.paint(CORNER, mirrored=True).view)
    assert re.findall(r"https?://", html) == []


def test_the_picture_lies_behind_the_paint(live):
    html = shown(widgets.paint(CORNER, behind=PICTURE[None]).view)
    assert html.index("<image") < html.index('class="ink"')
    assert (pixels(html) == 191).all()
    assert canvas.INK in page.LINES, "so that it stands out from white"


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"start": CORNER.float()}, TypeError, "start must be a mask of bool, got torch.float32"),
        ({"start": CORNER[..., :2]}, ValueError, r"one square mask \(S, S\), got \(1, 1, 4, 2\)"),
        ({"start": CORNER.expand(2, 1, 4, 4)}, ValueError, r"got \(2, 1, 4, 4\)"),
        ({"size": 1}, ValueError, "size must be from 2 to 64, got 1"),
        ({"brush": 0}, ValueError, "brush must be from 1 to 16, got 0"),
        ({"behind": PICTURE.expand(2, 3, 8, 8)}, ValueError, "behind must be one picture"),
        ({"behind": PICTURE[:2]}, ValueError, "behind must be a non-empty batch"),
    ],
)
def test_what_nobody_can_paint_on_is_named(settings, error, words):
    with pytest.raises(error, match=words):
        widgets.paint(**settings)
