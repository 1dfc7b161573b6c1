"""What drawn butterflies obey, measured without any network: mirror symmetry and palette."""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from course_utils.data.butterflies import SPECIES, draw_butterflies
from course_utils.evaluation.features import Pictures
from course_utils.images import to_model_range, to_uint8

SHADES = 48  # of each of red, green and blue
TILTS = torch.linspace(-0.1, 0.1, 9)  # of the axis, in radians
SHIFTS = torch.linspace(-0.06, 0.06, 7)  # of the axis, in half-widths


def asymmetry(pictures: Pictures) -> Float[Tensor, " N"]:
    """How much of each picture's contrast its mirror image lacks: 0 is perfect symmetry.

    (N, 3, H, W), uint8 or float [-1, 1]. The mean absolute difference from the mirror image, about
    the best of 63 nearly upright axes, divided by the picture's mean absolute deviation.
    """
    x = to_model_range(to_uint8(pictures.cpu()))
    spread = (x - x.mean((2, 3), keepdim=True)).abs().mean((1, 2, 3))
    best = torch.full((len(x),), float("inf"))
    for tilt in TILTS:
        cos, sin = (2 * tilt).cos(), (2 * tilt).sin()
        for shift in SHIFTS:  # mirror about the line through (shift, 0)
            turn = torch.stack([-cos, -sin, shift * (1 + cos), -sin, cos, shift * sin]).view(2, 3)
            grid = F.affine_grid(turn.expand(len(x), 2, 3), x.shape, align_corners=False)
            mirror = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
            best = torch.minimum(best, (x - mirror).abs().mean((1, 2, 3)))
    return best / spread.clamp(min=1e-6)


def off_palette(pictures: Pictures) -> Float[Tensor, " N"]:
    """The share of each butterfly's pixels whose colour its species never wears.

    (N, 3, H, W), uint8 or float [-1, 1]. Of the twelve species, the one that fits best counts; the
    paper does not. Colours are told apart in 48 shades of each channel, up to the next shade.
    """
    shades = _shades(to_uint8(pictures.cpu()))
    palettes, paper = _palettes()
    drawn = ~paper[shades]  # (N, pixels)
    foreign = ~palettes[:, shades] & drawn  # (species, N, pixels)
    return (foreign.sum(-1) / drawn.sum(-1).clamp(min=1)).amin(0)


def _shades(images: Tensor) -> Int64[Tensor, "N pixels"]:
    """One number for the colour of each pixel."""
    steps = images.long() * SHADES // 256
    return (steps * torch.tensor([SHADES**2, SHADES, 1]).view(3, 1, 1)).sum(1).flatten(1)


@cache
def _palettes() -> tuple[Bool[Tensor, "species colours"], Bool[Tensor, " colours"]]:
    """Which colours each species wears, and which the paper has, in 200 drawings of each."""
    images, labels = draw_butterflies(200 * len(SPECIES), seed=4)
    shades = _shades(images)
    seen = torch.zeros(len(SPECIES) + 1, SHADES**3)
    seen[labels[:, None], shades] = 1
    seen[-1, _shades(images[:, :, :1])] = 1  # the uppermost row is paper
    cubes = seen.view(-1, 1, SHADES, SHADES, SHADES)
    *palettes, paper = F.max_pool3d(cubes, 3, 1, 1).flatten(1) > 0
    return torch.stack(palettes), paper
