"""The exercises of notebook 01, in the order in which they come."""

from course_utils.exercises.introduction.data import first_guess, model_range
from course_utils.exercises.introduction.network import deepest, noise_loss
from course_utils.exercises.introduction.sampling import between, calls, halfway
from course_utils.exercises.introduction.schedule import add_noise, alphas_cumprod, crossing
from course_utils.exercises.judge.progress import show_progress

EXERCISES = (
    *(first_guess, model_range, crossing, add_noise, alphas_cumprod),
    *(deepest, noise_loss, halfway, calls, between),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
