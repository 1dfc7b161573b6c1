"""Where widgets work, and the core controls that all of them are made of."""

import asyncio
import sys
from collections.abc import Callable

import ipywidgets
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils.language import _
from course_utils.runtime import is_headless

FRAME_MS = 400  # between two frames of a film: longer than the 100 ms that an answer may take
PAUSE = 0.1  # seconds in which the kernel hears what has been asked while it was busy


def running_kernel():
    """The kernel that this code runs in, or None outside of a notebook."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython() if ipython else None, "kernel", None)


def is_live() -> bool:
    """True where a person can move a widget: in a kernel that is not driven by a machine."""
    return running_kernel() is not None and not is_headless()


def still(ax: Axes) -> Figure:
    """The figure of `ax`, taken from pyplot, so that a notebook shows it once: as a result."""
    plt.close(ax.figure)
    return ax.figure


def soon(act: Callable[[], object]) -> None:
    """Call `act` once the messages that wait have been handled; at once where no loop runs."""
    try:
        asyncio.get_running_loop().call_later(PAUSE, act)
    except RuntimeError:
        act()


def control(kind: type, name: str, tooltip: str, **settings):
    """A core control with a name beside it that is never cut off, and a tooltip.

    The picture follows while a slider is dragged.
    """
    style = {"description_width": "8em"}
    made = kind(description=name, style=style, layout={"width": "min(32em, 98%)"}, **settings)
    made.tooltip = tooltip
    return made


def press(name: str, icon: str, tooltip: str, on_click: Callable) -> ipywidgets.Button:
    """A button; `on_click(button)` is called when it is pressed."""
    button = ipywidgets.Button(description=name, icon=icon, tooltip=tooltip)
    button.on_click(on_click)
    return button


def player(slider: ipywidgets.IntSlider) -> ipywidgets.HBox:
    """The slider with a play button, linked in the browser."""
    play = ipywidgets.Play(
        value=slider.value, min=slider.min, max=slider.max, interval=FRAME_MS, repeat=False
    )
    play.tooltip = _("play or stop")
    play.description = slider.description
    ipywidgets.jslink((play, "value"), (slider, "value"))
    return ipywidgets.HBox([play, slider], layout={"flex_flow": "row wrap"})


def panel(show: Callable[..., str], /, **controls) -> ipywidgets.VBox:
    """The controls above what `show(name=value, …)` returns as HTML; it is renewed at a change."""
    view = ipywidgets.HTML()

    def renew(change=None):
        view.value = show(**{name: each.value for name, each in controls.items()})

    for each in controls.values():
        each.observe(renew, "value")
    renew()
    return ipywidgets.VBox([*controls.values(), view])
