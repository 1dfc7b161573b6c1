"""What is left in the end: the model, a sheet of samples, the results and a card."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import compare
from course_utils.images import make_grid, to_pil, to_uint8
from course_utils.recipes import Data, Recipe, build, load_recipe
from course_utils.runs.checkpoints import write_file
from course_utils.runs.cost import make_plan
from course_utils.runs.scoreboard import RESULT
from course_utils.runtime import pick_device
from course_utils.sharing.card import write_run_card

SHEET = "samples.png"
COMPARED = 5000  # training pictures among which copies are looked for


def draw_sheet(trained: build.Trained, num_images: int = 16) -> Tensor:
    """A grid of samples, uint8 (C, H, W), always from the same noise."""
    return make_grid(to_uint8(trained.draw(num_images)), fill=255)


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
    trained = build.load_trained(folder)
    if not (folder / build.RECIPE).is_file():
        raise FileNotFoundError(f"{folder} holds no {build.RECIPE}: evaluate the folder of a run")
    data = load_recipe(folder / build.RECIPE).data
    trained.model.to(pick_device())
    return measure(trained, data, build.load_pictures(data), num_images)


def measure(trained: build.Trained, data: Data, pictures: Tensor, num_images: int) -> dict:
    """Distances beside their floor, and the share of copies, of `num_images` samples or fewer.

    Empty where there are too few pictures to compare with.
    """
    real, floor = build.real_pictures(data, pictures)
    floor = floor[torch.randperm(len(floor), generator=torch.Generator().manual_seed(0))]
    num_images = min(num_images, len(floor))
    if num_images < 2 or len(real) < 2:
        return {}
    samples = trained.draw(num_images)
    table = compare({"samples": samples}, real, floor)
    own, best = (dict(zip(("frechet", "kernel"), row, strict=False)) for row in table.to_numpy())
    copies = find_copies(samples, pictures[:COMPARED], flip=data.flip)
    found = own | {f"{name}_floor": value for name, value in best.items()}
    found = {name: round(value, 4) for name, value in found.items()}
    return {"num_samples": num_images, **found, "copies": round(copies.rate, 4)}


def finish(model: nn.Module, pictures: Tensor, recipe: Recipe, facts: dict, folder: Path) -> None:
    """Write all of it into `folder`, the results last; where they are already, nothing changes."""
    if (folder / RESULT).exists():
        print(f"{folder} is finished: {RESULT} is there")
        return
    build.save_trained(model, recipe, folder)
    trained, plan = build.Trained.by(recipe, model), make_plan(recipe, rate=1)
    save_sheet(draw_sheet(trained), folder / SHEET)
    source = recipe.data.path or recipe.data.source
    result = {"recipe": recipe.title, "data": source, "num_pictures": len(pictures), **facts}
    result |= {"parameters": plan.num_parameters, "flops": plan.flops_per_step * facts["steps"]}
    result |= measure(trained, recipe.data, pictures, num_images=200)
    write_run_card(folder, result, recipe.data.licence)
    write_file(folder / RESULT, json.dumps(result, indent=1).encode())
    print(f"Done. {folder} holds the model, {SHEET}, README.md and {RESULT}", flush=True)
