"""White figures with dark text, whatever style is in force."""

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

INK, FRAME = "#222222", "#bbbbbb"


def new_axes(ax, width, height):
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


def add_note(ax, text):
    """One more line below the axis, where nothing that is drawn can hide it."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n{text}".strip())
