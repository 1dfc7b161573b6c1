"""Butterflies: notebook 01's recipe beside the predecessor's: `python tests/bench/butterflies.py`.

One run trains both for `--seconds` and prints two tables: what each draws at its own number of
calls, and the course's network with 1,000 calls of DDPM beside 20 calls.
"""

import argparse
import time

import pandas
from common import butterfly_recipe, draw, step_seconds, train_for
from predecessor import draw_butterflies_by_ddpm, train_butterflies

from course_utils import draw_butterflies, load_butterflies, seed_everything
from course_utils.evaluation.butterfly_laws import asymmetry, off_palette
from course_utils.evaluation.distances import compare
from course_utils.runtime import hardware


def table_of(drawn: dict, held, floor) -> pandas.DataFrame:
    """The distances, and how far the laws are broken."""
    table = compare(drawn, held, floor)
    rows = [*drawn.values(), floor[: len(next(iter(drawn.values())))]]
    table["asymmetry"] = [asymmetry(x).mean().item() for x in rows]
    table["off palette"] = [off_palette(x).mean().item() for x in rows]
    return table.round(3)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--samples", type=int, default=16, help="of each network in table 1")
    options.add_argument("--more-samples", type=int, default=100, help="in table 2")
    options.add_argument("--ddpm-calls", type=int, default=1000)
    options.add_argument("--pictures", type=int, default=1000, help="to train on")
    options.add_argument("--held", type=int, default=1200, help="pictures to compare with")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    seen = load_butterflies(32, args.pictures, "offline").images
    held = draw_butterflies(args.held, 32, seed=6)[0]
    floor = draw_butterflies(args.held, 32, seed=7)[0]

    seed_everything(args.seed)
    files = draw_butterflies(args.pictures, 128, seed=0)[
        0
    ]  # the same butterflies, as files to decode
    pipeline, steps = train_butterflies(files, args.seconds)
    started = time.perf_counter()
    drawn = draw_butterflies_by_ddpm(pipeline, args.samples, args.ddpm_calls)
    took = time.perf_counter() - started
    name = f"predecessor, {args.seconds:.0f} s, {steps} steps, DDPM {args.ddpm_calls} calls"
    first = {f"{name} in {took:.0f} s": drawn}
    pace = step_seconds(butterfly_recipe(seen, args.seed), args.seconds / 10)
    recipe = butterfly_recipe(seen, args.seed)
    started = time.perf_counter()
    model = train_for(args.seconds, recipe, pace)
    trained = time.perf_counter() - started
    started = time.perf_counter()
    drawn = draw(model, recipe, args.samples, 20, order=2)
    took = time.perf_counter() - started
    first[f"course, {trained:.0f} s, 20 calls in {took:.1f} s"] = drawn
    print(f"{hardware()}, seed {args.seed}")
    table = table_of(first, held, floor)
    print(table.to_string())
    theirs, ours, _ = table.iloc[:, 1]
    print(f"kernel distance at equal time: {theirs / ours:.1f} times lower\n")

    second = {}
    for name, calls, settings in (
        (f"DDPM, {args.ddpm_calls} calls", args.ddpm_calls, {"eta": 1.0}),
        ("DDIM, 20 calls", 20, {}),
        ("order 2, 20 calls", 20, {"order": 2}),
    ):
        started = time.perf_counter()
        drawn = draw(model, recipe, args.more_samples, calls, **settings)
        second[f"{name}, {time.perf_counter() - started:.1f} s"] = drawn
    print(table_of(second, held, floor).to_string())


if __name__ == "__main__":
    main()
