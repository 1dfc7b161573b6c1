"""How far a loss steers, and what it costs: `python tests/bench/steering.py`.

The shipped butterflies are drawn towards a mean colour (morpho's), and towards mirror symmetry, at
growing scales, with each seed; the gradient goes through the network, or past it. Counted is how
far from the goal they end, and how far from real butterflies. Writes
course_utils/results/steering.json, which notebook 03 shows.
"""

import argparse
import json
from functools import partial
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from course_utils import (
    PRETRAINED,
    SPECIES,
    Steered,
    asymmetry,
    draw_butterflies,
    kernel_distance,
    load_trained,
    off_palette,
    to_model_range,
)
from course_utils.evaluation.benchmarks import STEERING
from course_utils.runtime import hardware

SCALES = {("colour", True): (0, 5, 20, 50, 100, 200), ("symmetry", True): (20, 100, 300, 1000)}
SCALES |= {("colour", False): (20, 100, 500)}


def off_colour(x0: Tensor, goal: Tensor) -> Tensor:
    """Squared distance of the mean colour from the goal (3,)."""
    return (x0.mean((2, 3)) - goal).square().sum(1)


def unlike_mirror(x0: Tensor) -> Tensor:
    """Mean squared difference from the mirror image."""
    return (x0 - x0.flip(-1)).square().mean((1, 2, 3))


def measure(x: Tensor, real: Tensor, goal: Tensor) -> dict:
    """How far from both goals, as root mean squares, and from real butterflies."""
    numbers = {
        "colour": off_colour(x, goal).mean().sqrt().item(),
        "symmetry": unlike_mirror(x).mean().sqrt().item(),
        "asymmetry": asymmetry(x).mean().item(),
        "off_palette": off_palette(x).mean().item(),
        "kernel": kernel_distance(x, real),
    }
    return {name: round(number, 4) for name, number in numbers.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=32)
    options.add_argument("--calls", type=int, default=20)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--output", type=Path, default=STEERING)
    args = options.parse_args()
    images, labels = draw_butterflies(600, seed=6)
    real = to_model_range(images)
    goal = real[labels == SPECIES.index("morpho")].mean((0, 2, 3))
    losses = {"colour": partial(off_colour, goal=goal), "symmetry": unlike_mirror}
    trained = load_trained(PRETRAINED / "butterflies-32")
    inner = (trained.schedule, trained.prediction_type)
    settings = [(*how, scale) for how, scales in SCALES.items() for scale in scales]
    rows = []
    for loss, through, scale in tqdm(settings, disable=None):
        steered = Steered(trained.model, losses[loss], *inner, scale, through)
        for seed in args.seeds:
            drawing = trained._replace(model=steered)
            x = drawing.draw(args.samples, seed=seed, num_steps=args.calls)
            row = {"loss": loss, "through": through, "scale": scale, "seed": seed}
            rows.append(row | measure(x, real, goal))
    floor = measure(real[: args.samples], real[args.samples :], goal)
    result = {"machine": hardware(), "samples": args.samples, "goal": goal.tolist()}
    result |= {"floor": floor, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware())
    for how in settings:
        mine = [r for r in rows if (r["loss"], r["through"], r["scale"]) == how]
        means = {n: sum(r[n] for r in mine) / len(mine) for n in (how[0], "off_palette", "kernel")}
        print(*how, *(f"{name} {mean:.3f}" for name, mean in means.items()))
    print(f"{args.samples} samples, floor {floor}")


if __name__ == "__main__":
    main()
