"""The exercises of notebook 06, in the order in which they come."""

from course_utils.exercises.how_good_is_it.comparing import bootstrap, lead, min_snr
from course_utils.exercises.how_good_is_it.distances import frechet, gaussians
from course_utils.exercises.how_good_is_it.looking import copy_rate, illness, recall
from course_utils.exercises.how_good_is_it.pairs import floor, kernel
from course_utils.exercises.judge.progress import show_progress

EXERCISES = (
    *(frechet, gaussians, kernel, floor, recall, illness, copy_rate, bootstrap),
    *(lead, min_snr),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
