"""The smallest things that losses, training and sharing work on."""

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import nn


class TinyModel(nn.Module):
    """One convolution, and a shift by time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x_t, timesteps):
        return self.conv(x_t) + timesteps[:, None, None, None] / 1000


def tiny(seed=0):
    torch.manual_seed(seed)
    return TinyModel()


def images(b=8, seed=0):
    return torch.rand(b, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def tiny_unet(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
    }
    return UNet2DModel(**settings | changes)


def tiny_pipeline(seed=0, **changes):
    return DDPMPipeline(unet=tiny_unet(seed, **changes), scheduler=DDPMScheduler())
