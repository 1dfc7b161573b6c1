"""The Fréchet distance by hand: of one feature, and of many."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_frechet(a, b):
    """Numbers (N,) and (M,) → squared difference of means + that of standard deviations."""
    return (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2


def _numbers(draw):
    yield draw.tensor(0, 4, 8), draw.tensor(1, 2, 3)
    for n, m in ((20, 30), (7, 7)):
        yield draw.normal(n), 2 * draw.normal(m) + draw.normal(1)


def _distance(of_means, of_deviations):
    """A slip: other functions of the two means and of the two standard deviations."""
    return lambda a, b: of_means(a.mean() - b.mean()) + of_deviations(a.std(), b.std())


frechet = Exercise(
    name="frechet",
    answer=my_frechet,
    cases=_numbers,
    accepts=(
        lambda a, b: (a.mean() - b.mean()) ** 2 + (a.std(correction=0) - b.std(correction=0)) ** 2,
    ),
    slips=(
        Slip(
            _distance(lambda m: m**2, lambda s, t: (s**2 - t**2) ** 2),
            N_("Variances were compared: take the standard deviations, `.std()`."),
        ),
        Slip(
            _distance(lambda m: m**2, lambda s, t: abs(s - t)),
            N_("A square is missing: that of the difference of the standard deviations."),
        ),
        Slip(
            _distance(lambda m: m**2, lambda s, t: 0),
            N_("Only the means: two sets with one mean can still be very different."),
        ),
        Slip(
            lambda a, b: my_frechet(a, b) ** 0.5,
            N_("A root too many: FID, and so this course, reports the *squared* distance."),
        ),
        Slip(
            _distance(lambda m: m, lambda s, t: (s - t) ** 2),
            N_("A square is missing: that of the difference of the means."),
        ),
    ),
    hints=(
        N_("Each set becomes two numbers: `.mean()` and `.std()`."),
        N_("Compare mean with mean, and standard deviation with standard deviation."),
        N_("Square both differences, and add them up."),
    ),
    why=N_(
        "A Gaussian is known by its mean and its standard deviation, so two are compared by these. "
        "With many features the variances become matrices, and the idea stays."
    ),
    notice=N_(
        "Try it on two small sets from the *same* source: it is never quite 0, and the smaller "
        "they are, the larger it is. That is the bias that section 3 measures."
    ),
)


def my_gaussians(mean_a, cov_a, mean_b, cov_b):
    """Means (D,), covariances S, T (D, D) → |mean_a - mean_b|² + tr(S + T - 2 (S T)^½)."""
    of_root = torch.linalg.eigvals(cov_a @ cov_b).real.sqrt().sum()
    return ((mean_a - mean_b) ** 2).sum() + (cov_a + cov_b).trace() - 2 * of_root


def _covariance(draw, size):
    root = draw.normal(size, size)
    return root @ root.T / size + torch.eye(size, dtype=root.dtype, device=root.device) / 2


def _gaussians(draw):
    cov_a, cov_b = draw.tensor([4, 1], [1, 1]), draw.tensor([1, 0], [0, 9])
    yield draw.tensor(0, 0), cov_a, draw.tensor(1, 2), cov_b
    for size in (3, 6):
        yield draw.normal(size), _covariance(draw, size), draw.normal(size), _covariance(draw, size)


def _root(matrix):
    """The symmetric root of a covariance."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.sqrt() @ vectors.T


def _with_root(of_root, factor=2):
    """A slip: another trace of a root, or another factor before it."""

    def wrong(mean_a, cov_a, mean_b, cov_b):
        apart = ((mean_a - mean_b) ** 2).sum() + (cov_a + cov_b).trace()
        return apart - factor * of_root(cov_a, cov_b)

    return wrong


def _of_root(cov_a, cov_b):
    return torch.linalg.eigvals(cov_a @ cov_b).real.sqrt().sum()


gaussians = Exercise(
    name="gaussians",
    answer=my_gaussians,
    cases=_gaussians,
    slips=(
        Slip(
            _with_root(_of_root, factor=1),
            N_(
                "The factor 2 before the root is missing. Test it on two equal Gaussians: with the "
                "2 they are at distance 0."
            ),
        ),
        Slip(
            _with_root(lambda s, t: (_root(s) @ _root(t)).trace()),
            N_(
                "The roots were taken apart, then multiplied. For numbers it would be the same; "
                "for matrices, which do not commute, multiply first and take the root of that."
            ),
        ),
        Slip(
            _with_root(lambda s, t: (s @ t).sqrt().trace()),
            N_(
                "`.sqrt()` takes the root of each entry. A root of a matrix is another thing: "
                "multiplied by itself it gives the matrix. Its trace is the sum of the roots of "
                "the eigenvalues."
            ),
        ),
        Slip(
            _with_root(lambda s, t: (s @ t).trace().sqrt()),
            N_("The root of the trace: it should be the trace of the root."),
        ),
        Slip(
            lambda mean_a, cov_a, mean_b, cov_b: (
                my_gaussians(mean_a, cov_a, mean_a, cov_b) + (mean_a - mean_b).norm()
            ),
            N_("The distance of the means has to be squared: a sum of squares, without a root."),
        ),
    ),
    hints=(
        N_("The means first: `((mean_a - mean_b) ** 2).sum()`. Then three traces."),
        N_("The trace of a root is the sum of the roots of the eigenvalues."),
        N_("`torch.linalg.eigvals(cov_a @ cov_b).real` are the eigenvalues, none below 0."),
    ),
    why=N_(
        "The eigenvalues of the product of two covariances are never negative, and the root's "
        "trace is the sum of their roots. In one dimension the line is (s - t)² once more, since "
        "s² + t² - 2 s t is just that."
    ),
    notice=N_("This is the whole formula of FID. What is missing are the features: next cell."),
)
