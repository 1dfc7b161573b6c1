"""The perfect denoiser: the average of what could have been, the score, and what it draws."""

import torch

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_
from course_utils.schedule import line


def my_posterior_mean(x_t, points, alpha_t, sigma_t):
    """x_t (B, D), points (N, D), two numbers → (B, D): the mean of all points that x_t may be."""
    squares = ((x_t[:, None] - alpha_t * points) ** 2).sum(dim=2)
    weights = torch.softmax(-squares / (2 * sigma_t**2), dim=1)
    return weights @ points


def _clouds(draw):
    yield draw.tensor([0.2], [-0.5]), draw.tensor([-1], [1]), 0.8, 0.5
    for alpha_t, sigma_t in ((0.3, 0.7), (0.9, 0.4)):
        yield draw.normal(5, 2), draw.normal(7, 2), alpha_t, sigma_t
    yield draw.normal(3, 2), draw.normal(4, 2), 0.99, 0.01  # where exp alone would be 0


def _weighted(weigh):
    """A slip: other weights, of the squared distances (B, N) and the levels."""

    def wrong(x_t, points, alpha_t, sigma_t):
        squares = ((x_t[:, None] - alpha_t * points) ** 2).sum(dim=2)
        return weigh(squares, sigma_t) @ points

    return wrong


def _not_shrunk(x_t, points, alpha_t, sigma_t):
    squares = ((x_t[:, None] - points) ** 2).sum(dim=2)
    return torch.softmax(-squares / (2 * sigma_t**2), dim=1) @ points


def _nearest(squares, sigma_t):
    return torch.nn.functional.one_hot(squares.argmin(1), squares.shape[1]).to(squares)


posterior_mean = Exercise(
    name="posterior_mean",
    answer=my_posterior_mean,
    cases=_clouds,
    slips=(
        Slip(
            _not_shrunk,
            N_("Compared with the points themselves: in x_t each has become alpha times itself."),
        ),
        Slip(
            _weighted(lambda squares, sigma_t: torch.softmax(-squares / (2 * sigma_t), dim=1)),
            N_("sigma in place of sigma²: the Gaussian's exponent divides by its variance."),
        ),
        Slip(
            _weighted(lambda squares, sigma_t: torch.softmax(-squares / sigma_t**2, dim=1)),
            N_("The 2 is missing: the exponent of a Gaussian is the square over 2 sigma²."),
        ),
        Slip(
            _weighted(lambda squares, sigma_t: torch.softmax(-squares / (2 * sigma_t**2), dim=0)),
            N_(
                "Softmax over the batch: for each x_t the weights of all *points* should add up "
                "to 1, and those are along dim 1."
            ),
        ),
        Slip(
            _weighted(_nearest),
            N_("The nearest point alone: all that could be x_t count, each with its probability."),
        ),
    ),
    hints=(
        N_("A table first, (B, N): the squared distance from each x_t to alpha times each point."),
        N_("Its weights: softmax over the points of minus the square over 2 sigma²."),
        N_("`weights @ points` is the weighted mean. Softmax subtracts the largest for you."),
    ),
    why=N_(
        "A point could have become x_t if the noise filled the gap, and the Gaussian says how "
        "likely that is. Weighted by that, the mean has the smallest squared error of all."
    ),
    notice=N_(
        "There is no training in it, and no network can beat it on these points: it *is* the "
        "answer that the squared error asks for."
    ),
)


def my_score(x_t, x0_pred, alpha_t, sigma_t):
    """x_t, x0_pred (B, D), two numbers → (B, D): the gradient of log p(x_t), by Tweedie."""
    return (alpha_t * x0_pred - x_t) / sigma_t**2


def _beliefs(draw):
    yield draw.tensor([1, 0]), draw.tensor([0.5, 2]), 0.8, 0.5
    for alpha_t, sigma_t in ((0.3, 0.7), (0.9, 0.2)):
        yield draw.normal(4, 3), draw.normal(4, 3), alpha_t, sigma_t


score = Exercise(
    name="score",
    answer=my_score,
    cases=_beliefs,
    slips=(
        Slip(
            lambda x_t, x0_pred, alpha_t, sigma_t: (x_t - alpha_t * x0_pred) / sigma_t**2,
            N_("Away from the data: the score points to where x_t is more likely. Turn the sign."),
        ),
        Slip(
            lambda x_t, x0_pred, alpha_t, sigma_t: (x0_pred - x_t) / sigma_t**2,
            N_("alpha is missing: at this level the likely place is alpha times the picture."),
        ),
        Slip(
            lambda x_t, x0_pred, alpha_t, sigma_t: (alpha_t * x0_pred - x_t) / sigma_t,
            N_("Divided by sigma once: that is minus the noise. The score has sigma squared."),
        ),
        Slip(
            lambda x_t, x0_pred, alpha_t, sigma_t: alpha_t * x0_pred - x_t,
            N_("The right direction, without its length: it is divided by the noise's variance."),
        ),
    ),
    hints=(
        N_("For one point, log p is minus |x_t - alpha x0|² over 2 sigma². Take its gradient."),
        N_("(alpha x0 - x_t) / sigma². For many points, the mean takes the place of x0."),
        N_("`(alpha_t * x0_pred - x_t) / sigma_t**2`"),
    ),
    why=N_(
        "Each point pulls by (alpha x0 - x_t) / sigma², and as strongly as it is likely. So the "
        "whole pull is that of the mean."
    ),
    notice=N_(
        "A denoiser knows the score, and the other way round: score-based models and diffusion "
        "models are one thing (Vincent 2011; Song et al. 2021)."
    ),
)


def draw_perfectly():
    """What the ODE of the perfect denoiser draws, down to a ratio sigma / alpha of 0.001."""
    points, noise = torch.randn(2, 100, 2, generator=torch.Generator().manual_seed(0))
    ratios = torch.logspace(-3, 2, 40)
    levels = cu.NoiseSchedule(ratios / (1 + ratios), line)

    def model(x_t, timesteps):
        return my_posterior_mean(x_t, points, *levels.point(timesteps[0].item(), x_t)[:2])

    *_, last = cu.sample(model, levels, noise, num_steps=40, prediction_type="sample")
    nearest = torch.cdist(last.x_t, points).amin(1)
    return "copies" if (nearest < 1e-3).float().mean() > 0.9 else "new points"


perfect = Prediction(
    name="perfect",
    answer=draw_perfectly,
    choices=("new points", "copies", "the mean"),
    slips=(
        Slip(
            "new points",
            N_(
                "Between two data points there is no data point, and the perfect denoiser knows: "
                "near the end its mean has a single member."
            ),
        ),
        Slip(
            "the mean",
            N_("That is its first answer, when x_t tells nothing. What are the later ones?"),
        ),
        Slip("noise", N_("Noise is where it begins; each step leaves less of it.")),
    ),
    hints=(
        N_("What is the mean worth when sigma is much smaller than the gaps between the points?"),
        N_("Softmax of minus squares over a tiny sigma²: one weight is 1, the others 0."),
        N_("The last answer is one of the training points, for nearly every start."),
    ),
    why=N_(
        "As sigma shrinks, one point takes all the weight, and the path ends in it. "
        "The best denoiser of these points can only give them back."
    ),
    notice=N_(
        "So whatever is new in a picture comes from the *imperfection* of a network: from what it "
        "couldn't learn by heart, and filled in by what pictures have in common."
    ),
)


def compare_curves():
    """The same steps on the line and on the circle, at the same ratios sigma / alpha."""
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    start = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)).double()
    ratios, ends = torch.logspace(2, -2, 30).double(), []
    for alphas in (1 / (1 + ratios), (1 + ratios**2) ** -0.5):
        sigmas, x = ratios * alphas, ratios[0] * alphas[0] * start
        for i in range(30):
            x0 = my_posterior_mean(x, points, alphas[i], sigmas[i])
            noise = (x - alphas[i] * x0) / sigmas[i]
            x = alphas[i + 1] * x0 + sigmas[i + 1] * noise if i < 29 else x0
        ends.append(x)
    return "the same" if torch.allclose(*ends, atol=1e-10) else "others"


same_ratios = Prediction(
    name="same_ratios",
    answer=compare_curves,
    choices=("the same", "others", "better"),
    slips=(
        Slip(
            "others",
            N_("Divide every x_t by its alpha_t: then only the ratio sigma / alpha is left in it."),
        ),
        Slip(
            "better",
            N_("The line looks straighter, but at equal ratios x_t is the same up to a factor."),
        ),
        Slip(
            "worse",
            N_("The circle keeps the variance, but a factor changes nothing that is drawn."),
        ),
    ),
    hints=(
        N_("x_t / alpha_t = x0 + (sigma_t / alpha_t) noise. What is left of the schedule in it?"),
        N_("The perfect denoiser's weights depend on x_t / alpha_t and on the ratio alone."),
        N_("So both do the same, only in other units."),
    ),
    why=N_(
        "Divided by alpha, the mix is x0 plus the ratio times the noise, whatever the curve. "
        "A curve is a choice of units, and of where the steps lie."
    ),
    notice=N_(
        "Schedules differ in where they put the steps, and in how often training visits each "
        "ratio. That matters; the shape of the curve does not."
    ),
)
