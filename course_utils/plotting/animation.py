"""The way from noise to picture as a GIF."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.checks import check_images, check_positive
from course_utils.images import make_grid, to_pil
from course_utils.plotting.pictures import check_steps, columns_for


def animate_sampling(
    steps: Iterable,
    path: str | Path | None = None,
    *,
    scale: int = 3,
    frame_ms: int = 80,
    hold_ms: int = 1500,
    columns: int | None = None,
    max_bytes: int = 300_000,
):
    """The x_t of `steps` as an endless GIF, an `IPython.display.Image`; also written to `path`.

    The last picture is held for `hold_ms` in up to 255 colours of its own. The others share as
    many as `max_bytes` leaves room for, at least 5: noise hardly packs, a smaller `scale` helps.
    """
    from IPython.display import Image as Shown

    check_positive(scale=scale, frame_ms=frame_ms, hold_ms=hold_ms, columns=columns)
    frames = [_page(i, step.x_t, columns) for i, step in enumerate(check_steps(steps))]
    durations = [frame_ms] * (len(frames) - 1) + [hold_ms]
    num_colours, data = 255, _encode(frames, 255, scale, durations)
    while len(data) > max_bytes and num_colours > 5:
        num_colours = num_colours * 2 // 3
        data = _encode(frames, num_colours, scale, durations)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    return Shown(data=data, format="gif")


def _page(index, x_t, columns):
    """One frame, pixel for pixel."""
    x_t = check_images(f"steps[{index}].x_t", x_t)
    if not x_t.isfinite().all():
        raise ValueError(f"steps[{index}].x_t holds pixels that are not finite: sampling diverged")
    x_t = -x_t if x_t.shape[1] == 1 else x_t  # ink on paper
    return to_pil(make_grid(x_t, columns or columns_for(len(x_t)))).convert("RGB")


def _encode(frames, num_colours, scale, durations):
    """The bytes of a GIF; the shared palette comes from some 8,000 pixels out of all frames."""
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames])
    spread = pixels[None, :: len(pixels) // 8000 | 1]
    palette = Image.fromarray(np.ascontiguousarray(spread)).quantize(num_colours, kmeans=1)
    pages = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames[:-1]]
    pages.append(frames[-1].quantize(255, dither=Image.Dither.NONE))
    size = (scale * frames[0].width, scale * frames[0].height)
    first, *others = [page.resize(size, Image.Resampling.NEAREST) for page in pages]
    file, options = io.BytesIO(), {"duration": durations, "loop": 0, "optimize": True}
    first.save(file, "GIF", save_all=True, append_images=others, **options)
    return file.getvalue()
