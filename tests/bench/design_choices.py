"""The design-choice laboratory: every choice at equal training time, on digits.

`python tests/bench/design_choices.py` trains one network for each combination of schedule, target,
loss weighting and timestep sampling, draws from each with and without EMA and by several samplers,
and writes a row for each to course_utils/results/design_choices.json. It prints the table of the
choices, and the distances of three networks that differ by their seed alone.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import pandas
from common import DEVICE, digit_recipe, draw, step_seconds
from tqdm import tqdm

from course_utils import EMA, NoiseSchedule, load_digits, train
from course_utils.checks import PREDICTION_TYPES
from course_utils.evaluation.benchmarks import DESIGN_CHOICES, summary
from course_utils.evaluation.distances import classify, frechet_distance
from course_utils.runtime import fast_arithmetic, hardware
from course_utils.training.loss import TIMESTEP_SAMPLINGS, WEIGHTINGS

SCHEDULES = ("linear", "cosine", "straight")
SAMPLERS = {
    "DDIM": {},
    "order 2": {"order": 2},
    "DDPM": {"eta": 1.0},
}
CALLS = (8, 20)
OPTIMIZERS = {"muon": 6e-3, "adamw": 2e-3}  # and the learning rate of each
USUAL = {
    "optimizer": "muon",
    "schedule": "straight",
    "target": "v_prediction",
    "weighting": "none",
    "timesteps": "logit_normal",
}


def combinations() -> list[dict]:
    """All that make sense: the noise cannot be the target where no image is left."""
    names = ("optimizer", "schedule", "target", "weighting", "timesteps")
    choices = product(["muon"], SCHEDULES, PREDICTION_TYPES, WEIGHTINGS, TIMESTEP_SAMPLINGS)
    rows = [dict(zip(names, choice, strict=True)) for choice in choices]
    return [r for r in rows if (r["schedule"], r["target"]) != ("straight", "epsilon")]


def recipe_of(choice: dict, images, seed: int) -> dict:
    """The digits' recipe with these choices in it."""
    return digit_recipe(images, seed) | {
        "optimizer": choice["optimizer"],
        "lr": OPTIMIZERS[choice["optimizer"]],
        "schedule": getattr(NoiseSchedule, choice["schedule"])(1000),
        "prediction_type": choice["target"],
        "weighting": choice["weighting"],
        "timestep_sampling": choice["timesteps"],
    }


def measure(choice: dict, images, held, *, seed: int, num_steps: int, num_samples: int):
    """Train one network and yield a row for each way to draw from it."""
    recipe = recipe_of(choice, images, seed)
    model, ema = recipe["model"], EMA(recipe["model"], decay=0.995)
    started = time.perf_counter()
    with fast_arithmetic(DEVICE):
        for _ in train(**recipe, num_steps=num_steps, ema=ema):
            pass
    seconds = time.perf_counter() - started
    own = [("order 2", 20, False)]
    averaged = [(name, calls, True) for name in SAMPLERS for calls in CALLS]
    for sampler, calls, use_ema in own + averaged:
        if use_ema:
            ema.copy_to(model)  # the rows that follow draw with the average
        x = draw(model, recipe, num_samples, calls, **SAMPLERS[sampler])
        classes = classify(x)
        yield {
            **choice,
            "ema": use_ema,
            "sampler": sampler,
            "calls": calls,
            "seed": seed,
            "steps": num_steps,
            "seconds": round(seconds, 1),
            "samples": num_samples,
            "frechet": round(frechet_distance(x, held), 2),
            "coverage_factor": round(classes.coverage_factor, 2),
            "confident": round(classes.confident, 3),
        }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=15, help="of training each")
    options.add_argument("--samples", type=int, default=300)
    options.add_argument("--only", type=int, help="the first so many combinations")
    options.add_argument("--output", type=Path, default=DESIGN_CHOICES)
    args = options.parse_args()
    seen, held = (load_digits(split, "offline").images for split in ("train", "test"))
    pace = {
        name: step_seconds(recipe_of(USUAL | {"optimizer": name}, seen, 0), args.seconds / 10)
        for name in OPTIMIZERS
    }
    runs = [(choice, 0) for choice in combinations()[: args.only]]
    runs += [(USUAL | {"optimizer": "adamw"}, 0), (USUAL, 1), (USUAL, 2)]
    rows = []
    for choice, seed in tqdm(runs, disable=None):
        num_steps = max(1, round(args.seconds / pace[choice["optimizer"]]))
        sizes = {"num_steps": num_steps, "num_samples": args.samples}
        rows += measure(choice, seen, held, seed=seed, **sizes)
        floor = frechet_distance(seen[: args.samples], held)
        result = {"machine": hardware(), "floor": round(floor, 2), "rows": rows}
        args.output.write_text(json.dumps(result, indent=1) + "\n")  # what is done is kept
    print(hardware(), f"floor {floor:.2f}", sep="\n")
    table = pandas.DataFrame(rows)
    print(summary(table).drop(columns="distances").to_string(index=False))
    alike = table.query("sampler == 'order 2' and calls == 20 and ema")
    alike = alike[(alike[list(USUAL)] == pandas.Series(USUAL)).all(axis=1)]
    print("seeds alone:", *(f"{r.seed}: {r.frechet}" for r in alike.itertuples()))


if __name__ == "__main__":
    main()
