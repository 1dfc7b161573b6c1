"""Trains the weights that ship: `python tests/bench/train_pretrained.py NAME [num_steps]`.

`butterflies-32` is a pipeline; its 10,000 training pictures are drawn with another seed than the
notebooks' data. `digits` is notebook 02's last network, trained longer, and `digits-parrot` the
same on 20 digits; `digits-toy` is its toy, trained for as long as a toy can use. Saved every 1,000
steps (the toy at the end), as float16, which halves the files.
"""

import copy
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from common import butterfly_unet
from ladder import TOY, learn
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    NoiseSchedule,
    Sampler,
    Trained,
    TrainStep,
    UNet,
    draw_butterflies,
    load_digits,
    logit_normal,
    make_loader,
    pick_device,
    save_trained,
    seed_everything,
    train,
)

DEVICE = pick_device()
Training = tuple[Trained, EMA, Iterator[TrainStep], int]


def butterflies(num_steps: int = 8_000) -> Training:
    """The pipeline of notebook 01's first cell."""
    generator, (images, _) = seed_everything(0), draw_butterflies(10_000, 32, seed=1)
    loader = make_loader(images, 32, flip=True, generator=generator, device=DEVICE)
    model, schedule = butterfly_unet((16, 32, 64, 112)).to(DEVICE), NoiseSchedule.cosine(1000)
    ema, options = EMA(model, decay=0.999), {"lr": 2e-3, "generator": generator}
    options |= {"num_steps": num_steps, "prediction_type": "v_prediction", "ema": ema}
    trained = Trained(model, schedule, "v_prediction", (3, 32, 32), Sampler(num_steps=20, order=2))
    return trained, ema, train(model, loader, schedule, **options), num_steps


def digits(num_steps: int = 3_000, num_digits: int | None = None) -> Training:
    """The last network of notebook 02's ladder."""
    generator, data = seed_everything(0), load_digits("train", "offline").first(num_digits)
    loader = make_loader(data, 64, generator=generator, device=DEVICE)
    model, schedule = UNet(channels=(32, 64)).to(DEVICE), NoiseSchedule.straight(1000)
    ema, options = EMA(model, decay=0.998), {"lr": 6e-3, "generator": generator}
    options |= {"num_steps": num_steps, "prediction_type": "v_prediction", "ema": ema}
    options |= {"optimizer": "muon", "timestep_sampling": partial(logit_normal, mean=0.4, std=0.8)}
    trained = Trained(
        model, schedule, "v_prediction", (1, 28, 28), Sampler(num_steps=50, order=1, eta=1.0)
    )
    return trained, ema, train(model, loader, schedule, **options), num_steps


def parrot(num_steps: int = 1_000) -> Training:
    """What becomes of the same network with 20 digits."""
    return digits(num_steps, num_digits=20)


def toy(num_steps: int = 4_000) -> None:
    """The toy with time enough: weights for `BasicUNet`, which knows no schedule."""
    generator, data = seed_everything(0), load_digits("train", "offline")
    network = learn(replace(TOY, falling=True), data.images, num_steps, generator).inner
    weights = {name: w.half().contiguous() for name, w in network.state_dict().items()}
    save_file(weights, PRETRAINED / "digits-toy.safetensors")


NAMES = {
    "butterflies-32": butterflies,
    "digits": digits,
    "digits-parrot": parrot,
}


def main(name: str, *num_steps: str) -> None:
    if name == "digits-toy":
        return toy(*map(int, num_steps))
    trained, ema, steps, number = NAMES[name](*map(int, num_steps))
    started = time.perf_counter()
    for done in tqdm(steps, total=number, disable=None):
        if done.step % 1000 == 0 or done.step == number:
            save(trained, ema, PRETRAINED / name)
            seconds = time.perf_counter() - started
            print(f"step {done.step}, loss {done.loss:.4f}, {seconds:.0f} s", flush=True)


def save(trained: Trained, ema: EMA, folder: Path) -> None:
    """The averaged weights as float16 numbers."""
    average: nn.Module = copy.deepcopy(trained.model)
    ema.copy_to(average)
    save_trained(trained._replace(model=average.cpu().to(torch.float16)), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
