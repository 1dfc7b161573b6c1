"""A text finds pictures, at each key, with their names below them."""

import re

import ipywidgets
import pytest
import torch
from matplotlib import pyplot as plt
from moving import inside, pixels, shown

from course_utils import widgets

NAMES = ["ant", "bee & co", "고양이", "dog"]
PICTURES = torch.arange(4).div(1.5).sub(1)[:, None, None, None].expand(4, 3, 2, 2)


def match(text):
    """The pictures whose names begin with one of these letters, in their order."""
    return torch.tensor(
        [i for letter in text for i, n in enumerate(NAMES) if n[0] == letter]
    ).long()


def box_of(live_box):
    return next(each for each in inside(live_box) if isinstance(each, ipywidgets.Text))


def found(box):
    return re.findall(r"<figcaption>([^<]*)</figcaption>", shown(box))


@pytest.mark.parametrize("images", [PICTURES, ((PICTURES + 1) * 127.5).to(torch.uint8)])
def test_a_text_finds_its_pictures_in_their_order(images, live):
    box = widgets.search(match, images, text="b", captions=NAMES, title="Find")
    assert found(box) == ["bee &amp; co"]
    box_of(box).value = "고da"
    assert found(box) == ["고양이", "dog", "ant"]
    assert re.findall(r'<img alt="([^"]+)"', shown(box)) == ["고양이", "dog", "ant"]
    assert "Find" in shown(box)
    assert box_of(box).continuous_update


def test_at_most_so_many_are_shown_and_numbers_name_what_has_no_name(live):
    box = widgets.search(match, PICTURES, text="dab", num=2)
    assert found(box) == ["picture 3", "picture 0"]


def test_ink_of_bytes_is_ink_on_paper(live):
    empty, full = (
        widgets.search(match, torch.full((4, 1, 2, 2), level, dtype=torch.uint8), text="a")
        for level in (0, 255)
    )
    assert (pixels(shown(empty)) == 255).all()
    assert (pixels(shown(full)) == 0).all()


def bad(text):
    return {
        "raise": lambda: 1 / 0,
        "floats": lambda: torch.zeros(2),
        "far": lambda: torch.tensor([4]),
        "below": lambda: torch.tensor([-1]),
        "rows": lambda: torch.zeros(2, 2).long(),
        "list": lambda: [1],
        "": lambda: torch.tensor([0]),
    }[text]()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise", "ZeroDivisionError: division by zero"),
        ("floats", "TypeError: match must return int64 numbers of shape (K,), got torch.float32"),
        ("rows", "got torch.int64 (2, 2)"),
        ("list", "got [1]"),
        ("far", "ValueError: match must return numbers from 0 to 3, got [4]"),
        ("below", "got [-1]"),
    ],
)
def test_an_error_is_said_in_words_and_the_next_text_finds(text, words, live):
    box = widgets.search(bad, PICTURES, captions=NAMES)
    box_of(box).value = text
    assert words in shown(box)
    assert found(box) == []
    box_of(box).value = ""
    assert found(box) == ["ant"]


def test_the_still_twin_shows_what_the_first_text_finds():
    before = plt.get_fignums()
    (ax,) = widgets.search(match, PICTURES, text="da", captions=NAMES, title="Find").axes
    assert plt.get_fignums() == before, "a notebook would show it twice"
    assert ax.get_title() == "Find: “da”"
    assert [text.get_text() for text in ax.texts][::-1] == ["dog", "ant"]
    page = ax.images[0].get_array()
    assert set(page[..., 0][page[..., 3] == 1].tolist()) == {0.0, 1.0}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ((match, PICTURES), {"captions": ["a"]}, "one text for each of the 4 images, got 1"),
        ((match, PICTURES), {"num": 0}, "num must be at least 1, got 0"),
        ((match, PICTURES[0]), {}, "images must be a non-empty batch"),
        ((match, PICTURES), {"text": "z"}, "at least one picture for a figure, got none for 'z'"),
    ],
)
def test_what_does_not_fit_is_named(arguments, settings, words):
    with pytest.raises(ValueError, match=words):
        widgets.search(*arguments, **settings)
