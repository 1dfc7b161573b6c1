"""Training: the average of the weights, the learning rate, and `train`, one generator."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_utils.schedule import Images, NoiseSchedule
from course_utils.training.loss import TimestepSampling, diffusion_loss
from course_utils.training.optimizers import make_optimizer


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
        for shadow, weights in zip(self.shadow, _weights(model), strict=True):
            if shadow.is_floating_point():
                shadow.lerp_(weights, 1 - decay)
            else:
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


class TrainStep(NamedTuple):
    """What one update did: its number, counted from 1, the loss before it, the learning rate."""

    step: int
    loss: float
    lr: float


def learning_rate(step: int, num_steps: int, peak: float, warmup: float = 0.05) -> float:
    """Up to `peak` over the first share `warmup` of the steps, then half a cosine down to 0.

    `step` counts from 0 (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    warmup_steps = max(1, round(warmup * num_steps))
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: nn.Module,
    loader: Iterable[Tensor],
    schedule: NoiseSchedule,
    *,
    num_steps: int,
    lr: float,
    prediction_type: str = "epsilon",
    timestep_sampling: TimestepSampling = "uniform",
    weighting: str = "none",
    optimizer: str = "adamw",
    ema: EMA | None = None,
    max_grad_norm: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[TrainStep]:
    """Train `model` in place, round and round the loader; yields after each update.

    The rate follows `learning_rate` up to `lr` and down to 0, gradients are clipped to a norm of
    `max_grad_norm`, and `ema` follows the weights. Raises ValueError for settings out of range or
    an empty loader; FloatingPointError at the first loss or gradient that is not finite, before it
    reaches the weights, with where to look.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr}: 1e-3 is a good start")
    options = {
        "prediction_type": prediction_type,
        "timestep_sampling": timestep_sampling,
        "weighting": weighting,
        "generator": generator,
    }
    stepper = make_optimizer(model, lr, optimizer)
    rates = [learning_rate(step, num_steps, lr) for step in range(num_steps)]
    return _updates(model, loader, schedule, stepper, rates, options, ema, max_grad_norm)


def _updates(model, loader, schedule, optimizer, rates, options, ema, max_grad_norm):
    for (step, rate), x0 in zip(enumerate(rates), cycle(loader)):  # noqa: B905
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss = diffusion_loss(model, schedule, x0, **options)
        check_finite("loss", loss, step, model, x0)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        check_finite("gradient's norm", norm, step, model, x0)
        optimizer.step()
        if ema is not None:
            ema.update(model)
        yield TrainStep(step + 1, loss.item(), rate)


def check_finite(
    name: str, value: Tensor, step: int, model: nn.Module, x0: Images | None = None
) -> None:
    """Raises FloatingPointError, which says where to look, for a value that is not finite.

    `step` counts from 0, `x0` is the batch.
    """
    if value.isfinite():
        return
    lowest, highest = (0.0, 0.0) if x0 is None else (x0.min().item(), x0.max().item())
    broken = [name for name, weights in model.named_parameters() if not weights.isfinite().all()]
    if not -1.01 <= lowest <= highest <= 1.01:  # false for NaN, too
        advice = f"its batch has pixels from {lowest:.3g} to {highest:.3g}, not in [-1, 1]"
    elif broken:
        advice = f"the weights {broken[0]} are not finite: start from sound ones, with a lower lr"
    else:
        advice = "batch and weights are sound: try a lower lr, or float32 in place of bfloat16"
    raise FloatingPointError(f"the {name} is {value.item()} at step {step + 1}; {advice}")


def cycle(loader: Iterable[Tensor]) -> Iterator[Tensor]:
    """The loader's batches, round and round. Raises ValueError where it gives none."""
    while True:
        x0 = None
        for x0 in loader:
            yield x0
        if x0 is None:
            raise ValueError("the loader gave no batch: pass make_loader(data, batch_size)")
