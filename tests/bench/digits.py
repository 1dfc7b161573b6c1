"""Digits: the course's recipe beside the predecessor's toy: `python tests/bench/digits.py`.

One run trains the toy for `--seconds`, then the network of the recipe `digits-cpu` for a thirtieth
of that and for all of it, and prints the table of distances and the ratios. `--output-dir` keeps
the samples as .npz files, uint8 (N, 1, 28, 28), for another judge.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from common import arithmetic, step_seconds, told_digits, train_for
from predecessor import draw_with_toy, train_toy

from course_utils import Sampler, Trained, load_digits, seed_everything, to_uint8
from course_utils.evaluation.distances import compare
from course_utils.runtime import hardware


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=221)
    options.add_argument("--samples", type=int, default=2000)
    options.add_argument("--calls", type=int, default=50)
    options.add_argument("--source", default="offline", choices=["offline", "hub", "auto"])
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--output-dir", type=Path)
    args = options.parse_args()
    data, held = load_digits("train", args.source), load_digits("test", args.source).images

    seed_everything(args.seed)
    toy, steps = train_toy(data.images, args.seconds)
    name = f"the predecessor's toy, {args.seconds:.0f} s, {steps} steps"
    drawn = {name: draw_with_toy(toy, args.samples)}
    pace = step_seconds(told_digits(data, args.seed), args.seconds / 10)
    for seconds in (args.seconds / 30, args.seconds):
        recipe = told_digits(data, args.seed)
        started = time.perf_counter()
        model = train_for(seconds, recipe, pace)
        took = time.perf_counter() - started
        name = f"the course's UNet, {took:.0f} s of {seconds:.3g} s"
        how = (
            recipe["prediction_type"],
            (1, 28, 28),
            Sampler(num_steps=args.calls // 2, order=1, eta=1.0),
        )
        with arithmetic(recipe):
            drawn[name] = Trained(model, recipe["schedule"], *how).draw(args.samples, guidance=1.3)
    table = compare(drawn, held, data.images)
    print(f"{hardware()}, seed {args.seed}, {len(data)} digits ({args.source})")
    print(table.round(2).to_string())
    toy_distance, soon, same_time, _ = table.iloc[:, 0]
    print(f"30 times sooner than the toy: {toy_distance / soon:.1f} times nearer")
    print(f"in the same time as the toy: {toy_distance / same_time:.1f} times nearer")
    if args.output_dir:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        for number, pictures in enumerate(drawn.values()):
            np.savez_compressed(args.output_dir / f"{number}.npz", to_uint8(pictures).numpy())


if __name__ == "__main__":
    main()
