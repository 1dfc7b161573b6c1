"""How good a run's model is: distances beside their floor, copies, and whether it listens."""

from pathlib import Path

import torch
from torch import Tensor

from course_utils.data import ImageData
from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import agreement, compare
from course_utils.evaluation.features import SHIPPED
from course_utils.models import num_classes_of
from course_utils.recipes import Data, build, load_recipe
from course_utils.runs.batches import open_pictures
from course_utils.runtime import pick_device
from course_utils.trained import RECIPE, Trained, load_trained

COMPARED = 5000  # training pictures among which copies are looked for


def every_class(trained: Trained, num_images: int) -> Tensor | None:
    """Labels (num_images,), all classes in turn; None where the network is told none."""
    if not num_classes_of(trained.model):
        return None
    return torch.arange(num_images) % len(trained.classes)


def draw_labelled(trained: Trained, num_images: int, labels: Tensor | None, **options) -> Tensor:
    """What `trained.draw` makes of the labels, at the guidance that its recipe chose."""
    if labels is not None:
        options |= {"condition": {"class_labels": labels}, "guidance": trained.sampler.guidance}
    return trained.draw(num_images, **options)


def evaluate(folder: Path, num_images: int) -> dict:
    """`measure` for the run in `folder`. Raises FileNotFoundError where there is none."""
    trained = load_trained(folder)
    if not (folder / RECIPE).is_file():
        raise FileNotFoundError(f"{folder} holds no {RECIPE}: evaluate the folder of a run")
    recipe = load_recipe(folder / RECIPE)
    trained.model.to(pick_device())
    place = 0, recipe.training.batch_size, 0, 1
    seen = open_pictures(recipe, num_classes_of(trained.model), *place).some()
    return measure(trained, recipe.data, seen, num_images)


def measure(trained: Trained, data: Data, seen: ImageData, num_images: int) -> dict:
    """Distances beside their floor, and the share of copies, of `num_images` samples or fewer;
    of a network with classes also `agreement`, the share in which a classifier sees the class.

    Empty where there are too few pictures to compare with.
    """
    real, floor = build.real_pictures(data, seen.images)
    floor = floor[torch.randperm(len(floor), generator=torch.Generator().manual_seed(0))]
    num_images = min(num_images, len(floor))
    if num_images < 2 or len(real) < 2:
        return {}
    labels = every_class(trained, num_images)
    samples = draw_labelled(trained, num_images, labels)
    table = compare({"samples": samples}, real, floor)
    own, best = (dict(zip(("frechet", "kernel"), row, strict=False)) for row in table.to_numpy())
    found = own | {f"{name}_floor": value for name, value in best.items()}
    found["copies"] = find_copies(samples, seen.images[:COMPARED], flip=data.flip).rate
    if labels is not None and data.source in SHIPPED:
        found["agreement"] = agreement(samples, labels)
    return {"num_samples": num_images, **{name: round(v, 4) for name, v in found.items()}}
