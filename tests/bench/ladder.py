"""The ladder of notebook 02, climbed with several seeds: `python tests/bench/ladder.py`.

Each rung changes one thing, trains for the same number of steps and draws the same number of
digits; the last one trains ten times as long. Writes course_utils/results/ladder.json.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from course_utils import (
    EMA,
    BasicUNet,
    NoiseSchedule,
    UNet,
    corrupt,
    cycle,
    frechet_distance,
    load_digits,
    logit_normal,
    make_loader,
    sample,
    seed_everything,
    to_display_range,
    to_model_range,
    train,
)
from course_utils.evaluation.benchmarks import LADDER
from course_utils.runtime import hardware

CALLS = 20


class TimedUNet(BasicUNet):
    """The toy, told the time by one more channel."""

    def __init__(self):
        super().__init__(in_channels=2)

    def forward(self, x, timesteps):
        time = (timesteps / 1000).reshape(-1, 1, 1, 1).expand_as(x)
        return super().forward(torch.cat([x, time], dim=1))


def toy(images: Tensor, num_steps: int, num_samples: int, seed: int) -> Tensor:
    """The toy of the beginning: uniform noise, the mix, a walk of 40 steps."""
    generator = seed_everything(seed)
    network, loader = BasicUNet(), make_loader(images, 64, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _, x0 in zip(range(num_steps), cycle(loader), strict=False):
        x = to_display_range(x0)
        loss = F.mse_loss(network(corrupt(x, torch.rand(len(x)))), x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    x = torch.rand(num_samples, 1, 28, 28, generator=generator)
    with torch.no_grad():
        for i in range(40):
            x = x + (network(x) - x) / (40 - i)
    return to_model_range(x.clamp(0, 1))


def rung(
    images: Tensor,
    num_steps: int,
    num_samples: int,
    seed: int,
    *,
    network: type = BasicUNet,
    schedule: str = "straight",
    target: str = "v_prediction",
    lr: float = 1e-3,
    decay: float | None = None,
    clip: bool = False,
    **options,
) -> Tensor:
    """Digits of a network trained by `train`; without a decay it draws with its own weights."""
    generator = seed_everything(seed)
    model, curve = network(), getattr(NoiseSchedule, schedule)(1000)
    ema = EMA(model, decay) if decay else None
    loader = make_loader(images, 64, generator=generator)
    how = {"num_steps": num_steps, "lr": lr, "prediction_type": target, "generator": generator}
    for _ in train(model, loader, curve, ema=ema, **how, **options):
        pass
    if ema:
        ema.copy_to(model)
    noise = torch.randn(num_samples, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    walk = {"num_steps": CALLS, "prediction_type": target, "clip": clip}
    return torch.cat([list(sample(model, curve, x, **walk))[-1].x_t for x in noise.split(100)])


SMALL = partial(UNet, channels=(32, 64))
RUNGS = {
    "toy": toy,
    "Gaussian, straight": partial(rung, target="sample"),
    "cosine": partial(rung, schedule="cosine", target="sample"),
    "cosine, epsilon": partial(rung, schedule="cosine", target="epsilon", clip=True),
    "cosine, v_prediction": partial(rung, schedule="cosine"),
    "told the time, straight": partial(rung, network=TimedUNet),
    "the same, EMA": partial(rung, network=TimedUNet, decay=0.99),
    "a better UNet": partial(rung, network=SMALL, lr=2e-3, decay=0.99),
    "longer": partial(
        rung,
        network=SMALL,
        lr=6e-3,
        decay=0.998,
        optimizer="muon",
        timestep_sampling=partial(logit_normal, mean=0.4, std=0.8),
    ),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--samples", type=int, default=300)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--output", type=Path, default=LADDER)
    args = options.parse_args()
    seen, held = (load_digits(split, "offline").images for split in ("train", "test"))
    rows = []
    for seed in args.seeds:
        for name, climb in tqdm(RUNGS.items(), f"seed {seed}", disable=None):
            num_steps = args.steps * (10 if name == "longer" else 1)
            drawn = climb(seen, num_steps, args.samples, seed).clamp(-1, 1)
            distance = round(frechet_distance(drawn, held), 2)
            rows.append({"rung": name, "seed": seed, "steps": num_steps, "frechet": distance})
    floor = round(frechet_distance(seen[: args.samples], held), 2)
    result = {"machine": hardware(), "samples": args.samples, "floor": floor, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware())
    for name in RUNGS:
        found = torch.tensor([row["frechet"] for row in rows if row["rung"] == name])
        spread = found.std().item() if len(found) > 1 else 0.0
        print(f"{name:26} {found.mean():7.1f} ± {spread:.1f}")
    print(f"{args.samples} samples, floor {floor}")


if __name__ == "__main__":
    main()
