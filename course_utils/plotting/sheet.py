"""A contact sheet: many pictures in rows, drawn as one, with words around them.

Lengths are in pixels of the pictures, `inch` of which are drawn as one inch.
"""

from math import ceil
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from torch import Tensor
from torch.nn.functional import pad

from course_utils.images import make_grid
from course_utils.language import _
from course_utils.plotting.style import (
    FRAME,
    TITLE,
    add_note,
    in_lines,
    new_axes,
    set_fonts,
    text_inches,
)

BROKEN = (1.0, 0.0, 1.0)
CAPTION, LABEL = 9, 10  # sizes of letters in points


class _Places(NamedTuple):
    """Where pictures of w by h pixels lie, with room for captions between the rows and below."""

    count: int
    columns: int
    w: int
    h: int
    between: int = 0
    below: int = 0

    @property
    def gap(self):
        return ceil(0.06 * self.w)

    @property
    def corners(self):
        """The left upper corner of each picture."""
        right, down = self.w + self.gap, self.h + self.gap + self.between
        places = (divmod(i, self.columns) for i in range(self.count))
        return [(column * right, row * down) for row, column in places]

    @property
    def size(self):
        """Width and height of the sheet."""
        width = self.columns * (self.w + self.gap) - self.gap
        return width, self.corners[-1][1] + self.h + self.below


def draw_sheet(
    x: Float[Tensor, "B C H W"],
    ax: Axes | None,
    columns: int,
    title: str | None,
    captions: list,
    labels: list | tuple = (),
) -> Axes:
    """Draw x (B, C, H, W) in [0, 1], NaN where it is not finite; what ax showed is replaced.

    The captions stand below the last pictures, the labels beside the rows.
    """
    beside = max((text_inches(label, LABEL) for label in labels), default=0)
    places = _Places(len(x), columns, x.shape[3], x.shape[2])
    inch = _pixels_per_inch(ax, places, beside)
    captions = [in_lines(caption, CAPTION, places.w / inch) for caption in captions]
    room = ceil(inch * max((0.15 * c.count("\n") + 0.2 for c in captions), default=0))
    places = places._replace(between=room if len(captions) > columns else 0, below=room)
    ax = _new_page(places, inch, beside, title) if ax is None else ax
    for artist in [*ax.images, *ax.texts, *ax.collections, *ax.child_axes]:
        artist.remove()
    _draw_pictures(ax, x, places)
    _write(ax, title, captions, labels, places, inch)
    broken = ~x.isfinite().all(dim=1)
    if broken.any():
        note = _("{count:,} of {total:,} pixels are not finite (magenta)")
        add_note(ax, note.format(count=broken.sum(), total=broken.numel()))
    return set_fonts(ax)


def _pixels_per_inch(ax, places, beside):
    """So that pictures are at most 2 inches wide on an 8 by 9 page, or fit into ax."""
    width, height = places.size
    if ax is None:
        return max(places.w / 2, width / (8 - beside), height / 9)
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return dpi * max(width / box.width, height / box.height)


def _new_page(places, inch, beside, title):
    """An ax on a figure that is as large as what will be drawn."""
    width, height = (length / inch for length in places.size)
    width = max(width + beside, text_inches(title or "", TITLE))
    return new_axes(None, width + 0.15, height + 0.15 + 0.3 * bool(title))


def _draw_pictures(ax, x, places):
    """All pictures as one, and a thin line around each: paper stands out from the page."""
    gap = places.gap
    grid = make_grid(pad(_paint(x), (0, 0, 0, places.between)), places.columns, gap, fill=0.0)
    extent = (-gap, grid.shape[2] - gap, grid.shape[1] - gap, -gap)
    ax.imshow(grid.permute(1, 2, 0).numpy(), extent=extent, interpolation="nearest")
    w, h = places.w, places.h
    boxes = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y in places.corners]
    frame = {"facecolors": "none", "edgecolors": FRAME, "linewidths": 0.5, "clip_on": False}
    ax.add_collection(PolyCollection(boxes, **frame))
    width, height = places.size
    ax.set(aspect="equal", xlim=(0, width), ylim=(height, 0), xticks=[], xlabel="")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _paint(x):
    """RGBA: one colour as ink on paper, pixels that are not finite in magenta."""
    broken = ~x.isfinite().all(dim=1, keepdim=True)
    rgb = 1 - x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
    rgb = torch.where(broken, x.new_tensor(BROKEN)[:, None, None], rgb)
    return torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)


def _write(ax, title, captions, labels, places, inch):
    if title:
        ax.set_title(title, size=TITLE)
    middles = [top + places.h / 2 for _left, top in places.corners[:: places.columns]]
    ax.set_yticks(middles[: len(labels)], labels, size=LABEL)
    look = {"ha": "center", "va": "top", "size": CAPTION, "color": ax.title.get_color()}
    for caption, (left, top) in zip(captions[::-1], places.corners[::-1], strict=False):
        ax.text(left + places.w / 2, top + places.h + inch / 24, caption, **look)
