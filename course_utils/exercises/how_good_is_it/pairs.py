"""The kernel distance by hand, pair by pair; and what two real sets are apart."""

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def my_kernel(a, b):
    """Features (N, D), (M, D) → mean in a + mean in b - 2 means between, of (x·y / D + 1)³."""
    aa, bb, ab = ((x @ y.T / x.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within_a = (aa.sum() - aa.trace()) / (len(a) * (len(a) - 1))
    within_b = (bb.sum() - bb.trace()) / (len(b) * (len(b) - 1))
    return within_a + within_b - 2 * ab.mean()


def _features(draw):
    yield draw.tensor([1, 0], [0, 1], [1, 1]), draw.tensor([2, 0], [0, 0])
    for n, m, size in ((6, 9, 4), (5, 5, 3)):
        yield draw.normal(n, size), draw.normal(m, size) + 0.5


def _kernel_slip(scale=lambda x: x.shape[1], power=3, diagonal=False, factor=2):
    """A slip: another kernel, or another way to average it."""

    def alike(x, y):
        return (x @ y.T / scale(x) + 1) ** power

    def within(x):
        pairs = alike(x, x)
        return pairs.mean() if diagonal else (pairs.sum() - pairs.trace()) / (len(x) ** 2 - len(x))

    return lambda a, b: within(a) + within(b) - factor * alike(a, b).mean()


kernel = Exercise(
    name="kernel",
    answer=my_kernel,
    cases=_features,
    slips=(
        Slip(
            _kernel_slip(diagonal=True),
            N_(
                "The diagonal is in it: a picture compared with itself always looks alike. So two "
                "sets of one kind would have a distance above 0, the more the fewer they are."
            ),
        ),
        Slip(
            _kernel_slip(factor=1),
            N_("The pairs between the sets count twice: they stand for a with b and b with a."),
        ),
        Slip(
            _kernel_slip(scale=lambda x: 1),
            N_("Not divided by D: with 64 features the products would be 64 times as large."),
        ),
        Slip(
            _kernel_slip(power=2),
            N_("A square instead of the cube: it would compare means and variances only."),
        ),
        Slip(
            lambda a, b: -my_kernel(a, b),
            N_("Upside down: alike within the sets counts up, alike between them counts down."),
        ),
    ),
    hints=(
        N_("`a @ b.T` holds the products of all pairs. Then / D, + 1, and ** 3."),
        N_("Within a set leave the diagonal out: subtract `.trace()`, and count N (N - 1) pairs."),
        N_("Between the sets there is no diagonal: `.mean()` over all pairs, times 2."),
    ),
    why=N_(
        "If both sets come from one source, pairs within and pairs between are equally alike, and "
        "the three means cancel. Leaving out the diagonal makes that true for small sets, too: "
        "the estimate is unbiased."
    ),
    notice=N_(
        "It can be negative, and for two sets of one source it is, about half of the time: only "
        "so can its mean be 0."
    ),
)


def measure_floor():
    """The Fréchet distance between 100 real digits and 100 others, as one of the choices."""
    digits = cu.load_digits("train", source="offline").images
    distance = cu.frechet_distance(digits[:100], digits[100:200])
    if distance < 0.5:
        return "0" if distance >= 0 else "below 0"
    return "about 1" if distance < 5 else "above 5"


floor = Prediction(
    name="floor",
    answer=measure_floor,
    choices=("below 0", "0", "about 1", "above 5"),
    slips=(
        Slip(
            "0",
            N_(
                "0 it would be for endlessly many. A mean of 100 features is not *the* mean, and "
                "each error of it, squared, counts as distance."
            ),
        ),
        Slip(
            "below 0",
            N_("A sum of squares is never negative. The kernel distance can be, this one can't."),
        ),
        Slip(
            "about 1",
            N_(
                "So near they come with 1,000 digits each. With 100 the covariance, 64 × 64 "
                "numbers, is known from 100 pictures: badly."
            ),
        ),
    ),
    hints=(
        N_("Both sets are real. But are their means and covariances equal?"),
        N_("A covariance of 64 features has 2,080 different entries. How many pictures are there?"),
        N_("Each misfit makes the distance larger, none makes it smaller."),
    ),
    why=N_(
        "Few pictures give a bad estimate of mean and covariance, and the misfit of both sets adds "
        "up. This is a bias: it does not average out, however often you draw."
    ),
    notice=N_(
        "So a model that draws perfectly does not get 0 either. Whoever reports a Fréchet distance "
        "has to say of how many pictures, and what the floor is."
    ),
)
