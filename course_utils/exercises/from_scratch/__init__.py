"""The exercises of notebook 02, in the order in which they come."""

from course_utils.exercises.from_scratch.circle import circle, losses
from course_utils.exercises.from_scratch.network import ema, embedding
from course_utils.exercises.from_scratch.perfect import perfect, posterior_mean, same_ratios, score
from course_utils.exercises.from_scratch.sampling import ddim, timesteps
from course_utils.exercises.from_scratch.scratch import empty_page
from course_utils.exercises.from_scratch.steps import ddpm_step, second_order
from course_utils.exercises.from_scratch.targets import predict_x0, velocity
from course_utils.exercises.from_scratch.toy import corrupt
from course_utils.exercises.judge.progress import show_progress

EXERCISES = (
    *(corrupt, posterior_mean, score, perfect, same_ratios, predict_x0, circle, velocity),
    *(losses, embedding, ema, ddim, ddpm_step, second_order, timesteps, empty_page),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
