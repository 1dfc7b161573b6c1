"""The widgets' controls, found and moved as a person would, and what is shown then."""

import base64
import io
import re

import ipywidgets
import numpy as np
from PIL import Image

KINDS = (
    ipywidgets.IntSlider,
    ipywidgets.FloatSlider,
    ipywidgets.FloatLogSlider,
    ipywidgets.Dropdown,
    ipywidgets.SelectionSlider,
    ipywidgets.Text,
)


def inside(widget):
    """The widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def movable(box):
    """Its sliders, lists and text boxes."""
    return [each for each in inside(box) if isinstance(each, KINDS)]


def shown(box):
    """All of its HTML."""
    return "".join(each.value for each in inside(box) if isinstance(each, ipywidgets.HTML))


def move(each):
    """Put the control somewhere else."""
    if hasattr(each, "options"):
        values = [value for _name, value in each._options_full]
        each.value = next(value for value in values if value != each.value)
    elif isinstance(each, ipywidgets.Text):
        each.value += " too"
    elif isinstance(each, ipywidgets.FloatLogSlider):
        each.value *= 0.5
    else:
        each.value += each.step if each.value < each.max else -each.step


def pixels(html):
    """The first picture of a page of HTML, as an array."""
    data = re.search(r"base64,([^\"]+)", html)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
