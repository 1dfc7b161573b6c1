"""Latents: how much smaller they are than pictures, and what makes them as wide as noise."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def count_numbers():
    """All numbers of a picture, over all numbers of its latents."""
    picture, latents = torch.zeros(3, 64, 64), torch.zeros(8, 8, 8)
    return picture.numel() / latents.numel()


compression = Prediction(
    name="compression",
    answer=count_numbers,
    slips=(
        Slip(8, N_("So much shorter is each side. There are two sides, and channels.")),
        Slip(
            64,
            N_("So many fewer *places*. But each place holds more numbers now: 8 instead of 3."),
        ),
        Slip(3, N_("Those are the picture's channels. Count all numbers, here and there.")),
        Slip(
            512,
            N_("So many numbers have the latents. How many times more has the picture?"),
        ),
        Slip(
            1 / 24,
            N_("The other way round: how many times *fewer* is asked for, a number above 1."),
        ),
    ),
    hints=(
        N_("A picture has 3 * 64 * 64 numbers."),
        N_("Its latents have 8 * 8 * 8."),
        N_("Divide the first by the second."),
    ),
    why=N_(
        "There are 64 times fewer places, and each holds 8 numbers in place of 3. The network "
        "that draws only ever sees the small ones, so each of its steps has less to do."
    ),
    notice=N_(
        "Stable Diffusion 1.5: 3 × 512 × 512 to 4 × 64 × 64, 48 times fewer. All steps are walked "
        "in the latents, and the picture is decoded once, at the end."
    ),
)


def my_scaling(latents):
    """latents (N, C, H, W) → the number that, multiplied by it, they have standard deviation 1."""
    return 1 / latents.std()


def _latents(draw):
    yield (draw.tensor(1, 3, 8, 4).reshape(1, 2, 1, 2),)
    for shape in ((6, 4, 2, 2), (5, 3, 3, 4)):
        widths = draw.uniform(1, shape[1], 1, 1, low=0.5, high=5.0)
        yield (widths * draw.normal(*shape) + draw.uniform(1, shape[1], 1, 1, low=1.0, high=3.0),)


scaling = Exercise(
    name="scaling",
    answer=my_scaling,
    cases=_latents,
    accepts=(lambda latents: 1 / latents.std(correction=0),),
    slips=(
        Slip(
            lambda latents: 1 / latents.var(),
            N_("One over the *variance*. Multiplied by a number, the standard deviation follows."),
        ),
        Slip(
            lambda latents: latents.std(),
            N_("Multiplied by this, wide latents become wider still: 1 over it brings them to 1."),
        ),
        Slip(
            lambda latents: latents.var(),
            N_("That is the variance: 1 over its root is what brings the width to 1."),
        ),
        Slip(
            lambda latents: 1 / latents.std(dim=(0, 2, 3)),
            N_("One for each channel: it is a single number for all, over all four dimensions."),
        ),
        Slip(
            lambda latents: (latents - latents.mean()) / latents.std(),
            N_(
                "Those are the latents themselves, their mean subtracted and scaled. Only the "
                "factor is asked for; the mean stays where it is."
            ),
        ),
        Slip(
            lambda latents: 1 / latents.square().mean().sqrt(),
            N_("How far from 0 they lie: a standard deviation is measured from their own mean."),
        ),
        Slip(
            lambda latents: 1 / latents.abs().max(),
            N_("So the largest becomes 1: a single odd number would decide. Take all of them."),
        ),
    ),
    hints=(
        N_("Multiplied by a number, the standard deviation is multiplied by the same number."),
        N_("std times what is 1? All channels, places and pictures together: `latents.std()`."),
        N_("`1 / latents.std()`"),
    ),
    why=N_(
        "The schedule mixes the latents with noise of standard deviation 1, and its levels mean "
        "what they should only if the latents are as wide. It is one number, so that it is easily "
        "taken back."
    ),
    notice=N_(
        "On the way back one *divides*: `decode(latents / scaling_factor)`. Whoever multiplies "
        "again gives the decoder what it has never seen. Stable Diffusion 1.5 has 0.18215."
    ),
)
