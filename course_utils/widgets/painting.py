"""A pad to paint a mask or a silhouette on, by mouse, finger or keyboard.

The canvas in an `ipywidgets.HTML` paints at once and then writes the cells into a hidden text field
of ipywidgets, which the kernel reads: core widgets, whatever the front end.
"""

from collections.abc import Callable

import ipywidgets
import torch
from jaxtyping import Bool, Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from course_utils.checks import check_images, check_int
from course_utils.language import _
from course_utils.plotting import show_images
from course_utils.widgets.canvas import INK, SIDE, WASH, canvas
from course_utils.widgets.controls import is_live, press, still
from course_utils.widgets.page import beside, failure, picture, words


class Pad:
    """What `paint` returns; a notebook shows its `view`: controls, or a still Figure."""

    def __init__(self, start: Tensor):
        self._mask, self.view = start, None

    @property
    def mask(self) -> Bool[Tensor, "1 1 S S"]:
        """What is painted by now."""
        return self._mask.clone()

    def _ipython_display_(self):
        from IPython.display import display

        display(self.view)


def paint(
    start: Bool[Tensor, "... S S"] | None = None,
    *,
    size: int = 16,
    behind: Float[Tensor, "... C H W"] | None = None,
    mirrored: bool = False,
    brush: int = 1,
    draw: Callable[[Tensor], Tensor | str] | None = None,
    title: str | None = None,
) -> Pad:
    """A pad of size by size cells to paint on; its `mask` is bool (1, 1, size, size).

    `start` is painted at first and sets the size; one picture in model range, `behind`, lies under
    the paint; `mirrored` paints left and right at once; a dab is `brush` cells wide. At the press
    of a button `draw(mask)` gives pictures (B, C, H, W) or HTML, which are shown beside.
    Still: what is painted at first, and what `draw` makes of it.
    Raises TypeError for a start that isn't bool; ValueError for one that isn't square, for several
    pictures behind, and for a size or a brush that doesn't fit.
    """
    start = _check_start(start, size)
    check_int("brush", brush, 1, start.shape[-1])
    behind = None if behind is None else _check_one(behind)
    pad = Pad(start)
    if is_live():
        _Easel(pad, behind, mirrored, brush, draw, title)
    else:
        pad.view = _still(start, behind, draw, title)
    return pad


def _check_start(start, size):
    if start is None:
        check_int("size", size, 2, 64)
        return torch.zeros(1, 1, size, size, dtype=torch.bool)
    if start.dtype != torch.bool:
        raise TypeError(f"start must be a mask of bool, got {start.dtype}: pass start > 0.5")
    if (
        start.ndim < 2
        or start.shape[-1] != start.shape[-2]
        or start.numel() != start.shape[-1] ** 2
    ):
        raise ValueError(f"start must be one square mask (S, S), got {tuple(start.shape)}")
    return start.detach().cpu().reshape(1, 1, *start.shape[-2:]).clone()


def _check_one(behind):
    behind = behind[None] if behind.ndim == 3 else behind
    if len(check_images("behind", behind)) > 1:
        raise ValueError(f"behind must be one picture (C, H, W), got {tuple(behind.shape)}")
    return behind.detach().cpu()


class _Easel:
    """The live pad: the page with the SVG, the text field that it writes to, and the buttons."""

    def __init__(self, pad, behind, mirrored, brush, draw, title):
        self.pad, self.draw, self.past, self.turn = pad, draw, [], 0
        self.settings = {"behind": behind, "mirrored": mirrored, "brush": brush, "title": title}
        hidden = {"display": "none"}
        self.cells = ipywidgets.Text(_write(pad.mask), continuous_update=False, layout=hidden)
        self.cells.add_class("course-pad-cells")
        self.cells.observe(self._painted, "value")
        self.page, self.answer = ipywidgets.HTML(), ipywidgets.HTML()
        tip = _("take paint away where you drag")
        erase = ipywidgets.ToggleButton(description=_("Erase"), icon="eraser", tooltip=tip)
        erase.add_class("course-pad-erase")
        buttons = [erase]
        buttons.append(press(_("Undo"), "undo", _("take back the last stroke"), self._undo))
        buttons.append(press(_("Clear"), "trash", _("take all paint away"), self._clear))
        if draw:
            tip = _("let the model draw from your painting")
            buttons.append(press(_("Draw"), "paint-brush", tip, self._draw))
        rows = {"flex_flow": "row wrap", "grid_gap": "0 1em"}
        sides = ipywidgets.HBox([self.page, self.answer], layout=rows)
        pad.view = ipywidgets.VBox([sides, ipywidgets.HBox(buttons, layout=rows), self.cells])
        pad.view.add_class("course-pad")
        self.renew()

    def renew(self):
        """Show the mask as the kernel has it; the turn makes each page another one."""
        self.turn += 1
        self.page.value = canvas(self.pad.mask, turn=self.turn, **self.settings)

    def _painted(self, change):
        """A stroke has ended. What is no mask, such as a text of another length, is left out."""
        text, mask = change["new"], self.pad.mask
        if len(text) == mask.numel() and set(text) <= {"0", "1"} and text != _write(mask):
            self.past.append(mask)
            self.pad._mask = _read(text, mask)

    def _set(self, mask):
        self.pad._mask = mask
        self.cells.value = _write(mask)
        self.renew()

    def _undo(self, button):
        if self.past:
            self._set(self.past.pop())

    def _clear(self, button):
        if self.pad.mask.any():
            self.past.append(self.pad.mask)
        self._set(torch.zeros_like(self.pad.mask))

    def _draw(self, button):
        """The button rests while the model draws, so that presses cannot queue up."""
        button.disabled, self.answer.value = True, beside(words(_("drawing…")))
        try:
            self.answer.value = _answer(self.draw(self.pad.mask))
        except Exception as error:
            self.answer.value = beside(failure(error))
            raise
        finally:
            button.disabled = False


def _answer(drawn):
    if isinstance(drawn, str):
        return drawn
    drawn = drawn[None] if drawn.ndim == 3 else drawn
    text = _("drawn from your painting")
    return beside(picture(drawn, text, text, width=min(2, len(drawn)) * SIDE // 2, columns=2))


def _write(mask):
    return "".join("1" if cell else "0" for cell in mask.flatten().tolist())


def _read(text, like):
    return torch.tensor([cell == "1" for cell in text]).reshape(like.shape)


def _still(start, behind, draw, title) -> Figure:
    """The start as a picture, and beside it what is drawn to it."""
    drawn = draw(start.clone()) if draw and start.any() else None
    drawn = None if isinstance(drawn, str) else drawn
    count = 1 if drawn is None else 2
    figure, axes = plt.subplots(
        1, count, figsize=(2.6 * count, 2.8), layout="constrained", squeeze=False
    )
    figure.set_facecolor("white")
    show_images(_painted_over(start, behind), axes[0, 0], title=title)
    if drawn is not None:
        show_images(drawn, axes[0, 1], title=_("drawn from it"))
    return still(axes[0, 0])


def _painted_over(mask, behind):
    """White paper or the picture behind with the paint on it, (1, 3, H, W) in [-1, 1]."""
    ink = torch.tensor([int(INK[i : i + 2], 16) / 127.5 - 1 for i in (1, 3, 5)])[:, None, None]
    if behind is None:
        return torch.where(mask, ink, torch.ones(()))
    sides = [max(mask.shape[-1], side) for side in behind.shape[-2:]]
    shown = -behind if behind.shape[1] == 1 else behind
    shown = interpolate(shown.float().expand(-1, 3, -1, -1), size=sides)
    cover = WASH * interpolate(mask.float(), size=sides)
    return shown * (1 - cover) + ink * cover
