"""The toy: how it is corrupted, with Gaussian noise."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_corrupt(x, amount, generator):
    """x (B, C, H, W); amount (B,); Gaussian noise from the generator → the mix, shaped like x."""
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    amount = amount.reshape(-1, 1, 1, 1)
    return (1 - amount) * x + amount * noise


def _pictures(draw):
    x = draw.tensor(1, 0, 0.5, 1).reshape(2, 1, 1, 2)
    yield x, draw.tensor(0.25, 0.75), draw.generator()
    for shape in ((3, 1, 4, 5), (5, 3, 4, 4)):
        yield draw.normal(*shape), draw.uniform(shape[0]), draw.generator()


def _noise(x, generator, draw=torch.randn):
    return draw(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _mixed(x, amount, noise):
    amount = amount.reshape(-1, 1, 1, 1)
    return (1 - amount) * x + amount * noise


corrupt = Exercise(
    name="corrupt",
    answer=my_corrupt,
    cases=_pictures,
    accepts=(
        lambda x, amount, generator: _mixed(
            x, amount, torch.randn(x.shape, generator=generator, device=x.device)
        ),
    ),
    slips=(
        Slip(
            lambda x, amount, generator: _mixed(x, amount, _noise(x, generator, torch.rand)),
            N_(
                "`rand` for `randn`: yours is uniform, from 0 to 1. The n stands for the normal "
                "distribution, the Gaussian bell around 0."
            ),
        ),
        Slip(
            lambda x, amount, generator: _mixed(_noise(x, generator), amount, x),
            N_("Picture and noise are swapped: at amount = 0 the picture should stay as it is."),
        ),
        Slip(
            lambda x, amount, generator: (1 - amount) * x + amount * _noise(x, generator),
            N_(
                "Wrong broadcast: each picture has its own amount, but yours met the columns of "
                "pixels. Stretch (B,) to (B, 1, 1, 1)."
            ),
        ),
        Slip(
            lambda x, amount, generator: _mixed(x, amount, torch.randn_like(x)),
            N_(
                "The noise comes from the global random state. Pass `generator=generator`, so "
                "that the same seed draws the same noise, whatever else was drawn before."
            ),
        ),
        Slip(
            lambda x, amount, generator: x + _mixed(0 * x, amount, _noise(x, generator)),
            N_("The picture was not weakened: its factor, 1 - amount, is missing."),
        ),
    ),
    hints=(
        N_("It is the cell above with other noise: which function draws the Gaussian bell?"),
        N_("`torch.randn(x.shape, generator=generator, …)` draws it, from your own generator."),
        N_("Then stretch: `amount.reshape(-1, 1, 1, 1)`, and mix as in the formula."),
    ),
    why=N_(
        "`randn` draws bell-shaped numbers around 0, and the generator makes them repeatable. "
        "The amounts are stretched, so that each meets all pixels of its own picture."
    ),
    notice=N_(
        "Half of the noise is below 0 now: the noise of all that follows, from section 2 on."
    ),
)
