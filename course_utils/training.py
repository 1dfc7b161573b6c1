"""Training: the loss, the average of the weights, and `train`, one generator."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.noise import Images, NoiseSchedule, Timesteps, call_model

TIMESTEP_SAMPLINGS = ("uniform", "logit_normal")


def draw_timesteps(
    num_images: int,
    T: int,
    timestep_sampling: str = "uniform",
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Timesteps:
    """One random timestep in [0, T) for each image.

    `"uniform"`: all alike (Ho et al. 2020, alg. 1); `"logit_normal"`: the sigmoid of a normal
    number, so that middle levels come more often (Esser et al. 2024, eq. 19).
    Raises ValueError for another name.
    """
    at = generator.device if generator else device
    if timestep_sampling == "uniform":
        timesteps = torch.randint(T, (num_images,), generator=generator, device=at)
    elif timestep_sampling == "logit_normal":
        where = torch.randn(num_images, generator=generator, device=at).sigmoid()
        timesteps = (where * T).long().clamp(max=T - 1)
    else:
        names = ", ".join(TIMESTEP_SAMPLINGS)
        raise ValueError(f"timestep_sampling must be one of {names}; got {timestep_sampling!r}")
    return timesteps.to(device)


def diffusion_loss(
    model: Callable,
    schedule: NoiseSchedule,
    x0: Images,
    *,
    prediction_type: str = "epsilon",
    timestep_sampling: str = "uniform",
    timesteps: Timesteps | None = None,
    noise: Images | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of the network's answer on noisy images (Ho et al. 2020, eq. 14).

    x0 (B, C, H, W) in [-1, 1]. Timesteps and noise are drawn unless they are given.
    """
    if timesteps is None:
        T = len(schedule)
        timesteps = draw_timesteps(len(x0), T, timestep_sampling, generator, device=x0.device)
    timesteps = timesteps.to(x0.device)
    if noise is None:
        at = generator.device if generator else x0.device
        noise = torch.randn(x0.shape, generator=generator, device=at, dtype=x0.dtype).to(x0.device)
    target = schedule.target(x0, noise, timesteps, prediction_type)
    model_output = call_model(model, schedule.add_noise(x0, noise, timesteps), timesteps)
    return nn.functional.mse_loss(model_output, target)


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
    loader: Iterable[Images],
    schedule: NoiseSchedule,
    *,
    num_steps: int,
    lr: float,
    prediction_type: str = "epsilon",
    timestep_sampling: str = "uniform",
    ema: EMA | None = None,
    max_grad_norm: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[TrainStep]:
    """Train `model` in place with AdamW, round and round the loader; yields after each update.

    The rate follows `learning_rate` up to `lr` and down to 0, gradients are clipped to a norm of
    `max_grad_norm`, and `ema` follows the weights. Raises ValueError for settings out of range or
    an empty loader, FloatingPointError at a loss that is not finite, before it reaches the weights.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr}: 1e-3 is a good start")
    options = {"prediction_type": prediction_type, "timestep_sampling": timestep_sampling}
    return _updates(model, loader, schedule, num_steps, lr, options, ema, max_grad_norm, generator)


def _updates(model, loader, schedule, num_steps, peak, options, ema, max_grad_norm, generator):
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak)
    for step, x0 in zip(range(num_steps), cycle(loader)):  # noqa: B905
        rate = learning_rate(step, num_steps, peak)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss = diffusion_loss(model, schedule, x0, generator=generator, **options)
        if not loss.isfinite():
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step + 1}: try a lower lr, and look for "
                "pixels outside [-1, 1] in the data"
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        if ema is not None:
            ema.update(model)
        yield TrainStep(step + 1, loss.item(), rate)


def cycle(loader: Iterable[Images]) -> Iterator[Images]:
    """The loader's batches, round and round. Raises ValueError where it gives none."""
    while True:
        x0 = None
        for x0 in loader:
            yield x0
        if x0 is None:
            raise ValueError("the loader gave no batch: pass make_loader(data, batch_size)")
