"""What the learner sees: a card in a notebook, the same words in a terminal."""

import re
from html import escape
from typing import NamedTuple

from course_utils.exercises.judge.judging import NOT_TRIED, NOT_YET, RIGHT
from course_utils.language import N_, _

LOOKS = {  # symbol, heading and colour, which never stands alone
    RIGHT: ("✓", N_("Right"), "#009E73"),
    NOT_YET: ("✗", N_("Not right yet"), "#D55E00"),
    "hint": ("?", N_("Hints"), "#E69F00"),
    "solution": ("✎", N_("A solution"), "#0072B2"),
}
BOX = (
    "border-left:5px solid {colour};padding:.5em 1em;margin:.3em 0;"
    "color:var(--jp-ui-font-color1,inherit);line-height:1.5"
)
CELL = "text-align:left;font-weight:normal;font-size:inherit"
CODE = (
    "padding:.5em .8em;overflow:auto;color:inherit;"
    "background:var(--jp-layout-color2,rgba(128,128,128,.15))"
)


class Card(NamedTuple):
    """Paragraphs under a heading, then a table of names and texts, then code."""

    look: str
    name: str
    paragraphs: tuple[str, ...] = ()
    table: tuple[tuple[str, str], ...] = ()
    code: str = ""

    def __repr__(self) -> str:
        """The card for a terminal."""
        symbol, heading, _colour = LOOKS[self.look]
        width = max((len(name) for name, _text in self.table), default=0)
        rows = [f"  {name:{width}}  {text}" for name, text in self.table]
        code = [f"\n{self.code}\n"] if self.code else []
        lines = [f"{symbol} {_(heading)}: {self.name}", *code, *self.paragraphs, *rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        symbol, heading, colour = LOOKS[self.look]
        rows = "".join(
            f'<tr><th style="{CELL};padding-right:1em">{escape(name)}</th>'
            f'<td style="{CELL}"><code>{escape(text)}</code></td></tr>'
            for name, text in self.table
        )
        parts = [
            f"<b>{symbol} {escape(_(heading))}</b>: {escape(self.name)}",
            f'<pre style="{CODE}">{escape(self.code)}</pre>' if self.code else "",
            *(f'<div style="margin:.3em 0">{_marked(text)}</div>' for text in self.paragraphs),
            f'<table style="margin:0;font-size:inherit">{rows}</table>' if rows else "",
        ]
        return f'<div role="status" style="{BOX.format(colour=colour)}">{"".join(parts)}</div>'


class Line(str):
    """One quiet line of plain text, for what is not tried yet."""

    def __repr__(self) -> str:
        return str(self)


def verdict_card(exercise) -> Card | Line:
    """What came of a check."""
    verdict = exercise.verdict
    if verdict.state == NOT_TRIED:
        text = _("○ Not tried yet: {name}. {call}.hint() helps.")
        return Line(text.format(name=exercise.name, call=exercise.call))
    return Card(verdict.state, exercise.name, (verdict.message,), verdict.details)


def hint_card(exercise) -> Card:
    """The hints so far, and what comes after the last."""
    count = exercise.hints_shown
    hints = [f"{i}. {_(hint)}" for i, hint in enumerate(exercise.hints[:count], start=1)]
    if count < len(exercise.hints):
        end = _("Run this again for one hint more ({count} of {all} so far).")
    else:
        end = _("That was the last of {all}. `{call}.solution()` shows a solution.")
    end = end.format(count=count, all=len(exercise.hints), call=exercise.call)
    return Card("hint", exercise.name, (*hints, end))


def solution_card(exercise) -> Card:
    """The code of a solution, and why."""
    return Card("solution", exercise.name, (_(exercise.why),), code=exercise.solution_code)


def show(card: Card | Line) -> None:
    """Display it once: rich in a notebook, plain in a terminal."""
    from IPython.display import display

    display(card)


def _marked(text):
    """HTML, with `code`, *stress* and line breaks."""
    text = re.sub("`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    text = re.sub(r"(?<!\*)\*(?=[^\s*])([^*]+)(?<=\S)\*", r"<em>\1</em>", text)
    return text.replace("\n", "<br>")
