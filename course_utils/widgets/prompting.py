"""A prompt to type and the picture that a model draws to it."""

import time
from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.checks import check_images, check_int
from course_utils.language import _
from course_utils.plotting import show_images
from course_utils.widgets.controls import control, is_live, press, soon, still
from course_utils.widgets.page import beside, failure, picture, words

Draw = Callable[[str, float, int], Tensor]


def prompt(
    draw: Draw,
    *,
    prompt: str = "",
    guidance: float | int = 3.0,
    seed: int = 0,
    scales: tuple[float | int, float | int] = (1, 10),
    max_seed: int = 99,
    title: str | None = None,
) -> ipywidgets.VBox | Figure:
    """A text box whose prompt is drawn: `draw(prompt, guidance, seed)` gives pictures (B, C, H, W).

    They are in model range. Draws at once, then at Enter, at a press of the button, and when the
    guidance scale, from `scales`, or the seed, up to `max_seed`, moves; of what is asked while it
    draws, only the newest. An error of `draw` is shown in words. Still: what is drawn at first.
    Raises ValueError for a guidance scale or a seed that its slider doesn't reach.
    """
    check_int("seed", seed, 0, max_seed)
    low, high = scales
    if not low <= guidance <= high or low == high:
        raise ValueError(f"guidance must lie in scales, from {low} to {high}; got {guidance}")
    if not is_live():
        x, text = _check_drawn(draw(prompt, float(guidance), seed)), _say(prompt, guidance, seed)
        return still(show_images(x, title=": ".join(filter(None, [title, text]))))
    return _Desk(draw, prompt, guidance, seed, scales, max_seed, title).view


class _Desk:
    """The controls, a line that says what happens, and the pictures, which stay until the next."""

    def __init__(self, draw, prompt, guidance, seed, scales, max_seed, title):
        self.draw, self.wanted, self.drawing = draw, None, False
        low, high = scales
        late = {"continuous_update": False}
        self.prompt = control(
            ipywidgets.Text, _("prompt"), _("what to draw; Enter draws it"), value=prompt, **late
        )
        span = {"value": guidance, "min": low, "max": high, "step": 0.5, "readout_format": ".1f"}
        tip = _("how closely to follow the prompt")
        self.guidance = control(ipywidgets.FloatSlider, _("guidance scale"), tip, **span, **late)
        span, tip = {"value": seed, "max": max_seed}, _("which noise to begin with")
        self.seed = control(ipywidgets.IntSlider, _("seed"), tip, **span, **late)
        self.button = press(_("Draw"), "paint-brush", _("draw the prompt"), self._ask)
        self.said, self.answer = ipywidgets.HTML(), ipywidgets.HTML()
        heading = [ipywidgets.HTML(beside(words(title)))] if title else []
        controls = [self.prompt, self.guidance, self.seed]
        self.view = ipywidgets.VBox([*heading, *controls, self.button, self.said, self.answer])
        for each in controls:
            each.observe(self._ask, "value")
        self.wanted = self._read()
        self._draw()

    def _read(self):
        return self.prompt.value, self.guidance.value, self.seed.value

    def _ask(self, event):
        """Note what is wanted now; what waited before is forgotten."""
        self.wanted = self._read()
        soon(self._draw)

    def _draw(self):
        """Draw what is wanted, until nothing is. The button rests meanwhile."""
        if self.drawing:
            return
        self.drawing = self.button.disabled = True
        try:
            while self.wanted is not None:
                wanted, self.wanted = self.wanted, None
                self._show(*wanted)
        finally:
            self.drawing = self.button.disabled = False

    def _show(self, *wanted):
        self.said.value = beside(words(_("drawing…")))
        started = time.perf_counter()
        try:
            drawn = _check_drawn(self.draw(*wanted))
        except Exception as error:
            self.said.value = beside(failure(error))
            return
        seconds = time.perf_counter() - started
        text = _say(*wanted)
        width = 256 if len(drawn) == 1 else min(560, 160 * len(drawn))
        self.answer.value = beside(picture(drawn, text, text, width=width))
        self.said.value = beside(words(_("drawn in {seconds:.2f} s").format(seconds=seconds)))


def _check_drawn(drawn):
    return check_images("what draw returns", drawn)


def _say(prompt, guidance, seed):
    text = _("“{prompt}”, guidance scale {guidance:g}, seed {seed}")
    return text.format(prompt=prompt, guidance=guidance, seed=seed)
