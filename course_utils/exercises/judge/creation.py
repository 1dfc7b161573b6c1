"""An exercise that is judged by its samples: no two right answers draw the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.exercises.judge.exercise import Exercise
from course_utils.exercises.judge.trials import Trial, draws
from course_utils.language import _

NEARER = 2.0  # times nearer to the data than a Gaussian of its mean and covariance
COPIES = 0.05  # the share of samples that may be training points


@dataclass(eq=False, kw_only=True)
class Creation(Exercise):
    """A function `(points (N, D), generator) → (N, D)` that learns from points and draws new ones.

    The samples must lie much nearer to the points than a Gaussian does that has their mean and
    covariance, by `how_far`, and must not be the points.
    """

    seconds: float = 120.0
    may_draw: bool = True

    def all_cases(self, seed: int) -> Iterator[tuple]:
        """The data sets, in float32 on the CPU: each costs a training."""
        yield from self.cases(next(draws(seed)))

    def expect(self, arguments: tuple) -> Trial:
        """The data themselves stand for what is expected."""
        return Trial(arguments[0])

    def difference(self, expected: Tensor, got: Any) -> str:
        """What is wrong with the samples, in words; "" where they are as the data."""
        alike = isinstance(got, Tensor) and got.shape == expected.shape
        if not alike or got.dtype != expected.dtype:
            return super().difference(expected, got)
        if not torch.isfinite(got).all():
            return _("Some samples are not finite: is something divided by 0 at the last step?")
        if (torch.cdist(got, expected).amin(1) < 1e-4).float().mean() > COPIES:
            return _("These are training points. New ones were asked for.")
        blob = _gaussian_like(expected)
        far, near = how_far(blob, expected), how_far(got, expected)
        if near * NEARER <= far:
            return ""
        text = _(
            "The samples are {near:.3f} away from the data; a plain Gaussian is {far:.3f} away, "
            "and {goal:.3f} or less is wanted. Plot both: `plt.scatter(*samples.T)`."
        )
        return text.format(near=near, far=far, goal=far / NEARER)

    def describe_expected(self, value: Any) -> str:
        """Of what shape it is."""
        return _("new points like these, shape {shape}").format(shape=tuple(value.shape))


def how_far(a: Tensor, b: Tensor) -> float:
    """The mean distance from each of `a` (N, D) to the nearest of `b` (M, D), and the other way
    round, averaged (the Chamfer distance, Barrow et al. 1977): off the data, and left out."""
    distances = torch.cdist(a, b)
    return (distances.amin(0).mean() + distances.amin(1).mean()).item() / 2


def _gaussian_like(points: Tensor) -> Tensor:
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).to(points)
    return points.mean(0) + noise @ torch.linalg.cholesky(torch.cov(points.T)).T
