"""The ladder of notebook 02 as an experiment: `python tests/bench/ladder.py`.

One half begins with the toy and adds exactly one change; the other begins with the best recipe
and takes exactly one away. Each trains for the same number of steps, draws the same number of
digits, and is judged with each seed. Writes course_utils/results/ladder.json.
"""

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils import (
    EMA,
    BasicUNet,
    NoiseSchedule,
    UNet,
    cycle,
    draw_timesteps,
    fast_arithmetic,
    frechet_distance,
    load_digits,
    logit_normal,
    make_loader,
    make_optimizer,
    seed_everything,
)
from course_utils.evaluation.benchmarks import LADDER
from course_utils.runtime import hardware, pick_device
from course_utils.training.loop import learning_rate

T, CALLS, BATCH = 1000, 20, 64
FIRST = {"all": T - 1, "98 %": T * 98 // 100 - 1}  # the timestep that sampling begins at


@dataclass(frozen=True)
class Setting:
    """All that a rung may change; as it stands, the toy of the beginning."""

    network: str = "toy"
    told_time: bool = False
    low: float = 0.0  # pixels run from here to 1
    noise: str = "uniform"
    width: float = 1 / 12**0.5  # standard deviation of the noise, where pixels run from 0 to 1
    schedule: str = "straight"
    target: str = "sample"
    first: str = "all"
    optimizer: str = "adamw"
    lr: float = 1e-3
    falling: bool = False  # the learning rate: up to lr and down to 0
    decay: float | None = None  # of the average of the weights that draws
    timesteps: str = "uniform"
    longer: float = 1.0  # how many times the steps


TOY = Setting()
BEST = Setting(
    network="unet",
    told_time=True,
    low=-1.0,
    noise="gaussian",
    width=0.5,
    target="v_prediction",
    optimizer="muon",
    lr=6e-3,
    falling=True,
    decay=0.99,
    timesteps="logit_normal",
)
ADDED = {
    "pixels from -1 to 1": {"low": -1.0},
    "Gaussian noise, as wide": {"noise": "gaussian"},
    "Gaussian noise, width 1": {"noise": "gaussian", "width": 1.0},
    "told the time": {"told_time": True},
    "average of the weights": {"decay": 0.99},
    "falling learning rate": {"falling": True},
    "target: velocity": {"target": "v_prediction"},
    "target: noise": {"target": "epsilon"},
    "target: noise, from 98 %": {"target": "epsilon", "first": "98 %"},
    "circle (cosine)": {"schedule": "cosine"},
    "a better UNet": {"network": "unet"},
    "Muon": {"optimizer": "muon", "lr": 6e-3},
    "logit-normal timesteps": {"timesteps": "logit_normal"},
    "five times the steps": {"longer": 5.0},
}
TAKEN = {
    "pixels from 0 to 1": {"low": 0.0},
    "uniform noise, as wide": {"noise": "uniform"},
    "half the noise": {"width": 0.25},
    "not told the time": {"told_time": False},
    "no average of the weights": {"decay": None},
    "constant learning rate": {"falling": False},
    "target: clean picture": {"target": "sample"},
    "target: noise": {"target": "epsilon"},
    "target: noise, from 98 %": {"target": "epsilon", "first": "98 %"},
    "circle (cosine)": {"schedule": "cosine"},
    "the toy's network": {"network": "toy"},
    "AdamW": {"optimizer": "adamw", "lr": 2e-3},
    "uniform timesteps": {"timesteps": "uniform"},
    "a fifth of the steps": {"longer": 0.2},
}
HALVES = {"added": (TOY, "the toy", ADDED), "taken": (BEST, "the best recipe", TAKEN)}


class Network(nn.Module):
    """The toy or the course's UNet; who isn't told the time sees timestep 0 always."""

    def __init__(self, setting: Setting):
        super().__init__()
        self.toy, self.told = setting.network == "toy", setting.told_time
        channels = 2 if self.toy and self.told else 1
        self.inner = BasicUNet(channels) if self.toy else UNet(channels=(32, 64))

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        if not self.toy:
            return self.inner(x, timesteps if self.told else torch.zeros_like(timesteps))
        if not self.told:
            return self.inner(x, timesteps)
        time = (timesteps / T).to(x).reshape(-1, 1, 1, 1).expand_as(x)
        return self.inner(torch.cat([x, time], dim=1), timesteps)


def make_noise(setting: Setting, shape, generator: torch.Generator) -> Tensor:
    """Noise centred between black and white, in the units of the pixels."""
    if setting.noise == "gaussian":
        noise = torch.randn(shape, generator=generator)
    else:
        noise = (torch.rand(shape, generator=generator) - 0.5) * 12**0.5
    pixels = 1 - setting.low  # from black to white
    return (setting.low + 1) / 2 + setting.width * pixels * noise


def learn(setting: Setting, images: Tensor, num_steps: int, generator: torch.Generator) -> Network:
    """Train by the setting; the average of the weights is what comes back, where there is one."""
    model, schedule = Network(setting), getattr(NoiseSchedule, setting.schedule)(T)
    optimizer = make_optimizer(model, setting.lr, setting.optimizer)
    spacing = {"logit_normal": partial(logit_normal, mean=0.4, std=0.8)}
    spacing = spacing.get(setting.timesteps, setting.timesteps)
    ema = EMA(model, setting.decay) if setting.decay else None
    loader = make_loader(images, BATCH, generator=generator)
    for step, x0 in zip(range(num_steps), cycle(loader), strict=False):
        x0 = setting.low + (x0 + 1) / 2 * (1 - setting.low)
        noise = make_noise(setting, x0.shape, generator)
        timesteps = draw_timesteps(len(x0), T, spacing, generator)
        if setting.falling:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, num_steps, setting.lr)
        with fast_arithmetic(pick_device()):
            answer = model(schedule.add_noise(x0, noise, timesteps), timesteps).float()
        loss = F.mse_loss(answer, schedule.target(x0, noise, timesteps, setting.target))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if ema:
            ema.update(model)
    if ema:
        ema.copy_to(model)
    return model


@torch.no_grad()
def draw(setting: Setting, model: Network, num: int, generator: torch.Generator) -> Tensor:
    """Digits in [-1, 1], in CALLS equal strides from the first timestep down."""
    schedule = getattr(NoiseSchedule, setting.schedule)(T)
    timesteps = torch.linspace(FIRST[setting.first], 0, CALLS + 1).round().int().tolist()[:-1]
    x = make_noise(setting, (num, 1, 28, 28), generator)
    for t, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        here = schedule.point(t, x)
        here = here._replace(alpha=here.alpha.clamp(min=1e-4))  # the noise tells nothing at 0
        with fast_arithmetic(pick_device()):
            answers = [model(part, torch.full((len(part),), t)).float() for part in x.split(100)]
        answer = torch.cat(answers)
        x0 = here.x0(answer, x, setting.target)
        noise = here.noise(answer, x, setting.target)
        x = x0 if following is None else schedule.point(following, x).mix(x0, noise)
    return ((x - setting.low) / (1 - setting.low) * 2 - 1).nan_to_num().clamp(-1, 1)


def climb(setting: Setting, seen: Tensor, held: Tensor, steps: int, num: int, seed: int) -> dict:
    """Train, draw and judge with one seed."""
    generator, num_steps = seed_everything(seed), max(1, round(steps * setting.longer))
    model = learn(setting, seen, num_steps, generator)
    drawn = draw(setting, model, num, torch.Generator().manual_seed(seed))
    return {"steps": num_steps, "frechet": round(frechet_distance(drawn, held), 2)}


def report(result: dict) -> None:
    """Each rung's mean and standard deviation over the seeds."""
    print(result["machine"])
    names = dict.fromkeys((row["half"], row["rung"]) for row in result["rows"])
    for half, rung in names:
        rows = [r for r in result["rows"] if (r["half"], r["rung"]) == (half, rung)]
        found = torch.tensor([row["frechet"] for row in rows])
        std = found.std().item() if len(found) > 1 else 0.0
        print(f"{half:6} {rung:28} {found.mean():7.1f} ± {std:.1f}")
    print(f"{result['samples']} samples, floor {result['floor']}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--samples", type=int, default=300)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--halves", nargs="+", default=list(HALVES), choices=list(HALVES))
    options.add_argument("--output", type=Path, default=LADDER)
    args = options.parse_args()
    seen, held = (load_digits(split, "offline").images for split in ("train", "test"))
    rows = []
    for seed in args.seeds:
        for half in args.halves:
            start, name, changes = HALVES[half]
            rungs = {name: start} | {n: replace(start, **change) for n, change in changes.items()}
            for rung, setting in tqdm(rungs.items(), f"{half}, seed {seed}", disable=None):
                found = climb(setting, seen, held, args.steps, args.samples, seed)
                rows.append({"half": half, "rung": rung, "seed": seed} | found)
                print(rows[-1], flush=True)
    floor = round(frechet_distance(seen[: args.samples], held), 2)
    result = {"machine": hardware(), "samples": args.samples, "floor": floor, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report(result)


if __name__ == "__main__":
    main()
