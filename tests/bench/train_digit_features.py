"""Trains the digit features that ship: `python tests/bench/train_digit_features.py`.

Digits are shifted by up to two pixels. Prints the accuracy on the held-out digits and the seconds.
"""

import time

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from course_utils.data import load_digits
from course_utils.metrics import DIGIT_FEATURES, DigitFeatures
from course_utils.runtime import seed_everything


def main(num_steps: int = 1500, batch_size: int = 100, peak: float = 2e-3) -> None:
    seed_everything(0)
    train, test = load_digits("train", "offline"), load_digits("test", "offline")
    network = DigitFeatures()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, num_steps)
    started = time.perf_counter()
    for _ in range(num_steps):
        chosen = torch.randint(len(train), (batch_size,))
        shift = torch.randint(-2, 3, (2,)).tolist()
        scores = network.classify(train.images[chosen].roll(shift, dims=(-2, -1)))
        loss = F.cross_entropy(scores, train.labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    with torch.no_grad():
        right = network.eval().classify(test.images).argmax(1) == test.labels
    save_file(network.state_dict(), DIGIT_FEATURES)
    seconds = time.perf_counter() - started
    print(f"{right.float().mean():.3%} of {len(test)} held-out digits, {seconds:.0f} s")


if __name__ == "__main__":
    main()
