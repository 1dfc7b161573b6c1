"""White figures with dark text, whatever style is in force; the look of their lines and axes."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from unicodedata import east_asian_width

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.font_manager import fontManager
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import LogLocator

from course_utils.language import on_language

INK, FRAME = "#222222", "#bbbbbb"
# Okabe & Ito's colours can be told apart by nearly everyone; line style and marker say it again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"

TITLE = 11  # points
HANGUL = ("NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "Noto Sans CJK KR")


@cache
def find_hangul() -> str | None:
    """A font family with Hangul: of the package koreanize-matplotlib, else the platform's."""
    package = find_spec("koreanize_matplotlib")
    for file in Path(package.origin).parent.rglob("NanumGothic.ttf") if package else ():
        fontManager.addfont(file)
    known = {font.name for font in fontManager.ttflist}
    return next((family for family in HANGUL if family in known), None)


def with_hangul(families: list) -> list:
    """The font families, and one that has the letters of Hangul."""
    hangul = find_hangul()
    return [*families, hangul] if hangul and hangul not in families else families


def draw_hangul(language: str) -> None:
    """Once a person has chosen Korean, their own figures have Hangul, too."""
    if language == "ko":
        plt.rcParams["font.family"] = with_hangul(plt.rcParams["font.family"])


on_language(draw_hangul)


def new_axes(ax: Axes | None, width: float | int, height: float | int) -> Axes:
    """ax, or a new one of this many inches: dark on opaque white, whatever style is in force."""
    if ax is not None:
        return ax
    figure, ax = plt.subplots(figsize=(width, height), layout="constrained", facecolor="white")
    ax.set_facecolor("white")
    ax.tick_params(colors=INK)
    ax.spines[:].set_color(INK)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set_color(INK)
    # `savefig` may paint a background of its own, as in dark styles; this sheet covers it.
    sheet = Rectangle((-1, -1), 3, 3, transform=figure.transFigure, color="white", zorder=-1)
    figure.add_artist(sheet).set_in_layout(False)
    return ax


def add_note(ax: Axes, text: str) -> None:
    """One more line below the axis, where nothing that is drawn can hide it."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n{text}".strip())


def text_inches(text: str, size: float | int) -> float:
    """About how wide its longest line is, in letters of `size` points; Hangul is wider."""
    letters = [[1.6 if east_asian_width(c) in "WF" else 1 for c in t] for t in text.split("\n")]
    return 0.008 * size * max(map(sum, letters))


def in_lines(text: str, size: float | int, inches: float | int) -> str:
    """The text broken at spaces, so that no line is wider, as far as its words allow."""
    lines = text.split("\n")
    letters = int(max(map(len, lines)) * inches / (text_inches(text, size) or 1))
    return "\n".join(fill(line, max(1, letters), break_long_words=False) for line in lines)


def line_style(index: int) -> dict:
    """Colour and dash of the line with this number."""
    return {"color": COLOURS[index % len(COLOURS)], "ls": DASHES[index % len(DASHES)], "lw": 2}


def plain_numbers(axis: Axis) -> None:
    """Plain numbers at 1, 2, 5, 10, 20, … on a log axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def set_fonts(ax: Axes) -> Axes:
    """All texts of ax, so far, take the letters that their font lacks from one with Hangul."""
    for text in ax.findobj(Text):
        text.set_family(with_hangul(text.get_family()))
    return ax


def finish(ax: Axes, xlabel: str, ylabel: str, title: str | None = None, loc: str = "best") -> Axes:
    """Axis labels where there are none, a legend that nothing crosses and quiet lines.

    `loc="above"` puts the legend between title and axes, in one row, where no line can reach it.
    """
    ax.set(xlabel=ax.get_xlabel() or xlabel, ylabel=ax.get_ylabel() or ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=FRAME, alpha=0.4, lw=0.6)
    place = {"loc": loc, "handlelength": 3, "borderpad": 0.2}
    if loc == "above":
        columns = len(ax.get_legend_handles_labels()[1])
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": columns}
        place |= {"handlelength": 2, "columnspacing": 1.2, "borderaxespad": 0.2}
    look = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "framealpha": 0.85}
    ax.legend(labelcolor=ax.title.get_color(), **place, **look)
    if title:
        ax.set_title(title, size=TITLE, pad=26 if loc == "above" else None)
    return set_fonts(ax)
