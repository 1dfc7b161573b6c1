"""Pictures, curves and text as HTML: quick to make, described, readable in light and dark themes.

Text and axes take the colour that the front end gives its own text; pictures carry an `alt`.
Curves are SVG, made in 0.4 ms; a figure of matplotlib takes 60, too long to follow a slider.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from torch import Tensor

from course_utils.images import make_grid, to_pil
from course_utils.plotting.style import COLOURS

INK = "var(--colab-primary-text-color, var(--jp-ui-font-color1, currentColor))"
LINES = COLOURS[:2]  # stand out from white and from near black
DASHES = ("", "6 4")
WIDTH, HEIGHT = 380, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 26, 164  # the frame of the curves, from the right edge inwards
MAX_POINTS = 200


def beside(*parts: str) -> str:
    """Parts side by side, or under each other where the page is narrow."""
    style = f"display:flex;flex-wrap:wrap;gap:1em;align-items:flex-end;color:{INK}"
    return f'<div style="{style};font-size:13px;line-height:1.5">{"".join(parts)}</div>'


def words(text: str) -> str:
    """A line of text over the whole width."""
    return f'<div style="flex-basis:100%">{escape(text)}</div>'


def row(parts: Iterable[str], width: int) -> str:
    """Parts of one width beside each other, their tops in one line; long words are broken."""
    cell = f'<div style="width:{width}px;text-align:center;overflow-wrap:anywhere">'
    cells = "".join(f"{cell}{part}</div>" for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:0.6em;flex-basis:100%">{cells}</div>'


def failure(error: Exception) -> str:
    """An error in words."""
    return words(f"{type(error).__name__}: {error}")


def picture(x: Tensor, alt: str, caption: str = "", *, width: int, columns: int = 8) -> str:
    """Images (B, C, H, W) in model range as one picture `width` pixels wide; digits as ink."""
    style = f"display:block;width:{width}px;max-width:100%;image-rendering:pixelated"
    image = f'<img alt="{escape(alt)}" src="{address(x, columns)}" style="{style}">'
    return f'<figure style="margin:0">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def address(x: Tensor, columns: int = 8) -> str:
    """Images (B, C, H, W) in model range as one PNG, which its address itself holds."""
    x = x.detach().cpu()
    x = -x if x.shape[1] == 1 else x
    page = to_pil(make_grid(x, min(columns, len(x)), padding=2 if len(x) > 1 else 0))
    file = io.BytesIO()
    page.save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def bar(share: float | int) -> str:
    """A bar over this share of the width; the number itself stands in the text."""
    style = f"background:{LINES[0]};height:8px;width:{100 * share:.1f}%;min-width:2px"
    return f'<div aria-hidden="true" style="flex-basis:100%"><div style="{style}"></div></div>'


def curves(
    lines: Mapping[str, Sequence[float | int]],
    alt: str,
    *,
    xlabel: str,
    x: Sequence[float | int] | None = None,
    marker: float | int | None = None,
    limits: tuple[float | int, float | int] | None = None,
    log: bool = False,
    std: Sequence[float | int] | None = None,
    width: int = WIDTH,
) -> str:
    """At most two named lines as an SVG, over `x` or their indices; a vertical line at `marker`.

    Points that are not finite are left out; without `limits` the axis spans the values. `std` lays
    a band of one standard deviation around the first line.
    """
    x = list(range(max(map(len, lines.values())))) if x is None else list(x)
    points = {name: _thin(zip(x, y, strict=False)) for name, y in lines.items()}
    band = _band(x, next(iter(lines.values())), std)
    values = [y for line in [*points.values(), band] for _, y in line]
    scale = math.log if log and values and min(values) > 0 else float
    low, high = limits or (min(values, default=0), max(values, default=1))
    to_x = _ruler(x[0], x[-1], LEFT, width - RIGHT)
    to_y = _ruler(scale(low), scale(high), BOTTOM, TOP)

    def trace(line):
        return " ".join(f"{to_x(a):.1f},{to_y(scale(b)):.1f}" for a, b in line)

    parts = [_frame(x[0], x[-1], low, high, xlabel, width - RIGHT)]
    if band:
        parts.append(f'<polygon points="{trace(band)}" fill="{LINES[0]}" fill-opacity="0.3"/>')
    for i, (name, line) in enumerate(points.items()):
        path = trace(line)
        pen = f'fill="none" stroke="{LINES[i]}" stroke-width="2.5" stroke-dasharray="{DASHES[i]}"'
        parts.append(f'<polyline points="{path}" {pen}/>' + _legend(name, i, pen))
    if marker is not None:
        parts.append(_line(to_x(marker), TOP, to_x(marker), BOTTOM, 'stroke-width="2"'))
        for i, y in enumerate(lines.values()):
            at = f'cx="{to_x(marker):.1f}" cy="{to_y(scale(y[x.index(marker)])):.1f}"'
            parts.append(f'<circle {at} r="5" fill="{LINES[i]}" stroke="currentColor"/>')
    size = f'width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}"'
    style = 'style="max-width:100%;font-size:12px"'
    return f'<svg role="img" aria-label="{escape(alt)}" {size} {style}>{"".join(parts)}</svg>'


def _thin(pairs):
    """At most some `MAX_POINTS` of the finite points, the last among them."""
    pairs = [pair for pair in pairs if math.isfinite(pair[1])]
    stride = max(1, len(pairs) // MAX_POINTS)
    return pairs[::-1][::stride][::-1]


def _band(x, means, std):
    """The outline of the band: along its upper edge and back along the lower one."""
    rows = list(zip(x, means, std, strict=True)) if std is not None else []
    rows = [row for row in rows if math.isfinite(row[1]) and math.isfinite(row[2])]
    return [(a, y + s) for a, y, s in rows] + [(a, y - s) for a, y, s in rows[::-1]]


def _ruler(low, high, start, end):
    """The map that takes low to start and high to end."""
    span = (high - low) or 1
    return lambda value: start + (end - start) * (value - low) / span


def _frame(left, right, low, high, xlabel, edge):
    """Two axes with the numbers at their ends, and the name of the horizontal one."""
    ends = [
        (LEFT - 6, BOTTOM, "end", f"{low:.3g}"),
        (LEFT - 6, TOP + 8, "end", f"{high:.3g}"),
        (LEFT, BOTTOM + 16, "middle", _plain(left)),
        (edge, BOTTOM + 16, "end", _plain(right)),
        ((LEFT + edge) / 2, BOTTOM + 30, "middle", xlabel),
    ]
    axes = _line(LEFT, BOTTOM, edge, BOTTOM) + _line(LEFT, TOP, LEFT, BOTTOM)
    return axes + "".join(_text(*end) for end in ends)


def _plain(value):
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _line(x1, y1, x2, y2, pen=""):
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" {pen}/>'


def _text(x, y, anchor, text):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'


def _legend(name, index, pen):
    left = LEFT + 10 + 150 * index
    return f'<polyline points="{left},10 {left + 26},10" {pen}/>' + _text(
        left + 32, 14, "start", name
    )
