"""The toy: what uniform noise does to black, Gaussian noise, and how its walk forgets the start."""

import torch

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def measure_brightness():
    """The mean of a black picture that is half noise."""
    black, amount = torch.zeros(16, 1, 28, 28), torch.full((16,), 0.5)
    return cu.corrupt(black, amount).mean().item()


brightness = Prediction(
    name="brightness",
    answer=measure_brightness,
    tolerance=0.02,
    slips=(
        Slip(0.5, N_("So bright is the noise alone, on average; but here it has only half a say.")),
        Slip(0.0, N_("So it would stay if noise made pixels darker as often as lighter.")),
        Slip(1.0, N_("So bright is the brightest noise; its mean lies in the middle, at 0.5.")),
        Slip(0.125, N_("Halved once too often: half of the noise's mean of 0.5.")),
    ),
    hints=(
        N_("The noise is uniform in [0, 1]. What is its mean?"),
        N_("Half of the mix is black and adds nothing."),
        N_("Half of the noise's mean, which is 0.5."),
    ),
    why=N_(
        "The mean of a mix is the mix of the means: half of 0, and half of 0.5. "
        "So this noise makes dark pictures lighter."
    ),
    notice=N_(
        "This noise gives away how much of it there is, by its brightness. Noise around 0 does "
        "not, and that is a reason for the first change of section 6."
    ),
)


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
    notice=N_("Half of the noise is below 0 now. Section 6 shows what that is good for."),
)


def walk_two_steps():
    """The share of the starting noise after two of four steps, if the prediction is always 0."""
    noise_left, prediction, num_steps = 1.0, 0.0, 4
    for i in range(2):
        noise_left = noise_left + (prediction - noise_left) / (num_steps - i)
    return noise_left


remaining = Prediction(
    name="remaining",
    answer=walk_two_steps,
    tolerance=0.005,
    slips=(
        Slip(
            0.5625,
            N_(
                "3/4 of 3/4: but the second step is not a quarter of what is left. It is a third, "
                "for three steps are left."
            ),
        ),
        Slip(0.75, N_("So much is left after the first step; the second takes its part, too.")),
        Slip(0.25, N_("So much is left after three steps.")),
        Slip(0.0, N_("Nothing is left only after the last step, which goes all the way.")),
    ),
    hints=(
        N_("Step 0 moves 1/4 of the way, and leaves 3/4. And step 1?"),
        N_("Step 1 moves 1/3 of what is left."),
        N_("3/4 times 2/3."),
    ),
    why=N_(
        "The steps move 1/4, 1/3, 1/2 and 1 of the way that is *left*. "
        "Each takes the same quarter of the whole way: a straight line at an even pace."
    ),
    notice=N_(
        "After i of n steps 1 - i/n of the noise is left: just what `amount` says. So the network "
        "always gets the amount of noise that it was trained on."
    ),
)
