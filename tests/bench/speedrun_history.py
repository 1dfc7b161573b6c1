"""The speedrun's entries from before there were recipes: `python tests/bench/speedrun_history.py`.

Trains the predecessor's toy, and the toy of notebook 02, for `--seconds` with each seed, judges
both as the command does, and writes an entry without a recipe for each into `--output-dir`.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from predecessor import draw_with_toy, train_toy
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import (
    BasicUNet,
    corrupt,
    count_parameters,
    cycle,
    make_loader,
    seed_everything,
    to_display_range,
    to_uint8,
)
from course_utils.runs.cost import matmul_rate
from course_utils.runtime import hardware
from course_utils.speedrun import SEEDS, TRACKS, check_entry
from course_utils.speedrun.racing import judge, threads
from course_utils.speedrun.tracks import RESULTS

TRACK = TRACKS["digits"]
CALLS = 40


def train_notebooks_toy(images: Tensor, seconds: float) -> nn.Module:
    """Notebook 02's: a linear last layer, batches from memory."""
    network, loader = BasicUNet(), make_loader(images, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    started = time.perf_counter()
    for x0 in cycle(loader):
        x = to_display_range(x0)
        loss = F.mse_loss(network(corrupt(x, torch.rand(len(x)))), x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if time.perf_counter() - started > seconds:
            return network


TOYS = {
    "predecessor": ("the predecessor's toy", lambda *job: train_toy(*job)[0]),
    "toy": ("linear last layer, pictures from memory: notebook 02's toy", train_notebooks_toy),
}
KOREAN = {
    "predecessor": "이전 강좌의 연습용 모델",
    "toy": "선형 마지막 층, 메모리의 이미지: 노트북 02의 연습용 모델",
}


def run(train: Callable, pictures: tuple[Tensor, Tensor], seconds: float, seed: int) -> dict:
    """One seed of an entry."""
    before, started = matmul_rate(), time.perf_counter()
    seed_everything(seed)
    network = train(pictures[0], seconds)
    took = round(time.perf_counter() - started, 1)
    rate = (before + matmul_rate()) / 2
    samples = to_uint8(draw_with_toy(network, TRACK.num_samples, CALLS).clamp(-1, 1))
    return {
        "seed": seed,
        "seconds": took,
        "gflops": round(rate / 1e9, 1),
        "tflop": round(took * rate / 1e12, 2),
        "parameters": count_parameters(network),
        "calls": CALLS,
        **judge(TRACK, samples, *pictures, flip=False),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--output-dir", type=Path, default=RESULTS)
    args = options.parse_args()
    pictures = TRACK.open()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for number, (name, (what, train)) in enumerate(TOYS.items()):
        with threads(2):
            runs = [run(train, pictures, args.seconds, seed) for seed in SEEDS]
        entry = {
            "track": TRACK.name,
            "date": time.strftime("%Y-%m-%d"),
            "changed": {"en": what, "ko": KOREAN[name]},
            "recipe": None,
            "pictures": TRACK.pictures,
            "evaluator": TRACK.evaluator,
            "num_samples": TRACK.num_samples,
            "hardware": hardware(),
            "runs": runs,
        }
        for each in runs:
            print(f"{what}, seed {each['seed']}: Fréchet distance {each['frechet']:.1f}")
        file = args.output_dir / f"digits-{number}-{name}.json"
        file.write_text(json.dumps(entry | {"runs": runs}, indent=1), encoding="utf-8")
        check_entry(entry)


if __name__ == "__main__":
    main()
