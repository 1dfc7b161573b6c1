"""The page of a pad: an SVG that paints when it is dragged over or when keys are pressed.

`canvas.js` is what it does at each event. The handlers stand in the SVG itself, since a page that
a widget shows may have no script of its own.
"""

from functools import cache
from html import escape
from importlib.resources import files

from jaxtyping import Bool
from torch import Tensor

from course_utils.language import _
from course_utils.plotting.style import COLOURS
from course_utils.widgets.page import address, beside

INK, WASH = COLOURS[0], 0.65  # how much of the picture behind the paint hides
SIDE = 320  # pixels
EVENTS = ("pointerdown", "pointermove", "pointerup", "pointercancel", "keydown", "focus", "blur")


def canvas(
    mask: Bool[Tensor, "1 1 S S"],
    *,
    turn: int,
    behind: Tensor | None,
    mirrored: bool,
    brush: int,
    title: str | None,
) -> str:
    """The mask to paint on, and below it how to paint and where the cursor is.

    It asks for a `.course-pad` around it, in which `.course-pad-cells` holds a text field and
    `.course-pad-erase` is a button that stays pressed. Another `turn`, another page of one mask.
    """
    how = _("Drag to paint. Keys: arrows move, space flips a cell, Shift with an arrow paints.")
    label = title or _("a pad to paint on")
    data = _data(mask, turn, mirrored, brush)
    data = " ".join(f'data-{key}="{escape(str(value))}"' for key, value in data.items())
    handlers = " ".join(f'on{event}="{_script()}"' for event in EVENTS)
    style = f"width:{SIDE}px;max-width:100%;touch-action:none;cursor:crosshair"
    style += ";background:white;box-shadow:0 0 0 1px #888"
    size = mask.shape[-1]
    svg = (
        f'<svg role="application" aria-label="{escape(f"{label}. {how}")}" tabindex="0" '
        f'viewBox="0 0 {size} {size}" style="{style}" data-lm-suppress-shortcuts="true" '
        f"{data} {handlers}>{_layers(mask, behind, mirrored, brush)}</svg>"
    )
    said = '<div aria-live="polite" style="min-height:1.5em"></div>'
    caption = f'<figcaption style="max-width:{SIDE}px">{escape(how)}{said}</figcaption>'
    heading = f'<div style="max-width:{SIDE}px">{escape(title)}</div>' if title else ""
    return beside(f'<figure style="margin:0">{heading}{svg}{caption}</figure>')


def _data(mask, turn, mirrored, brush):
    """What the handlers know; the cursor begins in the middle."""
    size = mask.shape[-1]
    where = _("row {row}, column {column}: {here}; {painted} of {total} painted")
    return {
        **{"size": size, "x": size // 2, "y": size // 2, "brush": brush, "turn": turn},
        **{"words": where, "full": _("painted"), "empty": _("empty")},
        "mirrored": "yes" if mirrored else "",
    }


@cache
def _script():
    return escape((files("course_utils.widgets") / "canvas.js").read_text(encoding="utf-8"))


def _layers(mask, behind, mirrored, brush):
    """What lies behind, the paint, the grid, and a cursor that stands out from dark and light."""
    size = mask.shape[-1]
    lines = "".join(f"M0 {i}h{size}M{i} 0v{size}" for i in range(size + 1))
    layers = [
        _background(behind, size) if behind is not None else "",
        _paint(mask, over=behind is not None),
        f'<path stroke="#888" stroke-opacity="0.5" stroke-width="0.02" d="{lines}"/>',
    ]
    if mirrored:
        pen = 'stroke="#444" stroke-width="0.08" stroke-dasharray="0.4"'
        layers.append(f'<path {pen} d="M{size / 2} 0v{size}"/>')
    for colour, width in (("white", 0.28), ("black", 0.14)):
        pen = f'fill="none" stroke="{colour}" stroke-width="{width}" style="display:none"'
        layers.append(f'<rect class="cursor" width="{brush}" height="{brush}" {pen}/>')
    return "".join(layers)


def _background(behind, size):
    place = f'width="{size}" height="{size}" preserveAspectRatio="none"'
    return f'<image {place} href="{address(behind)}" style="image-rendering:pixelated"/>'


def _paint(mask, over):
    """The painted cells; over a picture, which may have the paint's colour, they have edges."""
    rows, columns = (places.tolist() for places in mask[0, 0].nonzero(as_tuple=True))
    path = "".join(f"M{x} {y}h1v1h-1z" for x, y in zip(columns, rows, strict=True))
    pen = f'fill-opacity="{WASH}" stroke="white" stroke-width="0.08"' if over else ""
    return f'<path class="ink" fill="{INK}" {pen} d="{path}"/>'
