"""How good the model of a run is, in the numbers of its task."""

from pathlib import Path

from course_utils.recipes import load_recipe
from course_utils.runs.tasks import Place, task_of
from course_utils.runtime import pick_device
from course_utils.trained import RECIPE, load_trained


def evaluate(folder: Path, num_images: int) -> dict:
    """What the task of the run in `folder` measures. Raises FileNotFoundError where there is
    none."""
    if not (folder / RECIPE).is_file():
        load_trained(folder)  # or what is there is no model at all
        raise FileNotFoundError(f"{folder} holds no {RECIPE}: evaluate the folder of a run")
    recipe = load_recipe(folder / RECIPE)
    place = Place(pick_device(), recipe.training.batch_size)
    return task_of(recipe)(recipe, 0, place, folder).measure(num_images)
