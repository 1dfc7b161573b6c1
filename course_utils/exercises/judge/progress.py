"""How far one has come: a mark for each exercise, and the same in words."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from course_utils.exercises.judge.exercise import Exercise
from course_utils.exercises.judge.judging import NOT_TRIED, NOT_YET, RIGHT
from course_utils.language import N_, _
from course_utils.plotting.style import COLOURS, INK, new_axes, set_fonts

MARKS = {  # marker, colour of its face, of its edge, and words
    RIGHT: ("o", COLOURS[2], COLOURS[2], N_("right")),
    NOT_YET: ("X", COLOURS[1], COLOURS[1], N_("not right yet")),
    NOT_TRIED: ("o", "white", "#777777", N_("not tried")),
}


def describe_progress(exercises: Sequence[Exercise]) -> str:
    """The picture in words: how many are right, and the names of the others."""
    lines = [_("{right} of {all} exercises right.")]
    for state in (NOT_YET, NOT_TRIED):
        names = ", ".join(e.name for e in exercises if e.verdict.state == state)
        lines += [f"{_(MARKS[state][3]).capitalize()}: {names}."] if names else []
    right = sum(exercise.verdict.state == RIGHT for exercise in exercises)
    return " ".join(lines).format(right=right, all=len(exercises))


def plot_progress(exercises: Sequence[Exercise], ax: Axes | None = None) -> Axes:
    """One mark for each exercise, in the order of the notebook, on a line."""
    ax = new_axes(ax, 0.85 * max(len(exercises), 6), 1.6)
    ax.axhline(0, color="#dddddd", lw=2, zorder=0)
    for state, (marker, face, edge, words) in MARKS.items():
        at = [i for i, e in enumerate(exercises, start=1) if e.verdict.state == state]
        look = {"marker": marker, "s": 240, "facecolors": face, "edgecolors": edge, "lw": 1.5}
        ax.scatter(at, [0] * len(at), label=f"{_(words)}: {len(at)}", zorder=2, **look)
        for i in at if state == RIGHT else ():
            ax.annotate("✓", (i, 0), color="white", ha="center", va="center", weight="bold")
    names = [f"{i}\n{e.name.replace('_', chr(10))}" for i, e in enumerate(exercises, start=1)]
    ax.set_xticks(range(1, len(names) + 1), names, size=8)
    ax.set(yticks=[], xlim=(0.4, len(names) + 0.6), ylim=(-0.6, 0.6))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    legend = {"frameon": False, "ncols": 3, "loc": "lower center", "bbox_to_anchor": (0.5, 1)}
    ax.legend(labelcolor=INK, markerscale=0.6, fontsize=9, **legend)
    return set_fonts(ax)


def show_progress(exercises: Sequence[Exercise]) -> None:
    """Print the words and draw the picture."""
    print(describe_progress(exercises))
    plot_progress(exercises)
