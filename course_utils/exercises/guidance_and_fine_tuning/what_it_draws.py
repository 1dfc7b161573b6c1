"""What guidance does to the noise, to a Gaussian, and to the clock."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_guided_noise(x_t, told_x0, untold_x0, scale, alpha, sigma):
    """x_t and two predicted pictures (B, C, H, W); alpha, sigma: numbers → the guided noise."""
    x0_pred = untold_x0 + scale * (told_x0 - untold_x0)
    return (x_t - alpha * x0_pred) / sigma


def _pictures(draw):
    pictures = ((1, 2), (0.5, 0), (-1, 1))
    yield *(draw.tensor(*p).reshape(1, 1, 1, 2) for p in pictures), 3.0, 0.6, 0.8
    for shape in ((3, 1, 2, 4), (2, 3, 4, 4)):
        alpha = draw.uniform(1, low=0.2, high=0.9).item()
        scale = 1 + 4 * draw.uniform(1).item()
        yield *(draw.normal(*shape) for _ in range(3)), scale, alpha, (1 - alpha**2) ** 0.5


def _difference_as_picture(x_t, told_x0, untold_x0, scale, alpha, sigma):
    untold_noise = (x_t - alpha * untold_x0) / sigma
    return untold_noise + scale * (x_t - alpha * (told_x0 - untold_x0)) / sigma


views = Exercise(
    name="views",
    answer=my_guided_noise,
    cases=_pictures,
    slips=(
        Slip(
            lambda x_t, told_x0, untold_x0, scale, alpha, sigma: (
                untold_x0 + scale * (told_x0 - untold_x0)
            ),
            N_("That is the guided *picture*, and right. Now turn it into noise."),
        ),
        Slip(
            lambda x_t, told_x0, untold_x0, scale, alpha, sigma: (
                x_t - alpha * (untold_x0 + scale * (told_x0 - untold_x0))
            ),
            N_("sigma times the noise is left, when alpha times the picture is gone: divide."),
        ),
        Slip(
            _difference_as_picture,
            N_(
                "x_t was guided, too: the *difference* of two pictures was turned into noise as if "
                "it were a picture. In the difference of two noises x_t cancels."
            ),
        ),
        Slip(
            lambda x_t, told_x0, untold_x0, scale, alpha, sigma: (
                (x_t - sigma * (untold_x0 + scale * (told_x0 - untold_x0))) / alpha
            ),
            N_("alpha and sigma are swapped: x_t = alpha * picture + sigma * noise."),
        ),
        Slip(
            lambda x_t, told_x0, untold_x0, scale, alpha, sigma: (
                (x_t - alpha * (told_x0 + scale * (untold_x0 - told_x0))) / sigma
            ),
            N_("Told and untold are swapped: from the untold one towards the told one."),
        ),
    ),
    hints=(
        N_("Guide the two pictures first, as in the last exercise."),
        N_("Then solve x_t = alpha * x0 + sigma * noise for the noise."),
        N_("`(x_t - alpha * x0_pred) / sigma`, with the guided `x0_pred`."),
    ),
    why=N_(
        "At one x_t the noise is an affine function of the picture, and guidance takes shares that "
        "add up to 1. Such shares pass through every affine function, so guiding first or last is "
        "the same."
    ),
    notice=N_(
        "So nobody has to ask what a network predicts before guiding it. It ends where pictures "
        "are clipped: a clip is not affine."
    ),
)


def my_width(h_told, h_untold, scale):
    """Widths (N,) of two Gaussians of equal mean → the width at which the guided ODE ends."""
    return h_told * (h_told / h_untold) ** (scale - 1)


def _widths(draw):
    yield draw.tensor(0.5), draw.tensor(1), 3
    for count in (4, 6):
        h_told = draw.uniform(count, low=0.3, high=0.9)
        yield h_told, h_told + draw.uniform(count, low=0.05), 1 + 3 * draw.uniform(1).item()


width = Exercise(
    name="width",
    answer=my_width,
    cases=_widths,
    slips=(
        Slip(
            lambda h_told, h_untold, scale: (scale / h_told**2 - (scale - 1) / h_untold**2) ** -0.5,
            N_(
                "That is the tilted density, told^scale * untold^(1 - scale): what guidance is "
                "often said to draw. But what is tilted at each level are the *noisy* densities, "
                "and these are not the tilted density with noise: the ODE ends narrower."
            ),
        ),
        Slip(
            lambda h_told, h_untold, scale: h_told * (h_told / h_untold) ** scale,
            N_("One factor too many: at scale 1 nothing is guided, and `h_told` should be left."),
        ),
        Slip(
            lambda h_told, h_untold, scale: (h_told / h_untold) ** scale,
            N_("No width is left in it: h_told to the scale over h_untold to the scale *minus 1*."),
        ),
        Slip(
            lambda h_told, h_untold, scale: h_told * (h_untold / h_told) ** (scale - 1),
            N_("Upside down: a told Gaussian that is narrower is made narrower still."),
        ),
        Slip(
            lambda h_told, h_untold, scale: h_untold + scale * (h_told - h_untold),
            N_(
                "The widths themselves were guided, and soon fall below 0. What is guided are the "
                "directions, and a direction changes the *logarithm* of the width."
            ),
        ),
    ),
    hints=(
        N_("Without guidance, d log x / d sigma is sigma / (h² + sigma²). What is its integral?"),
        N_(
            "½ log(h² + sigma²). The guided one is scale times the told one, minus (scale - 1) "
            "times the untold one."
        ),
        N_("At sigma = 0 that is the log of h_told**scale / h_untold ** (scale - 1)."),
    ),
    why=N_(
        "At a level sigma each Gaussian pulls x to the middle by sigma / (h² + sigma²), and the "
        "pulls are guided. Added up from a large sigma to 0, the logarithms of the two widths are "
        "guided as well, and the start cancels."
    ),
    notice=N_(
        "Widths 0.5 and 1 at scale 3: 0.125, where the tilted density has 0.316. Guidance makes "
        "pictures more alike than its usual explanation says (Bradley & Nakkiran 2024)."
    ),
)


def my_calls(timesteps, low, high, scale):
    """timesteps (N,), guided where low <= t < high, elsewhere told alone → how many calls."""
    if scale == 1:
        return len(timesteps)
    guided = (timesteps >= low) & (timesteps < high)
    return len(timesteps) + int(guided.sum())


def _walks(draw):
    timesteps = 999 - 125 * torch.arange(8, device=draw.device)
    yield timesteps, 374, 749, 3.0
    yield timesteps, 374, 749, 1.0
    yield timesteps[1::2], 100, 624, 2.0
    for count in (10, 25):
        timesteps = draw.integers(0, 1000, count).sort(descending=True).values
        low, high = draw.integers(0, 1000, 2).sort().values.tolist()
        yield timesteps, low, high, 4.0


def _counted(count):
    """A slip: calls counted in another way, of the number of steps and what is inside."""

    def wrong(timesteps, low, high, scale):
        if scale == 1:
            return len(timesteps)
        return len(timesteps) + int(count(timesteps, low, high))

    return wrong


interval = Exercise(
    name="interval",
    answer=my_calls,
    cases=_walks,
    slips=(
        Slip(
            _counted(lambda t, low, high: len(t)),
            N_("Twice in each step: outside of the interval nothing is guided, and one call does."),
        ),
        Slip(
            _counted(lambda t, low, high: ((t >= low) & (t <= high)).sum()),
            N_("`high` itself is outside: low <= t < high."),
        ),
        Slip(
            _counted(lambda t, low, high: ((t > low) & (t < high)).sum()),
            N_("`low` itself is inside: low <= t < high."),
        ),
        Slip(
            lambda timesteps, low, high, scale: (
                len(timesteps) + int(((timesteps >= low) & (timesteps < high)).sum())
            ),
            N_("At scale 1 the told answer is all, so a second call would be for nothing."),
        ),
        Slip(
            _counted(lambda t, low, high: ((t < low) | (t >= high)).sum()),
            N_("The other way round: two calls *inside* of the interval, one outside."),
        ),
        Slip(
            _counted(lambda t, low, high: 2 * ((t >= low) & (t < high)).sum() - len(t)),
            N_("Outside the interval the network is called as well: once, told the label."),
        ),
    ),
    hints=(
        N_("Every step needs one call, for the told answer."),
        N_("A second one comes where low <= t < high. How many timesteps are there?"),
        N_("`len(timesteps) + int(((timesteps >= low) & (timesteps < high)).sum())`, but at 1?"),
    ),
    why=N_(
        "The told answer is needed everywhere and the untold one only where it is used. "
        "Calls are nearly all of the time that drawing takes, so this is the price."
    ),
    notice=N_(
        "An interval over half of the steps costs 1.5 times the plain walk instead of 2 times, and "
        "often draws better, too (Kynkäänniemi et al. 2024)."
    ),
)
