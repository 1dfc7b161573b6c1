"""The noise schedule: where its curves cross, what it does to a picture, where it comes from."""

import torch

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def measure_crossing():
    """The height of the two curves where they are nearest to each other."""
    schedule = cu.NoiseSchedule.cosine(1000)
    crossing = (schedule.alphas - schedule.sigmas).abs().argmin()
    return schedule.alphas[crossing].item()


crossing = Prediction(
    name="crossing",
    answer=measure_crossing,
    tolerance=0.01,
    slips=(
        Slip(
            0.5,
            N_(
                "Half and half: so it would be if the two shares added up to 1. "
                "Here their *squares* do. Look at the formula, or at the figure."
            ),
        ),
        Slip(
            1.0,
            N_("Picture and noise both in full: then the spread would be larger than before."),
        ),
        Slip(
            0.25,
            N_("Squared once too often: 0.5 is the square you look for, not its root."),
        ),
    ),
    hints=(
        N_("In the figure, read the height of the place where the curves meet."),
        N_(
            "The formula has roots: the squares of the two shares, alpha_bar and 1 - alpha_bar, "
            "add up to 1."
        ),
        N_("If both are equal, each square is 0.5."),
    ),
    why=N_(
        "The variances of picture and noise add up, and the schedule keeps their sum at 1. "
        "Equal shares of the variance are 0.5 each, and the factor is the root of it."
    ),
    notice=N_(
        "0.71 of the picture and 0.71 of the noise: more than 1 together, and yet the spread of "
        "the pixels is what it was."
    ),
)


def my_add_noise(x0, noise, timesteps, alphas_cumprod):
    """x0, noise (B, C, H, W); timesteps (B,); alphas_cumprod, the table, (T,) → x_t."""
    alpha_bar_t = alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
    return alpha_bar_t**0.5 * x0 + (1 - alpha_bar_t) ** 0.5 * noise


def _noisy(draw):
    x0 = draw.tensor(1, -1, 0, 1).reshape(2, 1, 1, 2)
    noise = draw.tensor(0, 1, 2, -1).reshape(2, 1, 1, 2)
    table = draw.tensor(0.81, 0.36, 0.04)
    yield x0, noise, torch.tensor([0, 1], device=draw.device), table
    for shape in ((3, 1, 2, 4), (4, 3, 4, 4)):
        table = draw.uniform(10, low=0.01, high=0.99).sort(descending=True).values
        timesteps = draw.integers(0, 10, shape[0])
        yield draw.normal(*shape), draw.normal(*shape), timesteps, table


def _bar(timesteps, table):
    return table[timesteps].reshape(-1, 1, 1, 1)


def _mix(signal, share):
    """A slip: other functions of alpha_bar as the two factors."""

    def wrong(x0, noise, timesteps, alphas_cumprod):
        bar = _bar(timesteps, alphas_cumprod)
        return signal(bar) * x0 + share(bar) * noise

    return wrong


def _not_stretched(x0, noise, timesteps, alphas_cumprod):
    bar = alphas_cumprod[timesteps]
    return bar**0.5 * x0 + (1 - bar) ** 0.5 * noise


add_noise = Exercise(
    name="add_noise",
    answer=my_add_noise,
    cases=_noisy,
    slips=(
        Slip(
            _mix(lambda bar: bar, lambda bar: 1 - bar),
            N_("The square roots are missing: alpha_bar is a variance, the factor is its root."),
        ),
        Slip(
            _mix(lambda bar: bar**0.5, lambda bar: 1 - bar),
            N_("One square root is missing, that of the noise's factor."),
        ),
        Slip(
            _mix(lambda bar: bar**0.5, lambda bar: 1 - bar**0.5),
            N_("The root stands at the wrong place: it is the root of 1 - alpha_bar, as a whole."),
        ),
        Slip(
            _mix(lambda bar: (1 - bar) ** 0.5, lambda bar: bar**0.5),
            N_("Picture and noise are swapped: alpha_bar belongs to the picture."),
        ),
        Slip(
            _not_stretched,
            N_(
                "Wrong broadcast: each picture of the batch has its own number, but yours met the "
                "columns of pixels. Stretch (B,) to (B, 1, 1, 1)."
            ),
        ),
        Slip(
            lambda x0, noise, timesteps, alphas_cumprod: (
                x0 + (1 - _bar(timesteps, alphas_cumprod)) ** 0.5 * noise
            ),
            N_("The picture was not shrunk: noise is added, but the picture has to make room."),
        ),
    ),
    hints=(
        N_("First look up one number for each picture: `alphas_cumprod[timesteps]`."),
        N_("They have the shape (B,). `reshape(-1, 1, 1, 1)` lets each meet its own picture."),
        N_("Then the formula: root of alpha_bar times x0, plus root of 1 - alpha_bar times noise."),
    ),
    why=N_(
        "Each picture gets the number of its own timestep, stretched so that it meets all its "
        "pixels. The roots make factors of variances, so that the spread stays 1."
    ),
    notice=N_(
        "One multiplication takes a picture to *any* timestep, without a walk through those "
        "before. That is what makes training so cheap."
    ),
)


def my_alphas_cumprod(betas):
    """betas (T,): the share of the variance that each step replaces by noise → (T,)."""
    return torch.cumprod(1 - betas, dim=0)


def _betas(draw):
    yield (draw.tensor(0.1, 0.2, 0.5),)
    yield (draw.uniform(5, low=0.01, high=0.5),)
    yield (draw.uniform(100, low=0.001, high=0.02).sort().values,)


alphas_cumprod = Exercise(
    name="alphas_cumprod",
    answer=my_alphas_cumprod,
    cases=_betas,
    slips=(
        Slip(
            lambda betas: 1 - torch.cumsum(betas, dim=0),
            N_(
                "A sum instead of a product: each step takes its share of what is *left*, "
                "not of the picture that there was at first."
            ),
        ),
        Slip(
            lambda betas: torch.cumprod(betas, dim=0),
            N_("That multiplies what goes. What is left after one step is 1 - beta."),
        ),
        Slip(
            lambda betas: 1 - betas,
            N_("That is what one step leaves. Multiply the steps up to each timestep."),
        ),
        Slip(
            lambda betas: torch.prod(1 - betas),
            N_("One number came: the product of all steps. The table has one for each timestep."),
        ),
        Slip(
            lambda betas: torch.cumprod(1 - betas, dim=0) ** 0.5,
            N_("A root too many: this table holds variances; the root comes in `add_noise`."),
        ),
    ),
    hints=(
        N_("After one step 1 - beta is left. And after two?"),
        N_("Each step multiplies what is left by its own 1 - beta."),
        N_("A running product has a function of its own: `torch.cumprod`."),
    ),
    why=N_(
        "Each step keeps the share 1 - beta of what was left before it. "
        "So what is left at a timestep is the running product of them all."
    ),
    notice=N_(
        "A thousand small betas make one falling curve. Sum them up, and you know how it ends: "
        "the last value is nearly exp(-sum), which `beta_end=0.002` leaves at 0.35."
    ),
)
