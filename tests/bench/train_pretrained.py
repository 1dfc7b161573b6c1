"""Trains the weights that ship: `python tests/bench/train_pretrained.py NAME [num_steps]`.

`butterflies-32` is a pipeline; its 10,000 training pictures are drawn with another seed than the
notebooks' data. `digits` is notebook 02's last network, trained longer, and `digits-parrot` the
same on 20 digits; `digits-toy` is its toy, trained for as long as a toy can use. `digits-classes`
and `butterflies-32-classes` are told what they draw, one time in seven not: pipelines of notebook
03. `butterflies-32-silhouettes` is the branch with which the latter follows a drawing, and
`butterflies_silhouettes` finds a butterfly's shape in its picture. Saved every 1,000 steps (what is
no pipeline at the end), as float16, which halves the files.
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
from diffusers import UNet2DModel
from ladder import TOY, learn
from safetensors.torch import save_file
from silhouettes import follow
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    SPECIES,
    ImageData,
    NoiseSchedule,
    Sampler,
    Trained,
    TrainStep,
    UNet,
    cycle,
    draw_butterflies,
    draw_silhouettes,
    load_digits,
    load_trained,
    logit_normal,
    make_loader,
    pick_device,
    save_trained,
    seed_everything,
    train,
)
from course_utils.data.loader import Loader
from course_utils.evaluation.silhouettes import WEIGHTS, finder
from course_utils.runtime import fast_arithmetic
from course_utils.training.loop import learning_rate

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


def segment(num_steps: int = 2_000) -> None:
    """What tells butterfly from paper: a pixel's surroundings, and the exact masks. One picture in
    two is cut, so that it is not the place that tells."""
    generator = seed_everything(0)
    pictures, masks = draw_butterflies(4_800, 32, seed=1)[0], draw_silhouettes(4_800, 32, seed=1)
    loader = make_loader(pictures, 32, generator=generator, condition={"mask": masks})
    network = finder()
    optimizer = torch.optim.AdamW(network.parameters())
    for step, (x0, told) in zip(tqdm(range(num_steps)), cycle(loader), strict=False):
        optimizer.param_groups[0]["lr"] = learning_rate(step, num_steps, 1e-2, warmup=0.3)
        kept = _half_planes(len(x0), generator)
        x0 = torch.where(kept, x0, x0[:, :, :1, :1])
        noise = 0.04 * torch.rand(len(x0), 1, 1, 1, generator=generator)  # samples are not perfect
        x0 = x0 + noise * torch.randn(x0.shape, generator=generator)
        loss = binary_cross_entropy_with_logits(network(x0), kept * told["mask"] / 255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(network.state_dict(), WEIGHTS)


def _half_planes(num: int, generator: torch.Generator) -> torch.Tensor:
    """(num, 1, 32, 32): what is kept on one side of a random line, or everything."""
    axis, (turn, shift) = (
        torch.linspace(-1, 1, 32),
        torch.rand(2, num, 1, 1, 1, generator=generator),
    )
    across = (6.3 * turn).cos() * axis + (6.3 * turn).sin() * axis[:, None]
    return across > 8 * shift - 4.8


def digits_classes(num_steps: int = 4_000) -> Training:
    """Digits on demand."""
    generator, data = seed_everything(0), load_digits("train", "offline")
    model = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        num_class_embeds=len(data.classes) + 1,
    )
    loader = make_loader(data, 64, generator=generator, device=DEVICE, condition=True)
    return _told(model, data, loader, num_steps, generator)


def butterflies_classes(num_steps: int = 8_000) -> Training:
    """Butterflies by species: goes on from the pipeline without labels, whose new rows are 0."""
    generator = seed_everything(0)
    data = ImageData(*draw_butterflies(10_000, 32, seed=1), SPECIES, "offline")
    loader = make_loader(data, 32, flip=True, generator=generator, device=DEVICE, condition=True)
    untold = load_trained(PRETRAINED / "butterflies-32").model
    config = dict(untold.config) | {"num_class_embeds": len(SPECIES) + 1, "_name_or_path": ""}
    model = UNet2DModel.from_config(config)
    model.load_state_dict(untold.float().state_dict(), strict=False)
    nn.init.zeros_(model.class_embedding.weight)
    return _told(model, data, loader, num_steps, generator)


def branch(num_steps: int = 3_000) -> None:
    """What follows a drawing, beside the network of before; half as long again it learns shapes
    that no butterfly has, or it would follow no letter."""
    base = load_trained(PRETRAINED / "butterflies-32-classes")
    model = follow(base, num_steps, 0).model
    follow(base, num_steps // 2, 0, model, cut=True).model.save()


def _told(
    model: nn.Module, data: ImageData, loader: Loader, num_steps: int, generator: torch.Generator
) -> Training:
    """Trains a network that knows classes."""
    model, schedule, ema = model.to(DEVICE), NoiseSchedule.cosine(1000), EMA(model, decay=0.999)
    steps = train(
        model,
        loader,
        schedule,
        num_steps=num_steps,
        lr=4e-3,
        prediction_type="v_prediction",
        timestep_sampling="logit_normal",
        optimizer="muon",
        ema=ema,
        drop=0.15,
        generator=generator,
    )
    shape = tuple(data.images.shape[1:])
    sampler = Sampler(num_steps=20, order=2, guidance=1.5)
    trained = Trained(model, schedule, "v_prediction", shape, sampler, data.classes)
    return trained, ema, steps, num_steps


NAMES = {
    "butterflies-32": butterflies,
    "digits": digits,
    "digits-parrot": parrot,
    "digits-classes": digits_classes,
    "butterflies-32-classes": butterflies_classes,
}
ALONE = {
    "digits-toy": toy,
    "butterflies_silhouettes": segment,
    "butterflies-32-silhouettes": branch,
}


def main(name: str, *num_steps: str) -> None:
    if name in ALONE:
        return ALONE[name](*map(int, num_steps))
    trained, ema, steps, number = NAMES[name](*map(int, num_steps))
    started = time.perf_counter()
    for done in tqdm(in_bfloat16(steps), total=number, disable=None):
        if done.step % 1000 == 0 or done.step == number:
            save(trained, ema, PRETRAINED / name)
            seconds = time.perf_counter() - started
            print(f"step {done.step}, loss {done.loss:.4f}, {seconds:.0f} s", flush=True)


def in_bfloat16(steps: Iterator[TrainStep]) -> Iterator[TrainStep]:
    """The same steps, multiplied in bfloat16 where the hardware is made for it."""
    with fast_arithmetic(DEVICE):
        yield from steps


def save(trained: Trained, ema: EMA, folder: Path) -> None:
    """The averaged weights as float16 numbers."""
    average: nn.Module = copy.deepcopy(trained.model)
    ema.copy_to(average)
    save_trained(trained._replace(model=average.cpu().to(torch.float16)), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
