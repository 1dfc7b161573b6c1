"""What is left in the end: the model, a sheet of samples, the results and a card."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from torch import Tensor

from course_utils.images import make_grid, to_pil
from course_utils.recipes import Recipe
from course_utils.runs.checkpoints import write_file
from course_utils.runs.cost import make_plan
from course_utils.runs.scoreboard import RESULT
from course_utils.runs.tasks import Task
from course_utils.sharing.card import write_run_card

SHEET = "samples.png"


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


def finish(task: Task, recipe: Recipe, facts: dict, folder: Path) -> None:
    """Write all of it into `folder`, the results last; where they are already, nothing changes."""
    if (folder / RESULT).exists():
        print(f"{folder} is finished: {RESULT} is there")
        return
    task.save(folder)
    plan = make_plan(recipe, rate=1)
    save_sheet(task.sheet(), folder / SHEET)
    source = recipe.data.path or recipe.data.source
    result = {"recipe": recipe.title, "data": source, "num_pictures": task.num_pictures}
    result |= {**facts, "classes": task.classes, "parameters": plan.num_parameters}
    result |= {"trained_parameters": plan.num_trained, "lora_rank": recipe.start.lora_rank}
    result |= {"start": Path(recipe.start.folder).name, "drop": recipe.training.drop}
    result |= {"guidance": recipe.sampler.guidance, "kind": recipe.model and recipe.model.kind}
    result["flops"] = plan.flops_per_step * facts["steps"]
    result |= task.measure(num_images=200)
    write_run_card(folder, result, recipe.data.licence)
    write_file(folder / RESULT, json.dumps(result, indent=1).encode())
    print(f"Done. {folder} holds the model, {SHEET}, README.md and {RESULT}", flush=True)
