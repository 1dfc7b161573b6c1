"""Trains the features that ship: `python tests/bench/train_features.py digits|butterflies`, and
the second networks of the speedrun, `digits-second|butterflies-second`.

The network learns the class of a picture and, so that it also notices looks within a class, its
coarse layout: the mean colour of each of 4 x 4 fields. Prints the accuracy on held-out pictures.
"""

import sys
import time

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils import draw_butterflies, load_digits, seed_everything, to_model_range
from course_utils.evaluation.features import NETWORKS, weights_file


def pictures(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures and labels to learn from, and held-out ones."""
    if name.startswith("butterflies"):
        return draw_butterflies(20_000, seed=2), draw_butterflies(1_200, seed=3)
    splits = (load_digits(split, "offline") for split in ("train", "test"))
    return tuple((data.images, data.labels) for data in splits)


def main(name: str, num_steps: int = 1500, batch_size: int = 100, peak: float = 2e-3) -> None:
    seed_everything(int(name.endswith("-second")))
    (images, labels), (held, held_labels) = pictures(name)
    network = NETWORKS[name]()
    layout = nn.Linear(network.num_features, 16 * images.shape[1])
    weights = [*network.parameters(), *layout.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, num_steps)
    started = time.perf_counter()
    for _ in range(num_steps):
        chosen = torch.randint(len(images), (batch_size,))
        shift = torch.randint(-2, 3, (2,)).tolist()
        x = images[chosen].roll(shift, dims=(-2, -1))
        features = network(x)
        fields = F.adaptive_avg_pool2d(to_model_range(x), 4).flatten(1)
        loss = F.cross_entropy(network.head(features), labels[chosen], label_smoothing=0.05)
        loss = loss + F.mse_loss(layout(features), fields)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    with torch.no_grad():
        right = network.eval().classify(held).argmax(1) == held_labels
    save_file(network.state_dict(), weights_file(name))
    seconds = time.perf_counter() - started
    print(f"{name}: {right.float().mean():.2%} of {len(held)} held-out pictures, {seconds:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
