"""Precision, recall and diversity: do samples look real, could every real picture be one of them,
and how much do those of one class differ?"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
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


def diversity(
    pictures: Pictures, labels: Int64[Tensor, " N"], features: str | nn.Module = "auto"
) -> float:
    """How far two pictures of one class are apart: the mean distance over all pairs.

    The mean over the classes that hold at least two; `features` as in `frechet_distance`.
    Raises ValueError where no class does, or for another number of labels.
    """
    if labels.shape != pictures.shape[:1]:
        raise ValueError(f"labels must hold {len(pictures)} classes, got {tuple(labels.shape)}")
    seen, _ = features_of(pictures, pictures[:2], features)
    apart = [torch.pdist(seen[labels == label]) for label in labels.unique()]
    apart = [distances.mean() for distances in apart if len(distances)]
    if not apart:
        raise ValueError(f"labels must give a class two pictures, got {labels.tolist()}")
    return torch.stack(apart).mean().item()


def share_among(x: Float[Tensor, "N D"], others: Float[Tensor, "M D"], k: int) -> float:
    """The share of x inside of a ball around one of `others` that reaches its k-th neighbour."""
    radii = torch.cdist(others, others).kthvalue(k + 1, dim=1).values  # the first is itself
    return (torch.cdist(x, others) <= radii).any(dim=1).double().mean().item()
