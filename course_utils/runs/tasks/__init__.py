"""What a recipe trains, by the kind of its network: each has a module with one `Task`."""

from importlib import import_module

from course_utils.recipes import Recipe
from course_utils.runs.tasks.task import Place, Task

MODULES = {  # and the class in it; what is not on pictures needs transformers
    "UNet": ("pictures", "Pictures"),
    "UNet2DModel": ("pictures", "Pictures"),
    "UNet2DConditionModel": ("latents", "Latents"),
    "AutoencoderKL": ("autoencoder", "Autoencoder"),
    "CLIPTextModel": ("words", "Words"),
}


def task_of(recipe: Recipe) -> type[Task]:
    """The kind of task; a trained model that goes on draws pictures."""
    kind = recipe.model.kind if recipe.model else "UNet2DModel"
    module, name = MODULES[kind]
    return getattr(import_module(f"{__name__}.{module}"), name)
