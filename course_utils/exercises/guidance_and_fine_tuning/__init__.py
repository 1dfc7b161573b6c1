"""The exercises of notebook 03, in the order in which they come."""

from course_utils.exercises.guidance_and_fine_tuning.adapters import count, lora, zero_start
from course_utils.exercises.guidance_and_fine_tuning.labels import drop, guide, negative
from course_utils.exercises.guidance_and_fine_tuning.pictures import keep, steer
from course_utils.exercises.guidance_and_fine_tuning.shapes import overlap
from course_utils.exercises.guidance_and_fine_tuning.what_it_draws import interval, views, width
from course_utils.exercises.judge.progress import show_progress

EXERCISES = (
    *(drop, guide, views, negative, width, interval, steer, keep),
    *(lora, count, zero_start, overlap),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
