"""A word to type and the pictures that it finds."""

from collections.abc import Callable, Sequence

import ipywidgets
import torch
from jaxtyping import Shaped
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.checks import check_images, check_int
from course_utils.images import to_model_range
from course_utils.language import _
from course_utils.plotting import show_images
from course_utils.widgets.controls import control, is_live, panel, still
from course_utils.widgets.page import beside, failure, picture, row, words

WIDTH = 88  # pixels of a picture


def search(
    match: Callable[[str], Tensor],
    images: Shaped[Tensor, "N C H W"],
    *,
    text: str = "",
    num: int = 8,
    captions: Sequence[str] | None = None,
    title: str | None = None,
) -> ipywidgets.VBox | Figure:
    """A text box that finds pictures: `match(text)` gives the numbers (K,) of the nearest, int64.

    The first `num` of them are shown in a row with their `captions`, one for each of the images,
    which are uint8 or in model range. Moves: the text, at each key. An error of `match` is shown
    in words. Still: what the first text finds.
    Raises ValueError for captions that don't fit, TypeError or ValueError for what is no image.
    """
    check_int("num", num, 1)
    images = check_images("images", images).detach().cpu()
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"captions must hold one text for each of the {len(images)} images, got {len(captions)}"
        )
    if not is_live():
        return _search_figure(_find(match, text, images, num), images, text, captions, title)

    def show(text):
        heading = [words(title)] if title else []
        try:
            found = _find(match, text, images, num)
        except Exception as error:
            return beside(*heading, failure(error))
        return beside(*heading, row([_one(images, i, captions) for i in found], WIDTH))

    tip = _("what to look for")
    return panel(show, text=control(ipywidgets.Text, _("search"), tip, value=text))


def _find(match, text, images, num):
    """The numbers of at most `num` pictures, as a list."""
    found = match(text)
    if not isinstance(found, Tensor) or found.dtype != torch.int64 or found.ndim != 1:
        got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise TypeError(f"match must return int64 numbers of shape (K,), got {got}")
    found = found[:num].tolist()
    if not all(0 <= i < len(images) for i in found):
        raise ValueError(f"match must return numbers from 0 to {len(images) - 1}, got {found}")
    return found


def _one(images, i, captions):
    x = images[i : i + 1]
    x = to_model_range(x) if x.dtype == torch.uint8 else x
    name = captions[i] if captions is not None else _("picture {number}").format(number=i)
    return picture(x, name, name, width=WIDTH)


def _search_figure(found, images, text, captions, title):
    if not found:
        raise ValueError(
            f"match must find at least one picture for a figure, got none for {text!r}"
        )
    names = found if captions is None else [captions[i] for i in found]
    said = ": ".join(filter(None, [title, _("“{text}”").format(text=text)]))
    return still(show_images(images[found], columns=len(found), captions=names, title=said))
