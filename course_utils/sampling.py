"""One sampler: the toy's walk, DDIM, DDPM, flow matching's Euler step, a second-order solver."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils.checks import check_int, check_prediction_type, check_same_shape
from course_utils.models.calling import call_model, evaluation_mode
from course_utils.schedule import CurvePoint, Images, NoiseSchedule


class SampleStep(NamedTuple):
    """One step down: the timestep the network was asked about, x_t after it, its x0_pred."""

    timestep: int
    x_t: Tensor
    x0_pred: Tensor


@dataclass(frozen=True)
class Sampler:
    """How pictures are drawn. Raises ValueError for settings out of range."""

    __pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}  # noqa: RUF012
    num_steps: int = 20  # network calls for a picture
    order: int = 2  # 1: DDIM, or with eta DDPM; 2: DPM-Solver++(2M)
    eta: float = 0.0  # fresh noise: 0 none, 1 as much as DDPM; above 0 only with order 1
    guidance: float = 1.0  # how much a condition counts: 0 not at all, 1 as it was learned

    def __post_init__(self):
        check_sampler(self.order, self.eta)
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")


def check_sampler(order: int, eta: float | int) -> None:
    """Raises ValueError unless there is such a solver, and it takes this much fresh noise."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}: 0 is DDIM, 1 is DDPM")
    if order not in SOLVERS or (order > 1 and eta > 0):
        raise ValueError(f"order must be 1, or 2 with eta=0; got order={order}, eta={eta}")


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
    check_sampler(order, eta)
    if not x_T.is_floating_point():
        raise TypeError(f"x_T must be float noise, got {x_T.dtype}: draw it with torch.randn")
    if prediction_type == "epsilon" and schedule.alphas[-1] == 0:
        raise ValueError(
            "prediction_type 'epsilon' cannot start where alpha is 0, as on the straight schedule: "
            "train with 'sample' or 'v_prediction' there"
        )
    solver = SOLVERS[order](eta, generator)
    return _walk(model, schedule.to(x_T.device), x_T, timesteps, prediction_type, clip, solver)


class Guess(NamedTuple):
    """What the network makes of x_t at one noise level: a clean image and a noise."""

    level: CurvePoint
    x_t: Images
    x0: Images
    noise: Images


Solver = Callable[[Guess, Guess | None, CurvePoint], Images]
"""A step: from what the network says here, and said one step before, to x at the next level."""


def _walk(
    model: Callable,
    schedule: NoiseSchedule,
    x_t: Images,
    timesteps: list[int],
    prediction_type: str,
    clip: bool,
    solver: Solver,
) -> Iterator[SampleStep]:
    """Down the timesteps, from the noisiest; nothing in here waits for a GPU."""
    x_t, before = x_t.detach(), None
    levels = [schedule.point(t, x_t) for t in timesteps]
    for t, here, there in zip(timesteps, levels, [*levels[1:], None], strict=True):
        # 1. Ask the network, and read its answer as a clean image and as noise.
        batch = torch.full(x_t.shape[:1], t, device=x_t.device)
        with torch.no_grad(), evaluation_mode(model):
            answer, kind = call_model(model, x_t, batch), prediction_type
        if clip:
            answer, kind = here.x0(answer, x_t, kind).clamp(-1, 1), "sample"
        now = Guess(here, x_t, here.x0(answer, x_t, kind), here.noise(answer, x_t, kind))
        # 2. Mix the two again with the next level's smaller share of noise; at the end with none.
        x_t = now.x0 if there is None else solver(now, before, there)
        before = now
        yield SampleStep(t, x_t, now.x0)


def first_order(eta: float, generator: torch.Generator | None) -> Solver:
    """DDIM, with a share `eta` of the noise drawn anew (Song et al. 2021, eq. 12 and 16).

    The fresh noise has the variance of the posterior q(there | here, x0), on any curve.
    """

    def step(now: Guess, before: Guess | None, there: CurvePoint) -> Images:
        if eta == 0:
            return there.mix(now.x0, now.noise)
        here = now.level
        added = here.sigma**2 - (here.alpha * there.sigma / there.alpha) ** 2
        fresh = eta * there.sigma / here.sigma * added.clamp(min=0) ** 0.5
        kept = (there.sigma**2 - fresh**2).clamp(min=0) ** 0.5
        device = generator.device if generator else now.x0.device
        noise = torch.randn(now.x0.shape, generator=generator, device=device, dtype=now.x0.dtype)
        return there.alpha * now.x0 + kept * now.noise + fresh * noise.to(now.x0.device)

    return step


def second_order(eta: float, generator: torch.Generator | None) -> Solver:
    """DPM-Solver++(2M): x0 half a step on, by its last change in log(alpha / sigma), and DDIM from
    there (Lu et al. 2022, eq. 15)."""

    def step(now: Guess, before: Guess | None, there: CurvePoint) -> Images:
        if before is None:
            return there.mix(now.x0, now.noise)
        levels = (before.level, now.level, there)
        half_log_snr = [(level.alpha / level.sigma).log() for level in levels]
        ratio = (half_log_snr[2] - half_log_snr[1]) / (half_log_snr[1] - half_log_snr[0])
        x0 = now.x0 + ratio / 2 * (now.x0 - before.x0)
        return there.mix(x0, now.level.noise(x0, now.x_t, "sample"))

    return step


SOLVERS = {1: first_order, 2: second_order}  # by `order`


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
