"""How many steps fit into some seconds: the machine's own pace, measured first."""

import copy
import time
from collections.abc import Iterator
from itertools import count
from statistics import median

import torch
from torch import nn

from course_utils.language import _
from course_utils.schedule import Images, NoiseSchedule
from course_utils.training.ema import EMA
from course_utils.training.loop import update
from course_utils.training.loss import diffusion_loss
from course_utils.training.optimizers import make_optimizer

WARM_UP, TIMED = 2, 5  # steps: libraries prepare themselves in the first


def steps_within(
    seconds: float | int,
    model: nn.Module,
    x0: Images,
    *,
    optimizer: str = "adamw",
    beside: int = 0,
    least: int = 20,
) -> int:
    """How many training steps on batches like x0 (B, C, H, W) this machine does in `seconds`.

    What else is to fit into the seconds costs as much as `beside` steps; `least` are done in any
    case. A few steps of a copy are timed: the model, and all chance, stay as they are. Says in one
    line what was measured and chosen; rounded to two digits, so that it is the same next time,
    mostly. Raises ValueError unless seconds > 0.
    """
    trial = _trial(copy.deepcopy(model), x0, optimizer)
    devices = [x0.device] if x0.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        return steps_in(seconds, trial, beside=beside, least=least)


def steps_in(seconds: float | int, trial: Iterator, *, beside: int = 0, least: int = 20) -> int:
    """The same for any training: `trial` trains a copy, one step each time it is asked for the
    next, and is asked for seven."""
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds}: 60 is a good start")
    pace = step_seconds(trial)
    num_steps = max(least, _two_digits(seconds / pace - beside))
    words = _("A training step takes {pace:.2g} s here: {num_steps:,} steps, about {total:.0f} s.")
    print(words.format(pace=pace, num_steps=num_steps, total=num_steps * pace))
    return num_steps


def step_seconds(trial: Iterator) -> float:
    """The median time of a step of the trial, after two to warm up."""
    took = []
    for _step in range(WARM_UP + TIMED):
        started = time.perf_counter()
        next(trial)
        took.append(time.perf_counter() - started)
    return median(took[WARM_UP:])


def _trial(model: nn.Module, x0: Images, optimizer: str) -> Iterator[float]:
    """Training steps of this model, EMA included."""
    schedule, generator = NoiseSchedule.straight(1000), torch.Generator().manual_seed(0)
    stepper, ema = make_optimizer(model, 1e-4, optimizer), EMA(model)
    for step in count():
        loss = diffusion_loss(
            model, schedule, x0, prediction_type="v_prediction", generator=generator
        )
        yield update(model, [loss], stepper, 1e-4, step=step, max_grad_norm=1.0, ema=ema)


def _two_digits(number: float) -> int:
    """Rounded down to two digits: 1,234.5 → 1,200."""
    number = max(0, int(number))
    unit = 10 ** max(0, len(str(number)) - 2)
    return number // unit * unit
