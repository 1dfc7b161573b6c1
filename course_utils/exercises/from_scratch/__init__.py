"""The exercises of notebook 02, in the order in which they come."""

from course_utils.exercises.from_scratch.measuring import frechet, min_snr
from course_utils.exercises.from_scratch.network import embedding, half_life
from course_utils.exercises.from_scratch.sampling import ddim, timesteps
from course_utils.exercises.from_scratch.targets import predict_x0, velocity
from course_utils.exercises.from_scratch.toy import brightness, corrupt, remaining
from course_utils.exercises.judge.progress import show_progress

EXERCISES = (
    *(brightness, corrupt, remaining, predict_x0, velocity, half_life),
    *(embedding, ddim, timesteps, frechet, min_snr),
)


def progress() -> None:
    """How far you have come, in a line and a picture."""
    show_progress(EXERCISES)
