"""Trains the butterfly pipeline that ships: `python tests/bench/train_pretrained.py [num_steps]`.

Its 10,000 training pictures are drawn with another seed than the notebooks' data. A checkpoint is
saved every 1,000 steps; the weights are stored as float16, which halves the file.
"""

import sys
import time

import torch
from common import butterfly_unet
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    NoiseSchedule,
    draw_butterflies,
    make_loader,
    pick_device,
    seed_everything,
    train,
)


def main(num_steps: int = 8_000, batch_size: int = 32) -> None:
    generator, device = seed_everything(0), pick_device()
    images, _ = draw_butterflies(10_000, 32, seed=1)
    loader = make_loader(images, batch_size, flip=True, generator=generator, device=device)
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    model = butterfly_unet((16, 32, 64, 112)).to(device)
    ema = EMA(model, decay=0.999)
    schedule = NoiseSchedule(scheduler.alphas_cumprod)
    started = time.perf_counter()
    steps = train(
        model,
        loader,
        schedule,
        num_steps=num_steps,
        lr=2e-3,
        prediction_type="v_prediction",
        ema=ema,
        generator=generator,
    )
    for done in tqdm(steps, total=num_steps):
        if done.step % 1000 == 0 or done.step == num_steps:
            save(model, ema, scheduler)
            seconds = time.perf_counter() - started
            print(f"step {done.step}, loss {done.loss:.4f}, {seconds:.0f} s", flush=True)


def save(model: UNet2DModel, ema: EMA, scheduler: DDPMScheduler) -> None:
    """The averaged weights as a pipeline of float16 numbers."""
    average = UNet2DModel.from_config(model.config)
    ema.copy_to(average)
    folder = PRETRAINED / "butterflies-32"
    DDPMPipeline(unet=average.to(torch.float16), scheduler=scheduler).save_pretrained(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
