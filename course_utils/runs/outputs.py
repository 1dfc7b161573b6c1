"""What is left in the end: the model, a sheet of samples, the results and a card."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.data import ImageData
from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import agreement, compare
from course_utils.evaluation.features import SHIPPED
from course_utils.images import make_grid, to_pil, to_uint8
from course_utils.models import num_classes_of
from course_utils.recipes import Data, Recipe, build, load_recipe
from course_utils.runs.batches import open_pictures
from course_utils.runs.checkpoints import write_file
from course_utils.runs.cost import make_plan
from course_utils.runs.scoreboard import RESULT
from course_utils.runtime import pick_device
from course_utils.sharing.card import write_run_card
from course_utils.trained import RECIPE, Trained, load_trained, save_trained

SHEET = "samples.png"
COMPARED = 5000  # training pictures among which copies are looked for


def draw_sheet(trained: Trained, num_images: int = 16) -> Tensor:
    """A grid of samples, uint8 (C, H, W), always from the same noise; of classes each in turn."""
    labels = every_class(trained, num_images)
    return make_grid(to_uint8(draw_labelled(trained, num_images, labels)), fill=255)


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


def save_sheet(sheet: Tensor, path: Path) -> None:
    """The grid as a PNG, enlarged if its pictures are small."""
    file = BytesIO()
    to_pil(sheet, scale=max(1, 512 // sheet.shape[-1])).save(file, "PNG")
    write_file(path, file.getvalue())


def save_images(images: Tensor, path: Path) -> None:
    """uint8 (N, C, H, W) as `.npz`, under the name "images", or as one sheet, `.png`."""
    if path.suffix == ".png":
        return save_sheet(make_grid(images, fill=255), path)
    file = BytesIO()
    np.savez_compressed(file, images=images.numpy())
    return write_file(path, file.getvalue())


def evaluate(folder: Path, num_images: int) -> dict:
    """`measure` for the run in `folder`. Raises FileNotFoundError where there is none."""
    trained = load_trained(folder)
    if not (folder / RECIPE).is_file():
        raise FileNotFoundError(f"{folder} holds no {RECIPE}: evaluate the folder of a run")
    recipe = load_recipe(folder / RECIPE)
    trained.model.to(pick_device())
    seen = open_pictures(recipe, 0, recipe.training.batch_size, 0, 1).some()
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


def finish(trained: Trained, pictures, recipe: Recipe, facts: dict, folder: Path) -> None:
    """Write all of it into `folder`, the results last; where they are already, nothing changes."""
    if (folder / RESULT).exists():
        print(f"{folder} is finished: {RESULT} is there")
        return
    save_trained(trained, folder)
    plan = make_plan(recipe, rate=1)
    save_sheet(draw_sheet(trained), folder / SHEET)
    source = recipe.data.path or recipe.data.source
    result = {"recipe": recipe.title, "data": source, "num_pictures": pictures.num_pictures}
    result |= {**facts, "classes": trained.classes, "parameters": plan.num_parameters}
    result["flops"] = plan.flops_per_step * facts["steps"]
    result |= measure(trained, recipe.data, pictures.some(), num_images=200)
    write_run_card(folder, result, recipe.data.licence)
    write_file(folder / RESULT, json.dumps(result, indent=1).encode())
    print(f"Done. {folder} holds the model, {SHEET}, README.md and {RESULT}", flush=True)
