"""Run a track: train by a recipe with each seed, judge the samples, write the entry."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import compare, frechet_distance
from course_utils.evaluation.features import SECOND
from course_utils.images import to_uint8
from course_utils.models import count_parameters
from course_utils.recipes import Options, Recipe
from course_utils.runs.checkpoints import write_file
from course_utils.runs.cost import matmul_rate
from course_utils.runs.scoreboard import RESULT
from course_utils.runs.trainer import train_recipe
from course_utils.runtime import hardware, pick_device
from course_utils.speedrun.entries import check_entry
from course_utils.speedrun.tracks import SEEDS, Track
from course_utils.trained import Trained, load_trained

THREADS = 2
ENTRY = "entry.json"


def race(track: Track, recipe: Recipe, folder: Path, changed: str = "") -> dict:
    """Train by the recipe with each seed, judge, and write `entry.json` into the folder.

    What counts as time are the seconds of the training steps; what is loaded before and drawn
    after does not. A race that was interrupted goes on where it was. Raises ValueError for a recipe
    that the track does not allow, or where a GPU would be used; what training raises.
    """
    if pick_device().type != "cpu":
        raise ValueError("the speedrun is for two processor cores: set CUDA_VISIBLE_DEVICES=''")
    track.check_recipe(recipe)
    training, held_out = track.open()
    rows = []
    with threads(THREADS):
        for seed in SEEDS:
            rows.append(_one(track, recipe, folder / f"seed-{seed}", seed))
            track.check_numbers(rows[-1]["parameters"], rows[-1]["calls"], rows[-1]["tflop"])
            samples = rows[-1].pop("samples")
            rows[-1] |= judge(track, samples, training, held_out, recipe.data.flip)
    entry = {
        "track": track.name,
        "date": time.strftime("%Y-%m-%d"),
        "changed": {"en": changed},
        "recipe": asdict(recipe),
        "pictures": track.pictures,
        "evaluator": track.evaluator,
        "num_samples": track.num_samples,
        "hardware": hardware(),
        "runs": rows,
    }
    text = json.dumps(entry, indent=1)
    write_file(folder / ENTRY, text.encode())
    return check_entry(json.loads(text))


def judge(track: Track, samples: Tensor, training: Tensor, held_out: Tensor, flip: bool) -> dict:
    """The distances of the samples by both networks, beside real pictures, and the copies."""
    table = compare({"samples": samples}, held_out, training, track.data)
    (frechet, kernel, *_), (floor, *_) = table.to_numpy().tolist()
    second = frechet_distance(samples, held_out, SECOND.format(track.data))
    copies = find_copies(samples, training, flip=flip).rate
    found = {"frechet": frechet, "floor": floor, "kernel": kernel, "second": second}
    return {name: round(value, 3) for name, value in found.items()} | {"copies": round(copies, 4)}


def _one(track: Track, recipe: Recipe, folder: Path, seed: int) -> dict:
    """Train with one seed, and draw; the machine's rate is measured before and after."""
    before = matmul_rate()
    status = train_recipe(recipe, Options(folder, seed=seed, resume=True))
    if status:
        raise KeyboardInterrupt
    rate = (before + matmul_rate()) / 2
    seconds = json.loads((folder / RESULT).read_text(encoding="utf-8"))["seconds"]
    trained = load_trained(folder)
    samples, calls = draw_counted(trained, track.num_samples, seed)
    return {
        "seed": seed,
        "seconds": seconds,
        "gflops": round(rate / 1e9, 1),
        "tflop": round(seconds * rate / 1e12, 2),
        "parameters": count_parameters(trained.model),
        "calls": calls,
        "samples": samples,
    }


def draw_counted(trained: Trained, num_images: int, seed: int) -> tuple[Tensor, float]:
    """Samples as uint8, and how often the network was really asked for each of them."""
    asked = 0

    def count(module, args, output):
        nonlocal asked
        asked += len(args[0])

    with trained.model.register_forward_hook(count):
        guidance = trained.sampler.guidance
        samples = to_uint8(trained.draw(num_images, seed=seed, guidance=guidance))
    return samples, asked / num_images


@contextmanager
def threads(most: int) -> Iterator[None]:
    """Inside the block torch uses so many threads at most."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(most, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
