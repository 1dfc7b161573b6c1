"""The smallest things that the loss and the training loop work on."""

import torch
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
