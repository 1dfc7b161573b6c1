"""Does a model draw something new, or what it has seen? The nearest training pictures tell."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from course_utils.evaluation.features import Pictures
from course_utils.images import to_model_range, to_uint8

COPY = 0.5  # a copy is nearer than this times the distance between two real pictures
SUSPICIOUS = 0.1  # more copies than this share are no accident


class Copies(NamedTuple):
    """For each sample its nearest training picture, (N,), and the share of copies.

    `distances` are root-mean-square differences of pixels in [-1, 1]; `closeness` divides them by
    the distance from that training picture to the nearest *other* one, so that 1 is as far as two
    real pictures lie apart. A sample with a closeness below 0.5 counts as a copy, `rate` is their
    share, and a model with a rate above 0.1 has `memorised`.
    """

    nearest: Int64[Tensor, " N"]
    distances: Float[Tensor, " N"]
    closeness: Float[Tensor, " N"]

    @property
    def rate(self) -> float:
        return (self.closeness < COPY).float().mean().item()

    @property
    def memorised(self) -> bool:
        return self.rate > SUSPICIOUS


def find_copies(samples: Pictures, training: Pictures, *, flip: bool = False) -> Copies:
    """Compare samples with the training pictures (after Yoon et al. 2023, §2).

    uint8 or float [-1, 1], of one size. `flip` also looks at the mirrored training pictures: say it
    where the model was trained with them. Exact duplicates in the training set count as one.
    Raises ValueError for no samples, fewer than 2 training pictures, or other sizes.
    """
    if samples.shape[1:] != training.shape[1:] or len(samples) < 1 or len(training) < 2:
        raise ValueError(
            "samples and at least 2 training pictures must be (N, C, H, W) of one size, got "
            f"{tuple(samples.shape)} and {tuple(training.shape)}"
        )
    samples, training = (to_model_range(to_uint8(x.cpu())) for x in (samples, training))
    distances, nearest = _distances(samples, training, flip).min(dim=1)
    apart = _distances(training[nearest], training, flip)
    apart.scatter_(1, nearest[:, None], float("inf"))  # from itself
    apart[apart < 1e-3] = float("inf")  # from its duplicates
    return Copies(nearest, distances, distances / apart.amin(dim=1))


def _distances(a: Tensor, b: Tensor, flip: bool) -> Float[Tensor, "N M"]:
    """Root-mean-square difference of each picture of `a` from each of `b`, or from its mirror."""
    views = [b, b.flip(-1)] if flip else [b]
    a = a.flatten(1)
    distances = [torch.cdist(a, view.flatten(1)) for view in views]
    return torch.stack(distances).amin(dim=0) / a.shape[1] ** 0.5
