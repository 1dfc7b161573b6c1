"""A trained model and what sampling needs to know of it, saved and loaded."""

from course_utils.trained.drawing import Trained
from course_utils.trained.folders import (
    NOTE,
    RECIPE,
    load_trained,
    save_trained,
    schedule_name,
)

__all__ = ["NOTE", "RECIPE", "Trained", "load_trained", "save_trained", "schedule_name"]
