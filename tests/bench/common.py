"""What the benchmarks share: the course's recipes, training for some time, the machine's name."""

import time
from functools import partial
from itertools import islice

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from tqdm import tqdm

from course_utils import (
    EMA,
    ImageData,
    NoiseSchedule,
    UNet,
    make_loader,
    sample,
    seed_everything,
    train,
)
from course_utils.runtime import fast_arithmetic, pick_device
from course_utils.training.loss import logit_normal

DEVICE = pick_device()


def digit_recipe(images: Tensor, seed: int = 0) -> dict:
    """What `train` needs for the course's digits, but for the number of steps."""
    generator = seed_everything(seed)
    return {
        "model": UNet(channels=(32, 64)).to(DEVICE),
        "loader": make_loader(images, 64, generator=generator, device=DEVICE),
        "schedule": NoiseSchedule.straight(1000),
        "prediction_type": "v_prediction",
        "timestep_sampling": partial(logit_normal, mean=0.4, std=0.8),
        "optimizer": "muon",
        "lr": 6e-3,
        "generator": generator,
    }


def told_digits(data: ImageData, seed: int = 0) -> dict:
    """The same for the recipe `digits-cpu`, whose network is told which digit it sees."""
    generator = seed_everything(seed)
    return digit_recipe(data.images, seed) | {
        "model": UNet(channels=(32, 64), num_classes=len(data.classes)).to(DEVICE),
        "loader": make_loader(data, 32, condition=True, generator=generator, device=DEVICE),
        "timestep_sampling": "logit_normal",
        "drop": 0.1,
    }


def butterfly_unet(channels: tuple[int, ...] = (16, 32, 64, 64)) -> UNet2DModel:
    """The network that notebook 01 trains."""
    return UNet2DModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )


def butterfly_recipe(images: Tensor, seed: int = 0) -> dict:
    """What `train` needs for the course's butterflies, but for the number of steps."""
    generator = seed_everything(seed)
    return {
        "model": butterfly_unet().to(DEVICE),
        "loader": make_loader(images, 16, flip=True, generator=generator, device=DEVICE),
        "schedule": NoiseSchedule.cosine(1000),
        "prediction_type": "v_prediction",
        "timestep_sampling": "logit_normal",
        "optimizer": "muon",
        "lr": 6e-3,
        "generator": generator,
    }


def arithmetic(recipe: dict) -> torch.autocast:
    """bfloat16 for the digits; for the butterflies, whose layers are narrow, only on a GPU."""
    narrow = isinstance(recipe["model"], UNet2DModel) and DEVICE.type == "cpu"
    return torch.autocast("cpu", enabled=False) if narrow else fast_arithmetic(DEVICE)


def step_seconds(recipe: dict, seconds: float) -> float:
    """How long a training step takes, in the mean over `seconds`; the recipe's network is used up.

    The first three, in which libraries prepare themselves, are left out.
    """
    steps = train(**recipe, num_steps=10_000)
    with arithmetic(recipe):
        for _ in islice(steps, 3):
            pass
        started, done, took = time.perf_counter(), 0, 0.0
        while took < seconds or not done:
            next(steps)
            done, took = done + 1, time.perf_counter() - started
    return took / done


def train_for(seconds: float, recipe: dict, seconds_per_step: float) -> nn.Module:
    """The averaged model after about so many seconds, its learning rate run down to 0."""
    num_steps = max(1, round(seconds / seconds_per_step))
    ema = EMA(recipe["model"], decay=max(0.0, min(0.998, 1 - 4 / num_steps)))
    steps = train(**recipe, num_steps=num_steps, ema=ema)
    with arithmetic(recipe):
        for _ in tqdm(steps, total=num_steps, disable=None):
            pass
    ema.copy_to(recipe["model"])
    return recipe["model"]


def draw(model: nn.Module, recipe: dict, num_images: int, num_steps: int, **options) -> Tensor:
    """The last x_t of `sample`, in batches, from the same noise each time, on the CPU."""
    shape = next(iter(recipe["loader"])).shape[1:]
    noise = torch.randn(num_images, *shape, generator=torch.Generator().manual_seed(1))
    fresh = torch.Generator().manual_seed(2)
    options = {
        "num_steps": num_steps,
        "prediction_type": recipe["prediction_type"],
        "generator": fresh,
    } | options
    with arithmetic(recipe):
        drawn = [
            list(sample(model, recipe["schedule"], x_T.to(DEVICE), **options))[-1].x_t.cpu()
            for x_T in noise.split(250)
        ]
    return torch.cat(drawn)
