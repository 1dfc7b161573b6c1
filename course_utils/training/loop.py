"""The training loop: one update of the weights, the learning rate, and `train`, one generator."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_utils.schedule import Images, NoiseSchedule
from course_utils.training.ema import EMA
from course_utils.training.loss import TimestepSampling, diffusion_loss
from course_utils.training.optimizers import make_optimizer


class TrainStep(NamedTuple):
    """What one update did: its number, counted from 1, the loss before it, the learning rate."""

    step: int
    loss: float
    lr: float


def learning_rate(
    step: float | int, num_steps: int, peak: float | int, warmup: float = 0.05
) -> float:
    """Up to `peak` over the first share `warmup` of the steps, then half a cosine down to 0.

    `step` counts from 0 (Loshchilov & Hutter 2017, eq. 5, without restarts); where seconds are
    counted instead, it may lie between two steps.
    """
    warmup_steps = max(1, round(warmup * num_steps))
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: nn.Module,
    loader: Iterable,
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
    drop: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[TrainStep]:
    """Train `model` in place, round and round the loader; yields after each update.

    The loader gives x0, or `Batch(x0, condition)`, of which a share `drop` of the rows loses its
    condition, so that guidance is possible later. The rate follows `learning_rate` up to `lr` and
    down to 0, gradients are clipped to a norm of `max_grad_norm`, and `ema` follows the weights.
    Raises ValueError for settings out of range or an empty loader; FloatingPointError at the first
    loss or gradient that is not finite, before it reaches the weights, with where to look.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr}: 1e-3 is a good start")
    options = {
        "prediction_type": prediction_type,
        "timestep_sampling": timestep_sampling,
        "weighting": weighting,
        "drop": drop,
        "generator": generator,
    }
    stepper = make_optimizer(model, lr, optimizer)
    rates = [learning_rate(step, num_steps, lr) for step in range(num_steps)]
    return _updates(model, loader, schedule, stepper, rates, options, ema, max_grad_norm)


def _updates(
    model: nn.Module,
    loader: Iterable,
    schedule: NoiseSchedule,
    optimizer: torch.optim.Optimizer,
    rates: list[float],
    options: dict,
    ema: EMA | None,
    max_grad_norm: float,
) -> Iterator[TrainStep]:
    """One update for each rate, each on the loader's next batch."""
    for (step, rate), batch in zip(enumerate(rates), cycle(loader)):  # noqa: B905
        x0, condition = batch if isinstance(batch, tuple) else (batch, None)
        model.train()
        losses = [diffusion_loss(model, schedule, x0, condition=condition, **options)]
        settings = {"step": step, "max_grad_norm": max_grad_norm, "ema": ema, "x0": x0}
        loss = update(model, losses, optimizer, rate, **settings)
        yield TrainStep(step + 1, loss, rate)


def update(
    model: nn.Module,
    losses: Iterable[Tensor],
    optimizer: torch.optim.Optimizer,
    rate: float,
    *,
    step: int,
    max_grad_norm: float,
    ema: EMA | None = None,
    x0: Images | None = None,
    gathered: Callable[[Tensor], Tensor] = lambda total: total,
) -> float:
    """One update of the weights from the losses of a batch's parts; returns their sum.

    The losses may be computed as they are asked for: each one's graph is gone before the next.
    `gathered` takes the mean over all processes. The device is waited for once, for the two numbers
    that decide: raises FloatingPointError where the loss or the gradient's norm is not finite, and
    leaves the weights as they were; `x0`, a part of the batch, then helps to say why.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    total = torch.zeros(())
    for loss in losses:
        loss.backward()
        total = total.to(loss.device) + loss.detach()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    loss, norm = torch.stack([gathered(total).float(), norm.float()]).tolist()
    check_finite("loss", loss, step, model, x0)
    check_finite("gradient's norm", norm, step, model, x0)
    optimizer.step()
    if ema is not None:
        ema.update(model)
    return loss


def check_finite(
    name: str, value: float, step: int, model: nn.Module, x0: Images | None = None
) -> None:
    """Raises FloatingPointError, which says where to look, for a value that is not finite.

    `step` counts from 0, `x0` is the batch.
    """
    if math.isfinite(value):
        return
    lowest, highest = (0.0, 0.0) if x0 is None else (x0.min().item(), x0.max().item())
    are_pictures = x0 is not None and x0.shape[1] in (1, 3)
    broken = [name for name, weights in model.named_parameters() if not weights.isfinite().all()]
    if are_pictures and not -1.01 <= lowest <= highest <= 1.01:  # false for NaN, too
        advice = f"its batch has pixels from {lowest:.3g} to {highest:.3g}, not in [-1, 1]"
    elif not math.isfinite(lowest + highest):
        advice = f"its batch has latents from {lowest:.3g} to {highest:.3g}"
    elif broken:
        advice = f"the weights {broken[0]} are not finite: start from sound ones, with a lower lr"
    else:
        advice = "batch and weights are sound: try a lower lr, or float32 in place of bfloat16"
    raise FloatingPointError(f"the {name} is {value} at step {step + 1}; {advice}")


def cycle(loader: Iterable) -> Iterator:
    """The loader's batches, round and round. Raises ValueError where it gives none."""
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            raise ValueError("the loader gave no batch: pass make_loader(data, batch_size)")
