"""Numbers for quality: two distances, class coverage, confidence, each beside its floor."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from course_utils.evaluation.features import (
    NETWORKS,
    SHIPPED,
    FeatureNetwork,
    Inception,
    Pictures,
)
from course_utils.language import _

CONFIDENT = 0.8  # a probability above this counts as sure


def frechet_distance(
    samples: Pictures, real: Pictures, features: str | nn.Module = "auto"
) -> float:
    """Fréchet distance between two sets of pictures; 0 for equal ones (Heusel et al. 2017, eq. 6).

    uint8 or float [-1, 1]. Small sets score too high: compare only at the same sizes. `features`
    is `"digits"` or `"butterflies"` (auto: by the channels), `"inception"` for the standard FID,
    or a network of your own, (N, C, H, W) → (N, D). Raises ValueError for fewer than 2 pictures.
    """
    return _frechet(*features_of(samples, real, features))


def kernel_distance(samples: Pictures, real: Pictures, features: str | nn.Module = "auto") -> float:
    """Squared mean discrepancy under a cubic kernel (Bińkowski et al. 2018, eq. 4).

    Unbiased: around 0, a little below or above, for two sets of one kind, whatever their sizes.
    Arguments and errors as in `frechet_distance`.
    """
    return _kernel(*features_of(samples, real, features))


class Classes(NamedTuple):
    """What a classifier sees in a set of pictures: each class's share, and how sure it is.

    `coverage_factor` is how many times off an even share the worst class is: 1 is even, infinity
    means that a class is missing. `confident` is the share with a probability above 0.8, `labels`
    the most probable class of each picture.
    """

    shares: Float[Tensor, " classes"]
    coverage_factor: float
    confident: float
    labels: Int64[Tensor, " N"]


def classify(pictures: Pictures, features: str | nn.Module = "auto") -> Classes:
    """Which classes a set of pictures holds, by a shipped network; arguments as above.

    Raises TypeError for a network that does not classify.
    """
    network = pick_features(features, pictures)
    if not hasattr(network, "classify"):
        raise TypeError(f"{features!r} gives features, no classes: use {', '.join(NETWORKS)}")
    with torch.no_grad():
        parts = [network.classify(batch) for batch in pictures.cpu().split(250)]
    sureness, chosen = torch.cat(parts).max(dim=1)
    shares = torch.bincount(chosen, minlength=parts[0].shape[1]) / len(chosen)
    even = shares * len(shares)
    factor = max(even.max().item(), 1 / even.min().item() if even.min() > 0 else float("inf"))
    return Classes(shares, factor, (sureness > CONFIDENT).float().mean().item(), chosen)


def agreement(
    pictures: Pictures, labels: Int64[Tensor, " N"], features: str | nn.Module = "auto"
) -> float:
    """Does the model listen? The share of pictures in which a classifier sees the class asked for.

    Of real held-out digits it sees 99 %. Raises ValueError unless there is a label for
    each picture; arguments as above.
    """
    if labels.shape != pictures.shape[:1]:
        raise ValueError(
            f"labels must hold one class for each of the {len(pictures)} pictures, "
            f"got shape {tuple(labels.shape)}"
        )
    return (classify(pictures, features).labels == labels.cpu()).float().mean().item()


def compare(
    sets: Mapping[str, Pictures],
    real: Pictures,
    floor: Pictures,
    features: str | nn.Module = "auto",
):
    """A table (a pandas DataFrame) with one row for each set of samples, and real pictures below.

    All sets hold N pictures, and `floor`, real ones that are not in `real`, gives its first N: no
    model can be expected to score better. N stands in the columns' names.
    Raises ValueError for sets of different sizes, or a floor of fewer pictures.
    """
    import pandas

    sizes = {name: len(pictures) for name, pictures in sets.items()}
    n = min(sizes.values(), default=0)
    if len(set(sizes.values())) != 1 or n > len(floor):
        raise ValueError(
            f"sets must hold equally many pictures, and floor no fewer; got {sizes} "
            f"and a floor of {len(floor)}: compare the first {min(n, len(floor))} of each"
        )
    network = pick_features(features, real)
    rows = {}
    for name, pictures in {**sets, _("real pictures (floor)"): floor[:n]}.items():
        seen = features_of(pictures, real, network)
        row = {_("Fréchet"): _frechet(*seen), _("kernel"): _kernel(*seen)}
        if hasattr(network, "classify"):
            classes = classify(pictures, network)
            row[_("coverage factor")] = classes.coverage_factor
            row[_("confident")] = classes.confident
        rows[name] = {f"{number} ({n})": value for number, value in row.items()}
    return pandas.DataFrame(rows).T


def pick_features(features: str | nn.Module, pictures: Pictures) -> nn.Module:
    """The network that `features` names; `"auto"` goes by the number of channels.

    Raises ValueError for another name, or pictures of another number of channels.
    """
    if isinstance(features, nn.Module):
        return features
    if features == "inception":
        return Inception().eval()
    num_channels = pictures.shape[1]
    if features == "auto":
        for name, (channels, *_) in SHIPPED.items():
            if channels == num_channels:
                features = name
    wanted = SHIPPED.get(features.removesuffix("-second"), (None,))[0]
    if features == "auto" or wanted not in (None, num_channels):
        raise ValueError(
            f"pictures must have 1 channel (digits) or 3 (butterflies), got {num_channels} for "
            f"features={features!r}: pass a network of your own"
        )
    return FeatureNetwork.shipped(features)


def features_of(
    samples: Pictures, real: Pictures, features: str | nn.Module = "auto"
) -> tuple[Float[Tensor, "N D"], Float[Tensor, "M D"]]:
    """Both sets' features in float64; arguments and errors as in `frechet_distance`."""
    for name, pictures in (("samples", samples), ("real", real)):
        if pictures.ndim != 4 or len(pictures) < 2:
            got = f"got {len(pictures)}: shape {tuple(pictures.shape)}"
            raise ValueError(f"{name} must hold at least 2 pictures (N, C, H, W), {got}")
    network = pick_features(features, samples)
    with torch.no_grad():
        return tuple(
            torch.cat([network(batch).double() for batch in pictures.cpu().split(250)])
            for pictures in (samples, real)
        )


class _Given(nn.Identity):
    """Features that are there already, for torchmetrics, which asks how many there are."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features


def _frechet(samples: Tensor, real: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    distance = FrechetInceptionDistance(_Given(samples.shape[1]))
    distance.update(samples, real=False)
    distance.update(real, real=True)
    return distance.compute().item()


def _kernel(samples: Tensor, real: Tensor) -> float:
    from torchmetrics.image.kid import poly_kernel

    def within(x: Tensor) -> Tensor:  # the mean over all pairs, but of a picture with itself
        kernel = poly_kernel(x, x)
        return (kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))

    return (within(samples) + within(real) - 2 * poly_kernel(samples, real).mean()).item()
