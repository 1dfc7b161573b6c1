"""Numbers: the Fréchet distance in one dimension, and a weight for each noise level."""

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_frechet(a, b):
    """Two heaps of numbers, (N,) and (M,) → (difference of means)² + (difference of spreads)²."""
    return (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2


def _heaps(draw):
    yield draw.tensor(0, 4, 8), draw.tensor(1, 2, 3)
    for n, m in ((20, 30), (7, 7)):
        yield draw.normal(n), 2 * draw.normal(m) + draw.normal(1)


def _distance(mean, spread):
    """A slip: other functions of the two means and of the two spreads."""
    return lambda a, b: mean(a.mean() - b.mean()) + spread(a.std(), b.std())


frechet = Exercise(
    name="frechet",
    answer=my_frechet,
    cases=_heaps,
    accepts=(
        lambda a, b: (a.mean() - b.mean()) ** 2 + (a.std(correction=0) - b.std(correction=0)) ** 2,
    ),
    slips=(
        Slip(
            _distance(lambda m: m**2, lambda s, t: (s**2 - t**2) ** 2),
            N_("Variances for spreads: compare the standard deviations, `.std()`."),
        ),
        Slip(
            _distance(lambda m: m**2, lambda s, t: abs(s - t)),
            N_("A square is missing: that of the difference of the spreads."),
        ),
        Slip(
            _distance(lambda m: m**2, lambda s, t: 0),
            N_("Only the means: two heaps with one mean can still be very different."),
        ),
        Slip(
            lambda a, b: my_frechet(a, b) ** 0.5,
            N_("A root too many: the Fréchet distance of this course is the *squared* one."),
        ),
        Slip(
            _distance(lambda m: m, lambda s, t: (s - t) ** 2),
            N_("A square is missing: that of the difference of the means."),
        ),
    ),
    hints=(
        N_("Each heap becomes two numbers: `.mean()` and `.std()`."),
        N_("Compare mean with mean and spread with spread."),
        N_("Square both differences, and add them up."),
    ),
    why=N_(
        "A Gaussian is known by its mean and its spread, so two of them are compared by these. "
        "With many features the spreads become matrices, and the idea stays."
    ),
    notice=N_(
        "Try it on two small heaps from the *same* source: it is never quite 0, and the smaller "
        "they are, the larger it is. That is the bias of the figure above."
    ),
)


def my_weights(alphas, sigmas, gamma):
    """alphas, sigmas (T,) → (T,): the signal-to-noise ratio (alpha / sigma)², at most gamma."""
    return ((alphas / sigmas) ** 2).clamp(max=gamma)


def _curves(draw):
    yield draw.tensor(0.9, 0.6, 0.1), draw.tensor(0.1, 0.8, 0.9), 5.0
    for T, gamma in ((10, 5.0), (25, 2.0)):
        sigmas = draw.uniform(T, low=0.05, high=0.95).sort().values
        yield 1 - sigmas, sigmas, gamma


min_snr = Exercise(
    name="min_snr",
    answer=my_weights,
    cases=_curves,
    slips=(
        Slip(
            lambda alphas, sigmas, gamma: ((alphas / sigmas) ** 2).clamp(min=gamma),
            N_("At *least* gamma: `clamp(min=…)` lifts the small ones. Cut off the large ones."),
        ),
        Slip(
            lambda alphas, sigmas, gamma: (alphas / sigmas).clamp(max=gamma),
            N_("The square is missing: the ratio compares variances, as (alpha / sigma)²."),
        ),
        Slip(
            lambda alphas, sigmas, gamma: ((sigmas / alphas) ** 2).clamp(max=gamma),
            N_("Upside down: that is noise to signal. It should be large where noise is faint."),
        ),
        Slip(
            lambda alphas, sigmas, gamma: (alphas / sigmas) ** 2,
            N_("Without a limit: nearly clean pictures would outweigh all others together."),
        ),
    ),
    hints=(
        N_("Signal is alpha, noise is sigma; the ratio is squared."),
        N_("Then cut off what lies above gamma: `torch.minimum` or `clamp` can do it."),
        N_("`((alphas / sigmas) ** 2).clamp(max=…)`."),
    ),
    why=N_(
        "The ratio says how much can be known about the picture at a level, so errors count more "
        "where it could have been known. The limit keeps the nearly clean levels in bounds."
    ),
    notice=N_(
        "This is the curve of `sample` in the figure above: flat where it is cut off, and falling "
        "to 0 where only noise is left."
    ),
)
