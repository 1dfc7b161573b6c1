"""The average of the weights: what is drawn with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of a model's weights: `shadow` trails behind the model.

    The decay warms up, min(decay, (1 + n) / (10 + n)) after n updates, so that the first, random
    weights are soon forgotten. Raises ValueError unless 0 <= decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}: 0.999 is a good start")
        self.decay = decay
        self.num_updates = 0
        self.shadow = [weights.detach().clone() for weights in _weights(model)]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """shadow ← decay * shadow + (1 - decay) * weights."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        pairs = [*zip(self.shadow, _weights(model), strict=True)]
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        if numbers:
            torch._foreach_lerp_(*map(list, zip(*numbers, strict=True)), 1 - decay)
        for shadow, weights in pairs:
            if not shadow.is_floating_point():
                shadow.copy_(weights)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's weights with the average."""
        for shadow, weights in zip(self.shadow, _weights(model), strict=True):
            weights.copy_(shadow)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[nn.Module]:
        """`with ema.applied(model):` the model holds the average; afterwards its own weights."""
        own = [weights.detach().clone() for weights in _weights(model)]
        self.copy_to(model)
        try:
            yield model
        finally:
            with torch.no_grad():
                for weights, kept in zip(_weights(model), own, strict=True):
                    weights.copy_(kept)


def _weights(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
