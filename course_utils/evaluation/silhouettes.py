"""Does a butterfly fill the shape that was asked for? Silhouettes found in pictures, compared."""

from functools import cache

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.checks import check_same_shape
from course_utils.evaluation.features import Pictures
from course_utils.images import to_model_range, to_uint8
from course_utils.runtime import PRETRAINED

SIZE = 32  # pixels
WEIGHTS = PRETRAINED / "butterflies_silhouettes.safetensors"


def find_silhouettes(pictures: Pictures) -> Bool[Tensor, "N 1 H W"]:
    """What of each picture is butterfly: neither paper nor shadow nor antennae.

    (N, 3, H, W), uint8 or float [-1, 1]; resized to 32 pixels, and the answer back. A network of
    3,833 weights decides, pixel by pixel, trained on exact masks by tests/bench/train_pretrained.py
    (no threshold tells a white wing from pale paper). On new drawings it overlaps with these by
    98 %.
    """
    x = to_model_range(to_uint8(pictures.cpu()))
    size = x.shape[-2:]
    if size != (SIZE, SIZE):
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = torch.cat([_shipped()(part) for part in x.split(250)])
    if size != (SIZE, SIZE):
        logits = F.interpolate(logits, size, mode="bilinear")
    return logits > 0


def overlap(
    silhouettes: Shaped[Tensor, "N 1 H W"], others: Shaped[Tensor, "N 1 H W"]
) -> Float[Tensor, " N"]:
    """Intersection over union of each pair: 1 for equal shapes, 0 for ones that do not touch.

    bool, uint8 with 255 inside, or float from 0 to 1: inside is more than half. Two empty ones
    overlap by 1. Raises ValueError for different shapes.
    """
    check_same_shape("others", others, "silhouettes", silhouettes)
    a, b = (_inside(x.cpu()).flatten(1) for x in (silhouettes, others))
    both, either = (a & b).sum(1), (a | b).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones(()))


def finder() -> nn.Sequential:
    """The network that finds silhouettes, untrained: three convolutions that see 21 pixels wide."""
    layers = []
    for channels, dilation in ((3, 1), (8, 2), (8, 2)):
        options = {"padding": 2 * dilation, "padding_mode": "replicate"}  # the border is no hint
        layers += [nn.Conv2d(channels, 8, 5, dilation=dilation, **options), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 1, 1))


@cache
def _shipped() -> nn.Sequential:
    from safetensors.torch import load_file

    with torch.device("meta"):  # no random weights are drawn to be overwritten
        network = finder()
    network.load_state_dict(load_file(WEIGHTS), assign=True)
    return network.float().eval().requires_grad_(False)


def _inside(x: Tensor) -> Bool[Tensor, "*shape"]:
    if x.dtype == torch.bool:
        return x
    return x > (127 if x.dtype == torch.uint8 else 0.5)
