"""Rows and grids of pictures, drawn on `ax` or on a new white figure; each returns the ax.

Images are uint8, or float in `value_range` and clipped; C is 3, or 1, drawn as dark ink on white
paper. Pixels that are not finite are drawn in magenta and counted below the picture.
Bad input raises TypeError or ValueError that says what to pass instead.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from torch import Tensor

from course_utils.checks import check_images, check_positive
from course_utils.language import N_, _
from course_utils.plotting.sheet import draw_sheet
from course_utils.plotting.style import new_axes, set_fonts
from course_utils.schedule import NoiseSchedule

POSTER = 19  # points of its title
Range = tuple[float | int, float | int]
FILM = {"x_t": N_("after the step"), "x0_pred": N_("what the model\nthinks it will be")}


def show_images(
    x: Shaped[Tensor, "*B C H W"],
    ax: Axes | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    captions: Iterable | None = None,
    value_range: Range = (-1, 1),
    max_images: int = 64,
) -> Axes:
    """One image (C, H, W) or a batch (B, C, H, W) as a grid, a short caption below each.

    Of more than `max_images` the first are shown, and the title says so.
    """
    check_positive(columns=columns, max_images=max_images)
    x = check_images("x", x[None] if isinstance(x, Tensor) and x.ndim == 3 else x)
    captions = _check_captions(captions, len(x), "image")[:max_images]
    if len(x) > max_images:
        title = _("{title} (the first {count} of {total:,})").format(
            title=title or _("images"), count=max_images, total=len(x)
        )
    x = to_unit(x[:max_images], value_range)
    return draw_sheet(x, ax, columns or columns_for(len(x)), title, captions)


def show_rows(
    rows: dict[str, Tensor],
    ax: Axes | None = None,
    *,
    title: str | None = None,
    captions: Iterable | None = None,
    value_range: Range = (-1, 1),
) -> Axes:
    """Batches (B, C, H, W) of one shape under each other, labelled; captions below the columns."""
    batches = [to_unit(check_images(f"rows[{k!r}]", x), value_range) for k, x in rows.items()]
    if len({x.shape for x in batches}) != 1:
        shapes = {name: tuple(x.shape) for name, x in rows.items()}
        raise ValueError(f"rows must hold one or more batches of one shape, got {shapes}")
    captions = _check_captions(captions, len(batches[0]), "column")
    return draw_sheet(torch.cat(batches), ax, len(batches[0]), title, captions, list(rows))


def show_corruption(
    x0: Float[Tensor, "B C H W"],
    schedule: NoiseSchedule,
    ax: Axes | None = None,
    *,
    num_levels: int = 8,
    noise: Float[Tensor, "B C H W"] | None = None,
    generator: torch.Generator | None = None,
    title: str | None = None,
) -> Axes:
    """Each of at most 8 images in [-1, 1] as a row, noisier to the right, at `num_levels` levels.

    An image keeps its noise along the row: `noise`, or drawn from `generator` (default: seed 0).
    """
    if len(check_images("x0", x0)) > 8:
        raise ValueError(f"x0 must hold at most 8 images, got {len(x0)}: pass x0[:8]")
    timesteps = _evenly("num_levels", num_levels, len(schedule))
    if noise is None:
        generator = generator or torch.Generator().manual_seed(0)
        noise = torch.randn(x0.shape, generator=generator, device=generator.device).to(x0)
    x_t = [schedule.add_noise(x0, noise, torch.full((len(x0),), t)) for t in timesteps]
    x_t = to_unit(torch.stack(x_t, dim=1).flatten(0, 1), (-1, 1))
    return draw_sheet(x_t, ax, len(timesteps), title, [f"t={t}" for t in timesteps])


def show_film(
    steps: Iterable,
    ax: Axes | None = None,
    *,
    num_frames: int = 8,
    image_index: int = 0,
    title: str | None = None,
) -> Axes:
    """One image on its way: x_t after evenly chosen `steps` of `sample(...)`, x0_pred below it.

    The captions are the timesteps that the model was asked about.
    """
    steps = check_steps(steps)
    if not 0 <= image_index < len(steps[0].x_t):
        last = len(steps[0].x_t) - 1
        raise ValueError(f"image_index must lie in [0, {last}], got {image_index}")
    frames = [steps[i] for i in _evenly("num_frames", num_frames, len(steps))]
    rows = {
        f"{name}\n{_(words)}": torch.stack([getattr(step, name)[image_index] for step in frames])
        for name, words in FILM.items()
    }
    return show_rows(rows, ax, title=title, captions=[f"t={step.timestep}" for step in frames])


def show_poster(
    x: Shaped[Tensor, "B C H W"],
    ax: Axes | None = None,
    *,
    title: str,
    words: str,
    columns: int = 4,
    value_range: Range = (-1, 1),
) -> Axes:
    """The pictures as one sheet to hang up or to send: a large title, and `words` below.

    `ax.figure.savefig(path, dpi=200)` writes it.
    """
    check_positive(columns=columns)
    x = to_unit(check_images("x", x), value_range)
    rows = -(-len(x) // columns)
    side = 6 / columns  # inches for a picture
    ax = new_axes(None, 6.4, side * rows * x.shape[2] / x.shape[3] + 1.4) if ax is None else ax
    draw_sheet(x, ax, columns, None, [])
    ax.set_title(title, size=POSTER, family="serif", pad=16)
    ax.set_xlabel(words, size=9, labelpad=12)
    return set_fonts(ax)


def to_unit(x, value_range):
    """A batch as float [0, 1] on the CPU, clipped; pixels that are not finite become NaN."""
    low, high = value_range
    if not low < high:
        raise ValueError(f"value_range must be (low, high) with low < high, got {value_range}")
    x = x.detach().cpu()
    unit = x / 255 if x.dtype == torch.uint8 else (x.float() - low) / (high - low)
    return torch.where(unit.isfinite(), unit.clamp(0, 1), torch.nan)


def columns_for(count):
    """At most 8 columns, the rows as even as they can be."""
    return -(-count // -(-count // 8))


def _evenly(name, count, length):
    """`count` indices from 0 to length - 1, both included; all where there are fewer."""
    if count < 2:
        raise ValueError(f"{name} must be at least 2, the first and the last; got {count}")
    count = min(count, length)
    return [round(i * (length - 1) / max(1, count - 1)) for i in range(count)]


def check_steps(steps):
    """A list of what `sample` yields. Raises ValueError where there is none."""
    steps = list(steps)
    if not steps:
        raise ValueError("steps must not be empty: pass list(sample(...)), not a used-up generator")
    if not all(hasattr(steps[0], name) for name in ("timestep", *FILM)):
        raise TypeError(f"steps must be what sample(...) yields, got {type(steps[0]).__name__}")
    return steps


def _check_captions(captions, count, what):
    captions = [] if captions is None else [str(caption) for caption in captions]
    if captions and len(captions) != count:
        raise ValueError(f"captions must hold one text for each {what}, {count}; got {captions}")
    return captions
