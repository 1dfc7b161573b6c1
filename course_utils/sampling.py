"""One sampler: the toy's walk, DDIM, DDPM, flow matching's Euler step, a second-order solver."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.checks import check_int, check_prediction_type, check_same_shape
from course_utils.schedule import CurvePoint, Images, NoiseSchedule, call_model


class SampleStep(NamedTuple):
    """One step down: the timestep the network was asked about, x_t after it, its x0_pred."""

    timestep: int
    x_t: Tensor
    x0_pred: Tensor


def trailing_timesteps(T: int, num_steps: int) -> list[int]:
    """`num_steps` timesteps evenly spaced down from T - 1 (Lin et al. 2023, table 2).

    Raises TypeError unless num_steps is an int, ValueError unless 1 <= num_steps <= T.
    """
    check_int("num_steps", num_steps, 1, T)
    spaced = np.arange(T, 0, -T / num_steps)[:num_steps]
    return (spaced.round().astype(int) - 1).tolist()


def sample(
    model: Callable,
    schedule: NoiseSchedule,
    x_T: Images,
    *,
    num_steps: int,
    prediction_type: str = "epsilon",
    eta: float = 0.0,
    order: int = 1,
    clip: bool = False,
    generator: torch.Generator | None = None,
) -> Iterator[SampleStep]:
    """Walk from noise x_T to a picture in `num_steps` network calls; the last x_t is the picture.

    `eta=0` is DDIM (Song et al. 2021, eq. 12), which on the straight schedule is flow matching's
    Euler step; `eta=1` is ancestral DDPM (Ho et al. 2020, alg. 2). `order=2` is DPM-Solver++(2M)
    (Lu et al. 2022, alg. 2). `clip` clamps each x0_pred to [-1, 1].
    Raises ValueError for settings out of range, and where order=2 meets eta > 0.
    """
    timesteps = trailing_timesteps(len(schedule), num_steps)
    check_prediction_type(prediction_type)
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}: 0 is DDIM, 1 is DDPM")
    if order not in (1, 2) or (order == 2 and eta > 0):
        raise ValueError(f"order must be 1, or 2 with eta=0; got order={order}, eta={eta}")
    if not x_T.is_floating_point():
        raise TypeError(f"x_T must be float noise, got {x_T.dtype}: draw it with torch.randn")
    if prediction_type == "epsilon" and schedule.alphas[-1] == 0:
        raise ValueError(
            "prediction_type 'epsilon' cannot start where alpha is 0, as on the straight schedule: "
            "train with 'sample' or 'v_prediction' there"
        )
    return _walk(model, schedule, x_T, timesteps, prediction_type, eta, order, clip, generator)


def _walk(model, schedule, x_t, timesteps, prediction_type, eta, order, clip, generator):
    x_t, previous = x_t.detach(), None
    for t, t_next in zip(timesteps, [*timesteps[1:], None], strict=True):
        batch = torch.full(x_t.shape[:1], t, device=x_t.device)
        # 1. Ask the network, and read its answer as a clean image and as noise.
        with torch.no_grad(), evaluation_mode(model):
            model_output = call_model(model, x_t, batch)
        x0_pred = schedule.predict_x0(model_output, x_t, batch, prediction_type)
        noise_pred = schedule.predict_noise(model_output, x_t, batch, prediction_type)
        if clip:
            x0_pred = x0_pred.clamp(-1, 1)
            noise_pred = schedule.predict_noise(x0_pred, x_t, batch, "sample")
        # 2. Mix the two again with the next level's smaller share of noise; at the end with none.
        if t_next is None:
            yield SampleStep(t, x0_pred, x0_pred)
            return
        here, there = schedule.at(batch, x_t), schedule.at(torch.full_like(batch, t_next), x_t)
        x0_mix = x0_pred
        if order == 2 and previous is not None:
            x0_mix = _extrapolate(*previous, here, x0_pred, there)
            noise_pred = schedule.predict_noise(x0_mix, x_t, batch, "sample")
        x_t = _mix(here, there, x0_mix, noise_pred, eta, generator)
        previous = here, x0_pred
        yield SampleStep(t, x_t, x0_pred)


@contextmanager
def evaluation_mode(model: Callable) -> Iterator[None]:
    """Dropout and its kin rest inside the block; afterwards the model is as it was."""
    training = isinstance(model, nn.Module) and model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


def _mix(here: CurvePoint, there: CurvePoint, x0_pred, noise_pred, eta, generator):
    """x at `there`, a share `eta` of its noise drawn anew (Song et al. 2021, eq. 12 and 16).

    The fresh noise has the variance of the posterior q(there | here, x0), on any curve.
    """
    if eta == 0:
        return there.alpha * x0_pred + there.sigma * noise_pred
    added = here.sigma**2 - (here.alpha * there.sigma / there.alpha) ** 2
    fresh = eta * there.sigma / here.sigma * added.clamp(min=0) ** 0.5
    kept = (there.sigma**2 - fresh**2).clamp(min=0) ** 0.5
    device = generator.device if generator else x0_pred.device
    noise = torch.randn(x0_pred.shape, generator=generator, device=device, dtype=x0_pred.dtype)
    return there.alpha * x0_pred + kept * noise_pred + fresh * noise.to(x0_pred.device)


def _extrapolate(before: CurvePoint, x0_before, here: CurvePoint, x0_pred, there: CurvePoint):
    """Where x0_pred is heading half a step on, in log(alpha / sigma) (Lu et al. 2022, eq. 15)."""
    half_log_snr = [(point.alpha / point.sigma).log() for point in (before, here, there)]
    ratio = (half_log_snr[2] - half_log_snr[1]) / (half_log_snr[1] - half_log_snr[0])
    return x0_pred + ratio / 2 * (x0_pred - x0_before)


def slerp(start: Tensor, end: Tensor, share: float | int) -> Tensor:
    """The noise at `share` of the great circle from `start` to `end` (Shoemake 1985).

    Unlike the straight line it keeps the length that noise has, and that the network knows.
    Raises ValueError for shapes that differ, and for opposite noises, which have no shortest way.
    """
    check_same_shape("end", end, "start", start)
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), dim=0)
    angle = cosine.clamp(-1, 1).acos()
    if cosine > 1 - 1e-6:
        return torch.lerp(start, end, share)
    if cosine < 1e-6 - 1:
        raise ValueError("start and end are opposite noises: draw another end")
    weights = (((1 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    return weights[0] * start + weights[1] * end
