"""Numbers as colours: one scale for all panels, and a bar that says which."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib import colormaps

from course_utils.plotting import show_images, show_latents, show_words

PICTURE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
WHITE = torch.ones(3, 8, 8)
MAPS = torch.stack([torch.full((4, 4), share) for share in (0.0, 0.2, 0.8)])
WORDS = ["a", "crying", "고양이"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def panels(ax):
    """What is drawn inside each frame, (H, W, 3)."""
    (image,), (frames,) = ax.images, ax.collections
    page, (left, _right, _low, upper) = np.asarray(image.get_array()), image.get_extent()
    boxes = [path.get_extents().extents.astype(int) for path in frames.get_paths()]
    return [page[y0 - upper : y1 - upper, x0 - left : x1 - left, :3] for x0, y0, x1, y1 in boxes]


def bar(ax):
    """The numbers beside the bar, and its name."""
    ax.figure.canvas.draw()
    (bar,) = ax.child_axes
    return [label.get_text() for label in bar.get_yticklabels()], bar.get_ylabel()


def test_the_picture_comes_first_and_each_word_has_a_panel():
    ax = show_words(MAPS, WORDS, PICTURE, title="a crying 고양이")
    drawn = panels(ax)
    assert len(drawn) == 4
    assert np.allclose(drawn[0], (PICTURE.permute(1, 2, 0) + 1) / 2)
    assert [text.get_text() for text in ax.texts][::-1] == ["the picture", *WORDS]
    assert ax.get_title() == "a crying 고양이"


def test_all_maps_share_one_scale_up_to_their_largest_value():
    ax = show_words(MAPS, WORDS, WHITE)
    for panel, share in zip(panels(ax)[1:], (0, 0.25, 1), strict=True):
        colour = colormaps["YlOrRd"](float(share))[:3]
        assert np.abs(panel - colour).max() < 0.01, share
    assert bar(ax) == (["0", "0.4", "0.8"], "attention")
    (alone,) = panels(show_words(MAPS[1:2], WORDS[1:2], WHITE))[1:]
    assert np.abs(alone - panels(ax)[3]).max() < 1e-6, "the darkest there is"


def test_a_map_is_enlarged_smoothly_to_its_own_place():
    corner = torch.zeros(1, 4, 4)
    corner[0, 0, 3] = 1
    (panel,) = panels(show_words(corner, ["corner"], torch.ones(3, 32, 32)))[1:]
    darkness = 1 - panel.mean(axis=2)
    row, column = np.unravel_index(darkness.argmax(), darkness.shape)
    assert row < 8
    assert column >= 24
    assert np.abs(np.diff(darkness, axis=1)).max() < 0.2 * np.ptp(darkness)


def test_the_picture_shows_through_in_grey():
    nothing, black = torch.zeros(1, 2, 2), -torch.ones(3, 8, 8)
    (dark,), (light,) = (panels(show_words(nothing, ["a"], x))[1:] for x in (black, WHITE))
    assert np.allclose(dark, 0.45 * light)
    red, blue = WHITE.clone(), WHITE.clone()
    red[1:], blue[:2] = -1, -1
    for x in (red, blue):
        panel = panels(show_words(nothing, ["a"], x))[1]
        share = panel / light
        assert np.allclose(share, share[..., :1], atol=1e-6), "no colour but the map's"


def test_digits_are_ink_on_paper():
    first, over = panels(show_words(torch.zeros(1, 2, 2), ["a"], -torch.ones(1, 8, 8)))
    assert (first == 1).all()
    assert np.allclose(over, colormaps["YlOrRd"](0.0)[:3])


def test_latents_have_one_symmetric_scale():
    latents = torch.stack([torch.full((4, 4), value) for value in (-4.0, -1.0, 0.0, 2.0)])
    ax = show_latents(latents)
    for panel, value in zip(panels(ax), (0, 0.375, 0.5, 0.75), strict=True):
        assert np.abs(panel - colormaps["RdBu_r"](value)[:3]).max() < 0.01
    assert bar(ax) == (["-4", "0", "4"], "")
    captions = [text.get_text() for text in ax.texts][::-1]
    assert captions == [f"channel {i}" for i in range(4)]


def test_latents_that_are_not_finite_are_magenta_and_counted():
    latents = torch.ones(2, 4, 4)
    latents[1, 0, 0] = torch.inf
    ax = show_latents(latents)
    assert panels(ax)[1][0, 0].tolist() == [1, 0, 1]
    assert np.allclose(panels(ax)[0], colormaps["RdBu_r"](1.0)[:3])
    assert ax.get_xlabel() == "1 of 32 pixels are not finite (magenta)"


def test_latents_of_zeros_are_white():
    assert min(panel.min() for panel in panels(show_latents(torch.zeros(2, 4, 4)))) > 0.96


def test_drawing_again_replaces_the_bar():
    ax = show_words(MAPS, WORDS, PICTURE)
    show_latents(torch.ones(4, 4, 4), ax)
    assert bar(ax)[0] == ["-1", "0", "1"]
    assert len(ax.images) == 1


def test_the_bar_stands_beside_the_panels_and_inside_the_figure():
    ax = show_words(MAPS, WORDS, PICTURE)
    ax.figure.canvas.draw()
    beside, frames = ax.child_axes[0].get_window_extent(), ax.collections[0].get_paths()
    (_x0, top), (right, bottom) = frames[0].get_extents().p0, frames[-1].get_extents().p1
    right, bottom = ax.transData.transform((right, bottom))
    top = ax.transData.transform((0, top))[1]
    assert beside.x0 > right
    assert (beside.y0, beside.y1) == pytest.approx((bottom, top), abs=1)
    whole = ax.child_axes[0].get_tightbbox()
    assert whole.x1 <= ax.figure.bbox.x1 + 1


def test_the_panels_stand_in_so_many_columns():
    ax = show_words(MAPS, WORDS, PICTURE, columns=2)
    corners = {path.get_extents().x0 for path in ax.collections[0].get_paths()}
    assert len(corners) == 2


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: show_words(MAPS, "abc", PICTURE), TypeError, r"pass \['abc'\]"),
        (lambda: show_words(MAPS, WORDS[:2], PICTURE), ValueError, r"each of the 2 .*\(3, 4, 4\)"),
        (lambda: show_words(MAPS[0], WORDS, PICTURE), ValueError, r"maps must be \(L, H, W\)"),
        (
            lambda: show_words(MAPS - 1, WORDS, PICTURE),
            ValueError,
            "at least 0, got a minimum of -",
        ),
        (lambda: show_words(MAPS / 0, WORDS, PICTURE), ValueError, "maps must be finite"),
        (lambda: show_words(MAPS, WORDS, MAPS[:2]), ValueError, "picture must be a non-empty"),
        (lambda: show_latents(MAPS[None]), ValueError, r"one picture's, got \(1, 3, 4, 4\)"),
        (lambda: show_latents(MAPS, columns=0), ValueError, "columns must be at least 1"),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert plt.get_fignums() == []


def test_pictures_drawn_over_maps_have_no_bar():
    ax = show_latents(MAPS)
    show_images(PICTURE, ax)
    assert ax.child_axes == []
