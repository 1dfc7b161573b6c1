"""The predecessor's two recipes, for comparison only: its digit toy and its butterfly loop.

Both decode and scale pictures one by one in the loop, as its loaders do; the toy mixes uniform
noise, predicts the clean picture through a last SiLU and walks 40 steps; the butterflies take the
loss as their own gradient's weight and 1,000 calls to draw. Written anew from its description.
"""

import io
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from course_utils import BasicUNet, corrupt, from_pil, pick_device, to_pil

DEVICE = pick_device()


def batches(pictures: list, decode: Callable, batch_size: int) -> Iterator[Tensor]:
    """Epoch after epoch, each picture decoded when its turn comes."""
    loader = DataLoader(pictures, batch_size, shuffle=True, collate_fn=lambda p: stack(p, decode))
    while True:
        yield from loader


def stack(pictures: list, decode: Callable) -> Tensor:
    return torch.stack([decode(picture) for picture in pictures])


def as_numbers(picture: Image.Image) -> Tensor:
    """(C, H, W) in [0, 1]."""
    values = torch.from_numpy(np.array(picture)).float() / 255
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


class Toy(nn.Module):
    """BasicUNet with a SiLU after its last layer, too."""

    def __init__(self):
        super().__init__()
        self.network = BasicUNet()

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.network(x))


def train_toy(images: Tensor, seconds: float) -> tuple[Toy, int]:
    """The toy after so many seconds, and its number of steps; images uint8 (N, 1, 28, 28)."""
    toy, steps = Toy().to(DEVICE), 0
    optimizer = torch.optim.Adam(toy.parameters(), lr=1e-3)
    loader = batches(
        list(images[:, 0].numpy()), lambda picture: as_numbers(Image.fromarray(picture)), 128
    )
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        x = next(loader).to(DEVICE)
        loss = F.mse_loss(toy(corrupt(x, torch.rand(len(x), device=DEVICE))), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return toy, steps


@torch.no_grad()
def draw_with_toy(toy: Toy, num_images: int, num_steps: int = 40) -> Tensor:
    """Digits in [-1, 1], by the 40-step walk from uniform noise."""
    drawn = []
    for x in torch.rand(num_images, 1, 28, 28, device=DEVICE).split(250):
        for i in range(num_steps):
            x = x + (toy(x) - x) / (num_steps - i)
        drawn.append(x)
    return torch.cat(drawn).cpu() * 2 - 1


def butterfly_unet() -> UNet2DModel:
    """Its network for 32 pixels: 18.5 million parameters."""
    return UNet2DModel(
        sample_size=32,
        layers_per_block=2,
        block_out_channels=(64, 128, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def jpegs(images: Tensor) -> list[bytes]:
    """Pictures as files, as a dataset holds them."""
    files = []
    for image in images:
        file = io.BytesIO()
        to_pil(image).save(file, "JPEG", quality=95)
        files.append(file.getvalue())
    return files


def decode_butterfly(file: bytes) -> Tensor:
    """Decode, shrink to 32 pixels, flip one in two, scale to [-1, 1]."""
    picture = Image.open(io.BytesIO(file)).convert("RGB").resize((32, 32))
    if torch.rand(()) < 0.5:
        picture = ImageOps.mirror(picture)
    return as_numbers(picture) * 2 - 1


def train_butterflies(images: Tensor, seconds: float) -> tuple[DDPMPipeline, int]:
    """Its pipeline after so many seconds, and its number of steps; images uint8 (N, 3, H, W)."""
    model, steps = butterfly_unet().to(DEVICE), 0
    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4)
    loader = batches(jpegs(images), decode_butterfly, 64)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        x0 = next(loader).to(DEVICE)
        noise = torch.randn(x0.shape, device=DEVICE)
        timesteps = torch.randint(0, 1000, (len(x0),), device=DEVICE)
        noise_pred = model(scheduler.add_noise(x0, noise, timesteps), timesteps).sample
        loss = F.mse_loss(noise_pred, noise)
        loss.backward(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    return DDPMPipeline(unet=model, scheduler=scheduler), steps


def draw_butterflies_by_ddpm(pipeline: DDPMPipeline, num_images: int, num_calls: int = 1000):
    """Butterflies as uint8, by ancestral sampling."""
    pipeline.set_progress_bar_config(disable=True)
    return from_pil(pipeline(num_images, num_inference_steps=num_calls).images)
