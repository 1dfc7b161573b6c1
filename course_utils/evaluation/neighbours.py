"""Precision and recall: do samples look real, and could every real picture be a sample?"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.evaluation.distances import features_of
from course_utils.evaluation.features import Pictures


class PrecisionRecall(NamedTuple):
    """The share of samples among the real pictures, and of real pictures among the samples."""

    precision: float
    recall: float


def precision_recall(
    samples: Pictures, real: Pictures, features: str | nn.Module = "auto", *, k: int = 3
) -> PrecisionRecall:
    """Two shares, 1 is best (Kynkäänniemi et al. 2019, eq. 1 and 2).

    A picture is among others if it lies, in `features` as in `frechet_distance`, no farther from
    one of them than that one's k-th neighbour of its own set. Compare only at the same sizes.
    Raises ValueError unless both sets hold more than k >= 1 pictures.
    """
    smaller = min(len(samples), len(real))
    if not 1 <= k < smaller:
        raise ValueError(
            f"k must lie in [1, {smaller - 1}], below the {smaller} pictures of the smaller set; "
            f"got {k}"
        )
    samples, real = features_of(samples, real, features)
    return PrecisionRecall(share_among(samples, real, k), share_among(real, samples, k))


def share_among(x: Float[Tensor, "N D"], others: Float[Tensor, "M D"], k: int) -> float:
    """The share of x inside of a ball around one of `others` that reaches its k-th neighbour."""
    radii = torch.cdist(others, others).kthvalue(k + 1, dim=1).values  # the first is itself
    return (torch.cdist(x, others) <= radii).any(dim=1).double().mean().item()
