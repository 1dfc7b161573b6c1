"""Training to watch: the loss, the loss of each noise level, the pictures, and a stop button."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import ipywidgets
from matplotlib import pyplot as plt
from torch import Tensor
from tqdm import tqdm

from course_utils.language import _
from course_utils.plotting import compare_curves, plot_loss, show_images
from course_utils.runtime import is_headless
from course_utils.widgets.controls import is_live
from course_utils.widgets.page import beside, curves, picture, words
from course_utils.widgets.stopping import Stop

Item = TypeVar("Item")
CURVE_SECONDS, LOOK_SECONDS = 0.5, 2.0  # between two renewals, at least
LOOK_SHARE = 0.1  # of the time, at most, goes into looking


class Look(NamedTuple):
    """What a model can do by now: pictures (B, C, H, W), and its loss at each of `levels`."""

    pictures: Tensor
    levels: Sequence[int]
    level_losses: Tensor


class Watched:
    """What `watch` returns: the steps, and the loop's way to say each loss."""

    def __init__(
        self,
        steps: Iterable[Item],
        losses: list[float],
        num_steps: int,
        look: Callable[[], Look] | None,
    ):
        self.steps, self.losses, self.num_steps, self.look = steps, losses, num_steps, look

    def report(self, loss: float) -> None:
        """The loss of the step that was just done."""
        self.losses.append(loss)

    def __iter__(self) -> Iterator[Item]:
        if is_headless():
            yield from self.steps
            if self.look and self.losses:
                _show_end(self.losses, self.look())
            return
        view = (_LiveView if is_live() else _TextView)(self.num_steps, self.look)
        with view.stop:
            for item in self.steps:
                yield item
                view.renew(self.losses)
                if view.stop.heard():
                    break
        view.finish(self.losses)


def watch(
    steps: Iterable[Item],
    losses: list[float] | None = None,
    num_steps: int = 0,
    look: Callable[[], Look] | None = None,
) -> Watched:
    """Hand on what `steps` yields to a loop that reports each loss, and show how it goes.

        bar = watch(range(num_steps), num_steps=num_steps)
        for step in bar:
            ...
            bar.report(loss.item())

    Like tqdm around a loop: without it the loop does the same. `losses` holds what was reported; a
    list that is given is used, and the loop may append to it instead. In a notebook: curves, what
    `look()` returns (every few seconds, at most a tenth of the time) and a stop button; an
    interrupt does the same. Either ends the loop after the step, as if it had been the last. In a
    terminal: a progress bar. In a headless run: one figure at the end.
    """
    return Watched(steps, [] if losses is None else losses, num_steps, look)


def _show_end(losses, look):
    """One figure, which a notebook shows below the cell."""
    places = [["losses", "levels"], ["pictures", "pictures"]]
    axes = plt.figure(figsize=(8, 4), layout="constrained", facecolor="white").subplot_mosaic(
        places
    )
    pictures, levels, level_losses = look
    plot_loss(losses, axes["losses"])
    lines = {_("at the end"): (levels, level_losses.tolist())}
    compare_curves(lines, axes["levels"], xlabel=_("timestep t"), ylabel=_("loss"))
    title = _("drawn after {count} steps").format(count=len(losses))
    show_images(pictures, axes["pictures"], columns=8, title=title)


class _TextView:
    """A progress bar as text."""

    def __init__(self, num_steps, look):
        self.stop = Stop()
        self.bar = tqdm(total=num_steps, desc=_("training"))

    def renew(self, losses):
        """Move the bar on."""
        self.bar.update(len(losses) - self.bar.n)

    def finish(self, losses):
        """Leave the bar as it is."""
        self.bar.close()


class _LiveView:
    """A bar, a stop button and a page of curves and pictures, shown below the cell."""

    def __init__(self, num_steps, look):
        from IPython.display import display

        self.stop, self.look, self.latest = Stop(), look, None
        self.bar = ipywidgets.IntProgress(max=num_steps, description=_("training"))
        self.page = ipywidgets.HTML()
        self.started = self.next_curves = self.next_look = time.monotonic()
        self.button = self.stop.button()
        display(ipywidgets.VBox([ipywidgets.HBox([self.bar, self.button]), self.page]))

    def renew(self, losses):
        """Show where the loop is, if the last time was long enough ago."""
        if self.look and time.monotonic() >= self.next_look:
            self._look()
        if time.monotonic() >= self.next_curves:
            self._show(losses, _("step {step:,} of {count:,}"))
            self.next_curves = time.monotonic() + CURVE_SECONDS

    def finish(self, losses):
        """Show the last state, and that nothing is left to stop."""
        if self.look:
            self._look()
        stopped = _(
            "stopped after {step:,} of {count:,} steps; the model keeps what it has learned"
        )
        self._show(losses, stopped if self.stop.asked else _("done: {step:,} steps"))
        self.button.disabled = True

    def _look(self):
        started = time.monotonic()
        self.latest = self.look()
        ended = time.monotonic()
        self.next_look = ended + max(LOOK_SECONDS, (ended - started) * (1 / LOOK_SHARE - 1))

    def _show(self, losses, text):
        self.bar.value = len(losses)
        text = text.format(step=len(losses), count=self.bar.max)
        seconds = time.monotonic() - self.started
        self.page.value = beside(
            words(_("{text}, {seconds:.0f} s").format(text=text, seconds=seconds)),
            _loss_curve(losses),
            *_look_parts(self.latest),
        )


def _loss_curve(losses):
    alt = _("the loss of each step on a logarithmic axis, last {loss:.3g}")
    names = {_("loss"): losses}
    alt = alt.format(loss=losses[-1] if losses else float("nan"))
    steps = range(1, len(losses) + 1)
    return curves(names, alt, xlabel=_("training step"), x=steps, log=True) if losses else ""


def _look_parts(look):
    if look is None:
        return
    x, y = list(look.levels), look.level_losses.tolist()
    alt = _("the loss at each noise level, from {low:.3g} to {high:.3g}")
    alt = alt.format(low=min(y), high=max(y))
    yield curves({_("loss per level"): y}, alt, xlabel=_("timestep t"), x=x)
    yield picture(look.pictures, _("pictures drawn by the averaged weights"), width=560)
