"""Whom fresh noise helps: `python tests/bench/fresh_noise.py`.

The same network after few, some and many training steps draws digits with fresh noise at each step
(eta 1, DDPM) and without (eta 0, DDIM), by few calls and by many, with each seed. Writes
course_utils/results/fresh_noise.json, which notebook 02 shows.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from ladder import BATCH
from torch import Tensor
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    NoiseSchedule,
    Trained,
    UNet,
    fast_arithmetic,
    frechet_distance,
    load_digits,
    load_trained,
    logit_normal,
    make_loader,
    sample,
    seed_everything,
    train,
)
from course_utils.evaluation.benchmarks import FRESH_NOISE
from course_utils.runtime import hardware, pick_device

SHIPPED_STEPS = 3_000  # of pretrained/digits


def learn(images: Tensor, num_steps: int, seed: int) -> Trained:
    """The network of pretrained/digits after fewer steps."""
    generator, model = seed_everything(seed), UNet(channels=(32, 64))
    schedule, ema = NoiseSchedule.straight(1000), EMA(model, decay=0.99)
    loader = make_loader(images, BATCH, generator=generator)
    options = {"lr": 6e-3, "optimizer": "muon", "ema": ema, "generator": generator}
    options |= {"timestep_sampling": partial(logit_normal, mean=0.4, std=0.8)}
    options |= {"num_steps": num_steps, "prediction_type": "v_prediction"}
    with fast_arithmetic(pick_device()):
        for _ in train(model, loader, schedule, **options):
            pass
    ema.copy_to(model)
    return Trained(model, schedule, "v_prediction", (1, 28, 28))


def draw(trained: Trained, num: int, calls: int, eta: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    options = {"num_steps": calls, "eta": eta, "generator": generator}
    options |= {"prediction_type": trained.prediction_type}
    drawn = []
    for x_T in torch.randn(num, *trained.shape, generator=generator).split(100):
        with fast_arithmetic(pick_device()):
            *_, last = sample(trained.model, trained.schedule, x_T, **options)
        drawn.append(last.x_t.float().clamp(-1, 1))
    return torch.cat(drawn)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, nargs="+", default=[100, 400, SHIPPED_STEPS])
    options.add_argument("--calls", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    options.add_argument("--samples", type=int, default=300)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--output", type=Path, default=FRESH_NOISE)
    args = options.parse_args()
    seen, held = (load_digits(split, "offline").images for split in ("train", "test"))
    rows, shipped = [], load_trained(PRETRAINED / "digits")
    for seed in tqdm(args.seeds, "seeds", disable=None):
        for steps in args.steps:
            trained = shipped if steps == SHIPPED_STEPS else learn(seen, steps, seed)
            for calls in args.calls:
                for eta in (0.0, 1.0):
                    x = draw(trained, args.samples, calls, eta, seed)
                    row = {"steps": steps, "seed": seed, "calls": calls, "eta": eta}
                    rows.append(row | {"frechet": round(frechet_distance(x, held), 2)})
    floor = round(frechet_distance(seen[: args.samples], held), 2)
    result = {"machine": hardware(), "samples": args.samples, "floor": floor, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware())
    for steps, calls, eta in dict.fromkeys((r["steps"], r["calls"], r["eta"]) for r in rows):
        seeds = [r for r in rows if (r["steps"], r["calls"], r["eta"]) == (steps, calls, eta)]
        found = torch.tensor([row["frechet"] for row in seeds])
        std = found.std().item() if len(found) > 1 else 0.0
        print(f"{steps:5} steps, {calls:2} calls, eta {eta:.0f}: {found.mean():6.1f} ± {std:.1f}")
    print(f"{args.samples} samples, floor {floor}")


if __name__ == "__main__":
    main()
