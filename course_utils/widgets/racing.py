"""The sampler race: the same noise, drawn by several samplers in few and in many steps."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.language import _
from course_utils.plotting.pictures import to_unit
from course_utils.plotting.sheet import draw_sheet
from course_utils.plotting.style import new_axes
from course_utils.sampling import sample
from course_utils.schedule import NoiseSchedule
from course_utils.widgets.controls import control, is_live, panel, still
from course_utils.widgets.page import bar, beside, picture, words


class Lap(NamedTuple):
    """One run of one sampler: its pictures (B, C, H, W), the network calls and the seconds.

    `distance` is the root-mean-square difference of the pixels, in [-1, 1], from the goal.
    """

    sampler: str
    pictures: Tensor
    calls: int
    seconds: float
    distance: float


def run_race(
    model: Callable,
    schedule: NoiseSchedule,
    x_T: Tensor,
    samplers: Mapping[str, Mapping],
    num_steps: Iterable[int],
    *,
    prediction_type: str = "epsilon",
    seed: int = 0,
    goal: int = 64,
) -> list[Lap]:
    """Draw from x_T with each sampler, a name and the options of `sample`, and each num_steps.

    The goal is what order 2 draws from the same noise in `goal` steps.
    """
    common = {"prediction_type": prediction_type}
    *_, there = sample(model, schedule, x_T, num_steps=goal, order=2, **common)
    laps = []
    for name, options in samplers.items():
        for count in num_steps:
            generator = torch.Generator().manual_seed(seed)
            settings = {"num_steps": count, "generator": generator, **common, **options}
            started = time.perf_counter()
            steps = list(sample(model, schedule, x_T, **settings))
            pictures = steps[-1].x_t.cpu()
            seconds = time.perf_counter() - started
            distance = (pictures - there.x_t.cpu()).square().mean().sqrt().item()
            laps.append(Lap(name, pictures, len(steps), seconds, distance))
    return laps


def race(laps: Iterable[Lap]) -> ipywidgets.VBox | Figure:
    """What each sampler drew, its network calls and seconds. Moves: the sampler, the steps.

    `laps` holds a lap for each pair of sampler and calls, as `run_race` makes them.
    """
    stored = {(lap.sampler, lap.calls): lap for lap in laps}
    if not stored:
        raise ValueError("laps must not be empty: pass what run_race(...) returns")
    samplers, counts = (list(dict.fromkeys(names)) for names in zip(*stored, strict=True))
    if not is_live():
        return _race_figure(stored, samplers, counts)
    slowest = max(lap.seconds for lap in stored.values())

    def show(sampler, num_steps):
        lap = stored[sampler, num_steps]
        text = _(
            "{sampler}: {calls} network calls in {seconds:.2f} s, {distance:.2f} from the goal"
        )
        text = text.format(**lap._asdict())
        return beside(
            words(text), bar(lap.seconds / slowest), picture(lap.pictures, text, width=560)
        )

    return panel(
        show,
        sampler=control(ipywidgets.Dropdown, _("sampler"), _("who draws"), options=samplers),
        num_steps=control(
            ipywidgets.SelectionSlider, _("steps"), _("how many steps"), options=counts
        ),
    )


def _race_figure(stored, samplers, counts):
    laps = [stored[name, count] for name in samplers for count in counts]
    caption = _("{calls} calls: {distance:.2f}")
    captions = [caption.format(**lap._asdict()) for lap in laps]
    pictures = torch.stack([lap.pictures[0] for lap in laps])
    title = _("the same noise, and how far all pictures are from the goal")
    ax = new_axes(None, 1.5 * len(counts) + 1, 1.6 * len(samplers) + 0.4)
    pictures = to_unit(pictures, (-1, 1))
    return still(draw_sheet(pictures, ax, len(counts), title, captions, samplers))
