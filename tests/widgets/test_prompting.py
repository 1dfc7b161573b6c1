"""A prompt is drawn at Enter, by the button and when a slider moves; the newest wins."""

import asyncio
import re

import ipywidgets
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from moving import inside, pixels, shown

from course_utils import widgets
from course_utils.widgets import controls


class Artist:
    """Draws a grey that is as light as the seed is high; knows what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, text, guidance, seed):
        self.asked.append((text, guidance, seed))
        return torch.full((1, 3, 4, 4), seed / 50 - 1)


def the(box, kind):
    return next(each for each in inside(box) if isinstance(each, kind))


def parts(box):
    """The text box, the sliders of guidance and seed, and the button."""
    kinds = (ipywidgets.Text, ipywidgets.FloatSlider, ipywidgets.IntSlider, ipywidgets.Button)
    return [the(box, kind) for kind in kinds]


# --- without a person


def test_headless_the_first_drawing_is_the_figure():
    artist, before = Artist(), plt.get_fignums()
    figure = widgets.prompt(artist, prompt="a cat", guidance=2, seed=50, title="Yours")
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == before, "a notebook would show it twice"
    assert artist.asked == [("a cat", 2.0, 50)]
    (ax,) = figure.axes
    assert ax.get_title() == "Yours: “a cat”, guidance scale 2, seed 50"
    (image,) = ax.images
    assert (image.get_array()[..., :3][image.get_array()[..., 3] == 1] == 0.5).all()


def test_headless_an_error_is_an_error():
    with pytest.raises(ZeroDivisionError):
        widgets.prompt(lambda *asked: 1 / 0)


# --- with a person


def test_the_first_picture_is_there_at_once(live):
    artist = Artist()
    box = widgets.prompt(artist, prompt="a <cat>", seed=50)
    assert artist.asked == [("a <cat>", 3.0, 50)]
    assert pixels(shown(box)).mean() in (127, 128)
    assert "“a &lt;cat&gt;”, guidance scale 3, seed 50" in shown(box)
    assert re.search(r"drawn in \d+\.\d\d s", shown(box))


def test_each_control_asks_for_what_all_of_them_say(live):
    artist = Artist()
    text, guidance, seed, button = parts(widgets.prompt(artist))
    text.value = "고양이"
    guidance.value = 7.5
    seed.value = 4
    button.click()
    assert artist.asked[1:] == [
        ("고양이", 3.0, 0),
        ("고양이", 7.5, 0),
        ("고양이", 7.5, 4),
        ("고양이", 7.5, 4),
    ]


def test_typing_does_not_draw_before_enter_nor_does_a_slider_that_is_dragged(live):
    """In the browser: a value arrives when it is entered or let go."""
    *controls, _button = parts(widgets.prompt(Artist()))
    assert [each.continuous_update for each in controls] == [False] * 3


def test_the_sliders_reach_as_far_as_they_are_told(live):
    box = widgets.prompt(Artist(), guidance=0, scales=(0, 4), seed=7, max_seed=7)
    _text, guidance, seed, _button = parts(box)
    assert (guidance.min, guidance.max, seed.min, seed.max) == (0, 4, 0, 7)


def test_several_pictures_are_shown_beside_each_other(live):
    page = pixels(shown(widgets.prompt(lambda *asked: torch.zeros(3, 3, 8, 8))))
    assert page.shape[1] > 2 * page.shape[0]


def test_of_what_is_asked_while_it_draws_only_the_newest_is_drawn(live):
    artist = Artist()

    def draw(text, guidance, seed):
        if text == "first":
            for wish in ("second", "third"):
                parts(box)[0].value = wish
        return artist(text, guidance, seed)

    box = widgets.prompt(draw)
    parts(box)[0].value = "first"
    assert [text for text, *_ in artist.asked] == ["", "first", "third"]
    assert "“third”" in shown(box)


def test_of_what_has_waited_in_a_busy_kernel_only_the_newest_is_drawn(live, monkeypatch):
    monkeypatch.setattr(controls, "PAUSE", 0.001)
    artist = Artist()
    box = widgets.prompt(artist)

    async def messages():
        for i in range(1, 6):
            parts(box)[2].value = i
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)

    asyncio.run(messages())
    assert [seed for *_, seed in artist.asked] == [0, 5]


def test_the_button_rests_and_the_last_picture_stays_while_it_draws(live):
    seen = []

    def draw(text, guidance, seed):
        seen.append((parts(box)[-1].disabled, shown(box)) if text else None)
        return torch.zeros(1, 3, 4, 4)

    box = widgets.prompt(draw)
    parts(box)[0].value = "a cat"
    resting, page = seen[1]
    assert resting
    assert "drawing…" in page
    assert "<img" in page
    assert not parts(box)[-1].disabled
    assert "drawing…" not in shown(box)


def test_an_error_is_said_in_words_and_the_next_prompt_draws(live):
    def draw(text, guidance, seed):
        if text == "bad":
            raise ValueError("no <such> word")
        return torch.zeros(2) if text == "flat" else torch.zeros(1, 3, 4, 4)

    box = widgets.prompt(draw, prompt="bad")
    text, *_sliders, button = parts(box)
    assert "ValueError: no &lt;such&gt; word" in shown(box)
    assert not button.disabled
    text.value = "good"
    assert "Error" not in shown(box)
    assert "“good”" in shown(box)
    text.value = "flat"
    assert "what draw returns must be a non-empty batch" in shown(box)
    assert "“good”" in shown(box), "the last picture stays"


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"guidance": 11}, "guidance must lie in scales, from 1 to 10; got 11"),
        ({"guidance": 1, "scales": (1, 1)}, "guidance must lie in scales, from 1 to 1"),
        ({"seed": 100}, "seed must be from 0 to 99, got 100"),
        ({"seed": -1}, "seed must be from 0 to 99, got -1"),
    ],
)
def test_what_no_slider_reaches_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        widgets.prompt(Artist(), **settings)
