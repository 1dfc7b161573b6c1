"""Two more steps: DDPM's, from a product of two Gaussians, and one of second order."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_ddpm_step(x_t, x0_pred, alpha_t, sigma_t, alpha_s, sigma_s, generator):
    """x_t, x0_pred (B, C, H, W), four numbers → x at the next level s, drawn from the posterior."""
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    mean = (ratio * sigma_s**2 * x_t + alpha_s * added * x0_pred) / sigma_t**2
    std = sigma_s * added**0.5 / sigma_t
    fresh = torch.randn(x_t.shape, generator=generator, device=x_t.device, dtype=x_t.dtype)
    return mean + std * fresh


def _two_levels(draw):
    x_t, x0_pred = draw.tensor(1, 2), draw.tensor(0.5, -1)
    levels = 0.6, 0.8, 0.8, 0.6
    yield x_t.reshape(1, 1, 1, 2), x0_pred.reshape(1, 1, 1, 2), *levels, draw.generator()
    for levels in ((0.2, 0.8, 0.5, 0.5), (0.9, 0.1, 1.0, 0.0)):
        yield draw.normal(2, 1, 3, 4), draw.normal(2, 1, 3, 4), *levels, draw.generator()


def _posterior(formula):
    """A slip: another mean and standard deviation, of what is known."""

    def wrong(x_t, x0_pred, alpha_t, sigma_t, alpha_s, sigma_s, generator):
        ratio = alpha_t / alpha_s
        added = sigma_t**2 - ratio**2 * sigma_s**2
        mean = (ratio * sigma_s**2 * x_t + alpha_s * added * x0_pred) / sigma_t**2
        std = sigma_s * added**0.5 / sigma_t
        fresh = torch.randn(x_t.shape, generator=generator, device=x_t.device, dtype=x_t.dtype)
        return formula(mean, std, added, ratio, x_t, fresh)

    return wrong


ddpm_step = Exercise(
    name="ddpm_step",
    answer=my_ddpm_step,
    cases=_two_levels,
    slips=(
        Slip(
            _posterior(lambda mean, std, added, ratio, x_t, fresh: mean + std**2 * fresh),
            N_("The variance in place of the standard deviation: take its root."),
        ),
        Slip(
            _posterior(lambda mean, std, added, ratio, x_t, fresh: mean + added**0.5 * fresh),
            N_(
                "That much noise is *added* between the levels; knowing where you are takes a "
                "part of the doubt away: times sigma_s / sigma_t. At sigma_s = 0 nothing is left."
            ),
        ),
        Slip(
            _posterior(lambda mean, std, added, ratio, x_t, fresh: mean),
            N_("The mean alone: without fresh noise the pictures come out too smooth."),
        ),
        Slip(
            _posterior(lambda mean, std, added, ratio, x_t, fresh: x_t / ratio + std * fresh),
            N_("x0_pred is not in it, so nothing is denoised: it is the other Gaussian's mean."),
        ),
    ),
    hints=(
        N_("First `ratio = alpha_t / alpha_s` and `added = sigma_t**2 - ratio**2 * sigma_s**2`."),
        N_("The mean and the variance stand above: put `added` in for the small sigma_ts²."),
        N_("Mean plus `(sigma_s * added**0.5 / sigma_t)` times `torch.randn`, by the generator."),
    ),
    why=N_(
        "What is known from x_t and what is known from x0 are two Gaussians, and their product is "
        "one. More certainty counts more: the mean weighs them by their inverse variances."
    ),
    notice=N_(
        "In a loop it is DDPM's algorithm 2, on any curve. With s = t - 1 on the circle the "
        "variance is the paper's beta-tilde."
    ),
)


def my_second_order(x0_pred, x0_before, h, h_before):
    """x0_pred, x0_before (B, C, H, W); two step sizes in log(alpha / sigma) → the x0 to step to."""
    return x0_pred + h / h_before / 2 * (x0_pred - x0_before)


def _two_guesses(draw):
    now, before = draw.tensor(1, 2), draw.tensor(0, 4)
    yield now.reshape(1, 1, 1, 2), before.reshape(1, 1, 1, 2), 0.5, 1.0
    for h, h_before in ((0.3, 0.7), (1.5, 0.4)):
        yield draw.normal(2, 1, 3, 4), draw.normal(2, 1, 3, 4), h, h_before


second_order = Exercise(
    name="second_order",
    answer=my_second_order,
    cases=_two_guesses,
    slips=(
        Slip(
            lambda now, before, h, h_before: now + h_before / h / 2 * (now - before),
            N_("The ratio is upside down: a longer step ahead means more of the change."),
        ),
        Slip(
            lambda now, before, h, h_before: now + h / h_before * (now - before),
            N_("The end of the step: its *middle* stands for the whole, so take half of that."),
        ),
        Slip(
            lambda now, before, h, h_before: now - h / h_before / 2 * (now - before),
            N_("Backwards: go on in the direction in which the guess was changing."),
        ),
        Slip(
            lambda now, before, h, h_before: (now + before) / 2,
            N_("The mean of both lags half a step behind; you want half a step *ahead*."),
        ),
    ),
    hints=(
        N_("The guess changed by x0_pred - x0_before while h_before passed. How fast is that?"),
        N_("At that speed, how far has it come in the middle of the next step, h / 2 from here?"),
        N_("`x0_pred + h / h_before / 2 * (x0_pred - x0_before)`"),
    ),
    why=N_(
        "DDIM keeps its guess for the whole step, although it will change. "
        "The guess expected in the middle of the step is the fairer one, and costs no call."
    ),
    notice=N_(
        "It is DPM-Solver++(2M), the default of many image generators: one more line than DDIM, "
        "and often half of the calls."
    ),
)
