"""What is left in the end: the model, a sheet of samples, the results and a card."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from torch import Tensor

from course_utils.images import make_grid, to_pil, to_uint8
from course_utils.models.lora import has_lora, merge_lora, save_lora
from course_utils.recipes import Recipe
from course_utils.runs.checkpoints import write_file
from course_utils.runs.cost import make_plan
from course_utils.runs.measuring import draw_labelled, every_class, measure
from course_utils.runs.scoreboard import RESULT
from course_utils.sharing.card import write_run_card
from course_utils.trained import Trained, save_trained

SHEET = "samples.png"


def draw_sheet(trained: Trained, num_images: int = 16) -> Tensor:
    """A grid of samples, uint8 (C, H, W), always from the same noise; of classes each in turn."""
    labels = every_class(trained, num_images)
    return make_grid(to_uint8(draw_labelled(trained, num_images, labels)), fill=255)


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


def finish(trained: Trained, pictures, recipe: Recipe, facts: dict, folder: Path) -> None:
    """Write all of it into `folder`, the results last; where they are already, nothing changes."""
    if (folder / RESULT).exists():
        print(f"{folder} is finished: {RESULT} is there")
        return
    if has_lora(trained.model):
        save_lora(trained.model, folder)
        merge_lora(trained.model)
    save_trained(trained, folder)
    plan = make_plan(recipe, rate=1)
    save_sheet(draw_sheet(trained), folder / SHEET)
    source = recipe.data.path or recipe.data.source
    result = {"recipe": recipe.title, "data": source, "num_pictures": pictures.num_pictures}
    result |= {**facts, "classes": trained.classes, "parameters": plan.num_parameters}
    result |= {"trained_parameters": plan.num_trained, "lora_rank": recipe.start.lora_rank}
    result |= {"start": Path(recipe.start.folder).name, "drop": recipe.training.drop}
    result |= {"guidance": recipe.sampler.guidance}
    result["flops"] = plan.flops_per_step * facts["steps"]
    result |= measure(trained, recipe.data, pictures.some(), num_images=200)
    write_run_card(folder, result, recipe.data.licence)
    write_file(folder / RESULT, json.dumps(result, indent=1).encode())
    print(f"Done. {folder} holds the model, {SHEET}, README.md and {RESULT}", flush=True)
