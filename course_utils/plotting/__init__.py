"""All plots: pictures, maps, curves, schedules, networks and the film.

Each draws on `ax`, or on a new white figure, and returns the ax. Nothing calls `show`, draws from
a global random state or changes matplotlib's settings.
"""

from course_utils.plotting.animation import animate_sampling
from course_utils.plotting.curves import compare_bands, compare_curves, plot_choices, plot_loss
from course_utils.plotting.maps import show_latents, show_words
from course_utils.plotting.networks import plot_unet
from course_utils.plotting.pictures import (
    show_corruption,
    show_film,
    show_images,
    show_poster,
    show_rows,
)
from course_utils.plotting.schedules import compare_schedules, plot_schedule

__all__ = [
    "animate_sampling",
    "compare_bands",
    "compare_curves",
    "compare_schedules",
    "plot_choices",
    "plot_loss",
    "plot_schedule",
    "plot_unet",
    "show_corruption",
    "show_film",
    "show_images",
    "show_latents",
    "show_poster",
    "show_rows",
    "show_words",
]
