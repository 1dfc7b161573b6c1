"""Stored ways from noise to picture: the film of one, and a walk from one noise to another."""

from collections.abc import Callable, Iterable

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.language import _
from course_utils.plotting import show_film, show_rows
from course_utils.plotting.pictures import check_steps
from course_utils.plotting.style import new_axes
from course_utils.sampling import slerp
from course_utils.widgets.controls import control, is_live, panel, player, still
from course_utils.widgets.page import beside, picture, words


def film(
    steps: Iterable, *, image_index: int = 0, title: str | None = None
) -> ipywidgets.VBox | Figure:
    """After any step of `sample(...)`: x_t, and beside it what the network believed, x0_pred.

    Moves: the step, by hand or with the play button, and the picture, `image_index` at first.
    """
    steps = check_steps(steps)
    if not is_live():
        return still(show_film(steps, image_index=image_index, title=title))

    def show(step, image):
        now, one = steps[step - 1], slice(image, image + 1)
        text = _("after step {step} of {count}; the network was asked about t = {t}")
        text = text.format(step=step, count=len(steps), t=now.timestep)
        belief = _("the clean picture that the network suspects")
        return beside(
            words(text),
            picture(now.x_t[one], _("the picture {text}").format(text=text), "x_t", width=200),
            picture(now.x0_pred[one], belief, _("x0_pred: the network's guess"), width=200),
        )

    last = len(steps[0].x_t) - 1
    slider = ipywidgets.IntSlider
    step = control(slider, _("step"), _("which step"), value=1, min=1, max=len(steps))
    image = control(slider, _("picture"), _("which picture"), value=image_index, min=0, max=last)
    return _played(panel(show, step=step, image=image))


def latent_walk(
    draw: Callable[[Tensor], Tensor], start: Tensor, end: Tensor, *, num_frames: int = 19
) -> ipywidgets.VBox | Figure:
    """From the noise `start` (C, H, W) to `end` along a great circle, and what `draw` makes of it.

    `draw` takes a batch of noise; it is called once, for all frames. Moves: the place on the way.
    """
    shares = torch.linspace(0, 1, num_frames).tolist()
    x_T = torch.stack([slerp(start, end, share) for share in shares])
    frames = draw(x_T).detach().cpu()
    if not is_live():
        few = [round(i * (num_frames - 1) / 6) for i in range(7)]
        rows = {_("noise"): x_T[few], _("picture"): frames[few]}
        captions = [f"{shares[i]:.0%}" for i in few]
        ax, title = new_axes(None, 6.5, 2.5), _("from one noise to another")
        return still(show_rows(rows, ax, captions=captions, title=title))

    def show(frame):
        text = _("{share:.0%} of the way from the first noise to the second")
        text, one = text.format(share=shares[frame]), slice(frame, frame + 1)
        ends = _("the first and the last picture")
        return beside(
            words(text),
            picture(x_T[one], _("the noise, {text}").format(text=text), _("noise"), width=160),
            picture(
                frames[one], _("the picture, {text}").format(text=text), _("picture"), width=160
            ),
            picture(frames[[0, -1]], ends, ends, width=166),
        )

    slider = ipywidgets.IntSlider
    way = control(slider, _("way"), _("how far to walk"), value=0, min=0, max=num_frames - 1)
    return _played(panel(show, frame=way))


def _played(box):
    """The panel with a play button beside its first slider."""
    first, *others = box.children
    box.children = [player(first), *others]
    return box
