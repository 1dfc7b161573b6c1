"""Editing: how much of the walk is left for a picture, and which latents are drawn anew."""

import math

import torch
from torch.nn import functional as F

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_steps_left(strength, num_steps):
    """strength in (0, 1] → how many of num_steps are walked, the last ones, rounded down."""
    return min(int(num_steps * strength), num_steps)


def _strengths(draw):
    yield 0.72, 10
    yield 1.0, 20
    for num_steps in draw.integers(12, 60, 3).tolist():
        whole = draw.integers(1, num_steps, 1).item()
        part = draw.uniform(1, low=0.2, high=0.8).item()
        yield round((whole + part) / num_steps, 4), num_steps
    yield 0.35, 50


first_step = Exercise(
    name="first_step",
    answer=my_steps_left,
    cases=_strengths,
    slips=(
        Slip(
            lambda strength, num_steps: num_steps - int(num_steps * strength),
            N_(
                "So many steps are *skipped*: the walk begins there. How many are left? At "
                "strength 1 all of them."
            ),
        ),
        Slip(
            lambda strength, num_steps: int(num_steps * (1 - strength)),
            N_("1 - strength is what is kept: the stronger, the more steps, and 1 is all of them."),
        ),
        Slip(
            lambda strength, num_steps: math.ceil(num_steps * strength),
            N_("Rounded up: `int` cuts off, so that a step which is not whole is not walked."),
        ),
        Slip(
            lambda strength, num_steps: int(1000 * strength),
            N_(
                "That is a timestep, of the 1,000 in training. Drawing takes `num_steps` steps: "
                "the strength is the share of *these*."
            ),
        ),
        Slip(
            lambda strength, num_steps: num_steps * strength,
            N_("A number of steps is whole: `int` cuts off what is behind the point."),
        ),
        Slip(
            lambda strength, num_steps: num_steps,
            N_("All steps, from pure noise on: then nothing is left of the picture."),
        ),
    ),
    hints=(
        N_("Strength 1 is a new picture, all steps. Strength 0.5 is the second half of them."),
        N_("The share of the steps: `num_steps * strength`, and whole."),
        N_("`int(num_steps * strength)`"),
    ),
    why=N_(
        "The picture gets the noise that the walk would have at that place, and is drawn on from "
        "there. More strength means more noise, and so more steps to take it away."
    ),
    notice=N_(
        "So image to image at strength 0.5 takes half the time. In diffusers the first of the "
        "steps is number `num_steps - int(num_steps * strength)` (SDEdit, Meng et al. 2022)."
    ),
)


def my_latent_mask(mask):
    """mask (B, 1, 64, 64), 1 where to draw anew, else 0 → the same for latents, (B, 1, 8, 8)."""
    return F.max_pool2d(mask, 8)


def _masks(draw):
    mask = torch.zeros(1, 1, 64, 64, device=draw.device)
    mask[..., 2:30, 3:50] = 1
    mask[..., 43, 5:60] = 1
    yield (mask,)
    for count in (2, 3):
        points = draw.uniform(count, 1, 64, 64) < 0.01
        yield ((points | (draw.uniform(count, 1, 64, 1) < 0.03)).float(),)


latent_mask = Exercise(
    name="latent_mask",
    answer=my_latent_mask,
    cases=_masks,
    slips=(
        Slip(
            lambda mask: mask[..., :8, :8],
            N_("A corner of the mask, 8 × 8 *pixels*. A latent place stands for 8 × 8 of them."),
        ),
        Slip(
            lambda mask: F.avg_pool2d(mask, 8),
            N_(
                "The share of each square: neither 0 nor 1, so that a place would be half kept and "
                "half drawn. One pixel is enough to draw it anew."
            ),
        ),
        Slip(
            lambda mask: mask[..., ::8, ::8],
            N_("One pixel of 64 was looked at, as `nearest` does: thin strokes are lost."),
        ),
        Slip(
            lambda mask: (F.avg_pool2d(mask, 8) >= 0.5).float(),
            N_("The majority decides: a thin stroke never has it. *Any* pixel is enough."),
        ),
        Slip(
            lambda mask: -F.max_pool2d(-mask, 8),
            N_("Only where *all* 64 pixels are to be drawn: then the edge of the old part stays."),
        ),
        Slip(
            lambda mask: mask,
            N_("Still 64 × 64, the size of the picture. The latents have 8 × 8 places."),
        ),
        Slip(
            lambda mask: 1 - F.max_pool2d(mask, 8),
            N_("Inverted: 1 is where to draw anew, also in the latents."),
        ),
    ),
    hints=(
        N_("Each latent place stands for a square of 8 × 8 pixels."),
        N_("Is any of 64 numbers 1? Their maximum is."),
        N_("`F.max_pool2d(mask, 8)`"),
    ),
    why=N_(
        "A latent place is kept or drawn anew as a whole. If it were kept where one of its pixels "
        "is to go, something of that pixel would stay."
    ),
    notice=N_(
        "diffusers' own pipeline takes one pixel of each square, so draw your masks with a thick "
        "brush. What is drawn anew ends at the edges of the squares, not of your strokes."
    ),
)
