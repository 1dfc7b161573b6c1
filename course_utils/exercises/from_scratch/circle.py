"""On the circle: the velocity, and what a loss in one view means in the others."""

import torch

from course_utils.exercises.from_scratch.targets import answers, stretched
from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_circle_velocity(x0, noise, alpha_t, sigma_t):
    """x0, noise (B, C, H, W); alpha_t, sigma_t (B,) on the circle → the direction of x_t."""
    alpha_t, sigma_t = alpha_t.reshape(-1, 1, 1, 1), sigma_t.reshape(-1, 1, 1, 1)
    return alpha_t * noise - sigma_t * x0


circle = Exercise(
    name="circle",
    answer=my_circle_velocity,
    cases=answers,
    slips=(
        Slip(
            stretched(lambda x0, noise, alpha_t, sigma_t: noise - x0),
            N_("That is the velocity on the straight line; on a circle the direction turns."),
        ),
        Slip(
            stretched(lambda x0, noise, alpha_t, sigma_t: alpha_t * noise + sigma_t * x0),
            N_("A wrong sign: the derivative of the cosine is *minus* the sine."),
        ),
        Slip(
            stretched(lambda x0, noise, alpha_t, sigma_t: alpha_t * x0 + sigma_t * noise),
            N_("That is x_t, the place. The velocity is its derivative by the angle."),
        ),
        Slip(
            stretched(lambda x0, noise, alpha_t, sigma_t: sigma_t * noise - alpha_t * x0),
            N_("alpha and sigma are swapped: a derivative turns cosine into sine, sine to cosine."),
        ),
        Slip(
            lambda x0, noise, alpha_t, sigma_t: alpha_t * noise - sigma_t * x0,
            N_(
                "Wrong broadcast: alpha and sigma are one for each picture, and yours met the "
                "columns of pixels. Stretch (B,) to (B, 1, 1, 1)."
            ),
        ),
    ),
    hints=(
        N_("Write x_t = cos(angle) x0 + sin(angle) noise, and differentiate by the angle."),
        N_("-sin(angle) x0 + cos(angle) noise; and cos is alpha, sin is sigma."),
        N_("`alpha_t * noise - sigma_t * x0`, both stretched with `reshape(-1, 1, 1, 1)`."),
    ),
    why=N_(
        "On a circle the direction stands at a right angle to the place. "
        "So place and direction together tell both, the picture and the noise."
    ),
    notice=N_(
        "Near the clean end it is almost the noise, near the noisy end almost minus the picture: "
        "the network is always asked for what it can't simply copy from x_t."
    ),
)


def my_losses(x0_loss, alphas, sigmas):
    """x0_loss, alphas, sigmas (T,), on the circle → (2, T): the losses in noise and in velocity."""
    snr = (alphas / sigmas) ** 2
    return torch.stack([snr * x0_loss, x0_loss / sigmas**2])


def _levels(draw):
    yield draw.tensor(0.1, 0.2), draw.tensor(0.8, 0.6), draw.tensor(0.6, 0.8)
    for T in (5, 9):
        alphas = draw.uniform(T, low=0.2, high=0.95)
        yield draw.uniform(T), alphas, (1 - alphas**2) ** 0.5


def _scaled(noise, velocity):
    """A slip: other factors, of alphas and sigmas."""
    return lambda x0_loss, alphas, sigmas: torch.stack(
        [noise(alphas, sigmas) * x0_loss, velocity(alphas, sigmas) * x0_loss]
    )


losses = Exercise(
    name="losses",
    answer=my_losses,
    cases=_levels,
    slips=(
        Slip(
            _scaled(lambda a, s: (s / a) ** 2, lambda a, s: 1 / s**2),
            N_("The noise's factor is upside down: noise_pred = (x_t - alpha x0_pred) / sigma."),
        ),
        Slip(
            _scaled(lambda a, s: a / s, lambda a, s: 1 / s),
            N_("Not squared: the losses are *squared* errors, so their factors are squares, too."),
        ),
        Slip(
            _scaled(lambda a, s: 1 / s**2, lambda a, s: (a / s) ** 2),
            N_("The two are in the other order: first the noise, then the velocity."),
        ),
        Slip(
            _scaled(lambda a, s: (a / s) ** 2, lambda a, s: s**2),
            N_("sigma² L_v = L_x0, so L_v is L_x0 *divided* by sigma²."),
        ),
    ),
    hints=(
        N_("An error e in x0 means an error alpha / sigma * e in the noise. Squared?"),
        N_("x0 = alpha x_t - sigma v: an error e in x0 means an error e / sigma in the velocity."),
        N_("Stack `(alphas / sigmas)**2 * x0_loss` and `x0_loss / sigmas**2`."),
    ),
    why=N_(
        "At a given x_t the three answers are affine in each other, so their errors differ by a "
        "factor alone. Its square is the ratio of the losses."
    ),
    notice=N_(
        "To choose a target is to choose how much each noise level counts: the same network, "
        "judged in other units."
    ),
)
