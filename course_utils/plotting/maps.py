"""Numbers drawn as colours: which word each place attends to, and the channels of latents.

Each draws on `ax`, or on a new white figure, and returns the ax; a bar beside says what the colours
mean, the same for all panels. What is not finite is drawn in magenta and counted below.
Bad input raises TypeError or ValueError that says what to pass instead.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor
from torch.nn.functional import interpolate

from course_utils.checks import check_images, check_positive
from course_utils.language import _
from course_utils.plotting.pictures import Range, columns_for, to_unit
from course_utils.plotting.sheet import draw_sheet
from course_utils.plotting.style import set_fonts

HEAT, SIGNED = "YlOrRd", "RdBu_r"  # from pale to dark; white is 0
PALE = 0.45  # the grey that black is lightened to, so that colours on it can be seen
BAR_INCHES = 0.75


def show_words(
    maps: Float[Tensor, "L h w"],
    words: Sequence[str],
    picture: Shaped[Tensor, "C H W"],
    ax: Axes | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    value_range: Range = (-1, 1),
) -> Axes:
    """The picture, and for each of L words its attention map, enlarged, over the picture in grey.

    All maps, none below 0, share one scale of colours, up to their largest value: they can be
    compared. A cross-attention map is the softmax over the words (Rombach et al. 2022, 3.3), at
    each place the share that a word has.
    """
    check_positive(columns=columns)
    maps, words = _check_maps(maps, words), list(words)
    x = to_unit(check_images("picture", picture[None]), value_range)
    x = 1 - x if x.shape[1] == 1 else x
    x = x.expand(-1, 3, -1, -1)
    top = maps.max().item() or 1.0
    heat = _enlarge(maps, x.shape[-2:]).clamp(0, top) / top
    over = _colours(HEAT, heat) * _pale(x)
    captions = [_("the picture"), *words]
    columns = columns or columns_for(len(captions))
    x, name = torch.cat([x, over]), _("attention")
    return _with_bar(x, ax, columns, title, captions, HEAT, (0, top), name)


def show_latents(
    latents: Float[Tensor, "C H W"],
    ax: Axes | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Axes:
    """Each channel of the latents as a panel: red above 0, blue below, one scale for all."""
    check_positive(columns=columns)
    if latents.ndim != 3 or latents.numel() == 0:
        raise ValueError(f"latents must be (C, H, W), one picture's, got {tuple(latents.shape)}")
    latents = latents.detach().cpu().float()
    finite = latents.isfinite()
    top = torch.where(finite, latents, 0).abs().max().item() or 1.0
    x = _colours(SIGNED, (latents / top + 1) / 2)
    x = torch.where(finite[:, None], x, torch.nan)
    captions = [_("channel {number}").format(number=i) for i in range(len(latents))]
    columns = columns or columns_for(len(latents))
    return _with_bar(x, ax, columns, title, captions, SIGNED, (-top, top))


def _check_maps(maps, words):
    """The maps on the CPU. Raises ValueError unless there is one, not below 0, for each word."""
    if isinstance(words, str):
        raise TypeError(f"words must be a list of texts, got {words!r}: pass {words.split()}")
    if maps.ndim != 3 or maps.numel() == 0 or len(maps) != len(words):
        raise ValueError(
            f"maps must be (L, H, W), one for each of the {len(words)} words; "
            f"got {tuple(maps.shape)}"
        )
    maps = maps.detach().cpu().float()
    if not (maps.isfinite() & (maps >= 0)).all():
        raise ValueError(
            f"maps must be finite and at least 0, got a minimum of {maps.min().item():.3g}: "
            "pass what softmax returns"
        )
    return maps


def _enlarge(maps, size):
    return interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]


def _colours(name, values):
    """Values (B, H, W) in [0, 1] in the colours of this name, (B, 3, H, W)."""
    rgba = torch.from_numpy(colormaps[name](values.numpy())).float()
    return rgba[..., :3].permute(0, 3, 1, 2)


def _pale(x):
    """Pictures (B, 3, H, W) in [0, 1] in light greys, (B, 1, H, W)."""
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return PALE + (1 - PALE) * grey


def _with_bar(x, ax, columns, title, captions, colours, limits, name=""):
    """The sheet of x, and to its right a bar of the colours with the limits beside it."""
    own = ax is None
    ax = draw_sheet(x, ax, columns, title, captions)
    if own:
        width, height = ax.figure.get_size_inches()
        ax.figure.set_size_inches(width + BAR_INCHES, height)
    below = 1 - ax.collections[0].get_paths()[-1].get_extents().y1 / ax.get_ylim()[0]
    place = ax.inset_axes([1.03, below, 0.02 + 0.02 / columns, 1 - below])
    shades, (low, high) = ScalarMappable(Normalize(*limits), colours), limits
    bar = ax.figure.colorbar(shades, cax=place, ticks=[low, (low + high) / 2, high], format="%.2g")
    bar.set_label(name, color=ax.title.get_color())
    bar.outline.set_visible(False)
    place.tick_params(colors=ax.title.get_color(), length=0)
    return set_fonts(ax)
