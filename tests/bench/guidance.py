"""What guidance buys and what it costs: `python tests/bench/guidance.py`.

Draws digits and butterflies by class with the models that ship, over the guidance scale, by three
ways: at all levels, in an interval of them (Kynkäänniemi et al. 2024), and away from a twin that
was trained too briefly and is told the same (Karras et al. 2024). Writes
course_utils/results/guidance.json.
"""

import argparse
import json
from pathlib import Path

import pandas
import torch
from torch import Tensor
from tqdm import tqdm
from train_pretrained import butterflies_classes, digits_classes, in_bfloat16

from course_utils import (
    PRETRAINED,
    Guidance,
    Trained,
    agreement,
    classify,
    diversity,
    draw_butterflies,
    load_digits,
    load_trained,
    sample,
)
from course_utils.evaluation.benchmarks import GUIDANCE
from course_utils.evaluation.distances import frechet_distance, kernel_distance
from course_utils.runtime import fast_arithmetic, hardware, pick_device

DEVICE = pick_device()
SCALES = (0, 1, 1.5, 2, 3, 4, 6, 8)
FEWER = (1.5, 2, 3, 4)  # for the other two ways
INTERVAL = 250, 750  # of 1,000 timesteps
TWINS = {"digits": digits_classes, "butterflies": butterflies_classes}
FOLDERS = {"digits": "digits-classes", "butterflies": "butterflies-32-classes"}


def real_pictures(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out pictures with their labels, and others, for the floor."""
    if name == "digits":
        test, train = (load_digits(split, "offline") for split in ("test", "train"))
        return test.images, test.labels, train.images[in_turn(train.labels)]
    return *draw_butterflies(1200, 32, seed=6), draw_butterflies(1200, 32, seed=7)[0]


def in_turn(labels: Tensor) -> Tensor:
    """The order in which all classes come, then again, as in the samples."""
    places = torch.stack([torch.arange(len(labels))[labels == label] for label in labels.unique()])
    return places.T.flatten()


def twin_of(name: str, num_steps: int) -> torch.nn.Module:
    """The same network after few steps; what it averages is its last steps."""
    trained, ema, steps, _ = TWINS[name](num_steps)
    ema.decay = 0.98
    for _ in tqdm(in_bfloat16(steps), f"the twin for {name}", num_steps, disable=None):
        pass
    ema.copy_to(trained.model)
    return trained.model.eval()


def draw(trained: Trained, labels: Tensor, seed: int, **guidance) -> Tensor:
    """A picture for each label, guided as `Guidance` is told."""
    generator = torch.Generator().manual_seed(seed)
    x_T = torch.randn(len(labels), *trained.shape, generator=generator)
    options = {"num_steps": 16, "order": 2, "prediction_type": trained.prediction_type}
    drawn = []
    for noise, told in zip(x_T.split(100), labels.split(100), strict=True):
        told = {"class_labels": told}
        without = told if "weak" in guidance else None
        model = Guidance(trained.model, told, without, **guidance)
        with fast_arithmetic(DEVICE):
            *_, last = sample(model, trained.schedule, noise.to(DEVICE), **options)
        drawn.append(last.x_t.clamp(-1, 1).cpu())
    return torch.cat(drawn)


def ways(twin: torch.nn.Module | None) -> list[tuple[str, float, dict]]:
    """Each way to guide with each scale, and what `Guidance` is told."""
    low, high = INTERVAL
    found = [("all levels", scale, {"scale": scale}) for scale in SCALES]
    for scale in FEWER:
        inside = lambda t, scale=scale: scale if low <= t < high else 1.0  # noqa: E731
        found.append(("interval", scale, {"scale": inside}))
    if twin is not None:
        found += [("twin", scale, {"scale": scale, "weak": twin}) for scale in FEWER]
    return found


def measure(x: Tensor, labels: Tensor, held: Tensor) -> dict:
    """The numbers of a set of samples."""
    return {
        "agreement": round(agreement(x, labels), 4),
        "frechet": round(frechet_distance(x, held), 3),
        "kernel": round(kernel_distance(x, held), 4),
        "diversity": round(diversity(x, labels), 4),
        "confident": round(classify(x).confident, 4),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=240)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--names", nargs="+", default=list(FOLDERS))
    options.add_argument("--twin-steps", type=int, default=200)
    options.add_argument("--only", type=int, help="the first so many ways")
    options.add_argument("--output", type=Path, default=GUIDANCE)
    args = options.parse_args()
    rows, floors = [], {}
    for name in args.names:
        trained = load_trained(PRETRAINED / FOLDERS[name])
        trained.model.to(DEVICE)
        held, labels_of_held, others = real_pictures(name)
        floors[name] = measure(held, labels_of_held, held)
        floors[name]["frechet"] = round(frechet_distance(others[: args.samples], held), 3)
        floors[name]["kernel"] = round(kernel_distance(others[: args.samples], held), 4)
        labels = torch.arange(args.samples) % len(trained.classes)
        twin = twin_of(name, args.twin_steps) if args.only is None else None
        tasks = [(seed, *way) for seed in args.seeds for way in ways(twin)[: args.only]]
        for seed, way, scale, guidance in tqdm(tasks, name, disable=None):
            numbers = measure(draw(trained, labels, seed, **guidance), labels, held)
            rows.append({"data": name, "way": way, "scale": scale, "seed": seed} | numbers)
    result = {"machine": hardware(), "samples": args.samples, "interval": INTERVAL}
    result |= {"twin_steps": args.twin_steps, "floors": floors, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware(), f"{args.samples} samples, floors {floors}")
    table = pandas.DataFrame(rows)
    numbers = ["agreement", "frechet", "kernel", "diversity", "confident"]
    print(table.groupby(["data", "way", "scale"])[numbers].mean().round(3).to_string())


if __name__ == "__main__":
    main()
