"""The exercises of notebook 04, in the order in which they come."""

from course_utils.exercises.judge.progress import show_progress
from course_utils.exercises.your_own_stable_diffusion.editing import first_step, latent_mask
from course_utils.exercises.your_own_stable_diffusion.holding_out import fair_split
from course_utils.exercises.your_own_stable_diffusion.latents import compression, scaling
from course_utils.exercises.your_own_stable_diffusion.matching import attend, contrast
from course_utils.exercises.your_own_stable_diffusion.prompts import nothing, one_step
from course_utils.exercises.your_own_stable_diffusion.words import bytes_of, next_pair

EXERCISES = (
    *(next_pair, bytes_of, contrast, compression, scaling, attend),
    *(nothing, one_step, first_step, latent_mask, fair_split),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
