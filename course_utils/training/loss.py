"""The loss: which noise levels are drawn, what the network is asked, how much each level counts."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_utils.checks import check_choice, check_prediction_type, check_same_shape
from course_utils.models.calling import Condition, call_model, evaluation_mode
from course_utils.models.guidance import drop_condition, unconditioned
from course_utils.schedule import Images, NoiseSchedule, Timesteps, expand_like

WEIGHTINGS = ("none", "min_snr")


def uniform(num_images: int, T: int, generator: torch.Generator | None, device) -> Timesteps:
    """Every level alike (Ho et al. 2020, alg. 1)."""
    return torch.randint(T, (num_images,), generator=generator, device=device)


def logit_normal(
    num_images: int,
    T: int,
    generator: torch.Generator | None,
    device,
    *,
    mean: float = 0.0,
    std: float = 1.0,
) -> Timesteps:
    """The sigmoid of a normal number: middle levels come more often (Esser et al. 2024, eq. 19).

    A `mean` above 0 prefers noise, a small `std` the levels around the mean.
    """
    normal = torch.randn(num_images, generator=generator, device=device) * std + mean
    return (normal.sigmoid() * T).long().clamp(max=T - 1)


TIMESTEP_SAMPLINGS = {"uniform": uniform, "logit_normal": logit_normal}
TimestepSampling = str | Callable[..., Timesteps]


def draw_timesteps(
    num_images: int,
    T: int,
    timestep_sampling: TimestepSampling = "uniform",
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Timesteps:
    """One random timestep in [0, T) for each image: `"uniform"`, `"logit_normal"`, or by a
    function of yours that takes `(num_images, T, generator, device)`.

    Raises ValueError for another name.
    """
    if not callable(timestep_sampling):
        check_choice("timestep_sampling", timestep_sampling, TIMESTEP_SAMPLINGS)
        timestep_sampling = TIMESTEP_SAMPLINGS[timestep_sampling]
    at = generator.device if generator else device
    return timestep_sampling(num_images, T, generator, at).to(device)


def loss_weights(
    schedule: NoiseSchedule, prediction_type: str, weighting: str = "min_snr", gamma: float = 5.0
) -> Float[Tensor, " T"]:
    """How much each level's squared error counts.

    `"none"`: all 1. `"min_snr"`: min(SNR, gamma) for an error in the clean image (Hang et al.
    2023, §3.4). The same error in x0 is SNR times as large in the noise, and 1 / sigma² times in
    the velocity, so there the weight is divided by these.
    Raises ValueError for another name, or unless gamma > 0.
    """
    check_prediction_type(prediction_type)
    check_choice("weighting", weighting, WEIGHTINGS)
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, got {gamma}: 5 is a good start")
    snr = schedule.snr
    if weighting == "none":
        return torch.ones_like(snr)
    if prediction_type == "epsilon":
        return (gamma / snr).clamp(max=1)
    weights = snr.clamp(max=gamma)
    return weights if prediction_type == "sample" else weights * schedule.sigmas**2


def diffusion_loss(
    model: Callable,
    schedule: NoiseSchedule,
    x0: Images,
    *,
    prediction_type: str = "epsilon",
    timestep_sampling: TimestepSampling = "uniform",
    weighting: str = "none",
    timesteps: Timesteps | None = None,
    noise: Images | None = None,
    condition: Condition | None = None,
    drop: float | int | Bool[Tensor, "B"] = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of the network's answer on noisy images (Ho et al. 2020, eq. 14).

    x0 (B, C, H, W), pictures in [-1, 1] or latents. Timesteps and noise are drawn unless they are
    given; `weighting` says how much each noise level counts, see `loss_weights`. `drop` is the
    probability with which a row's condition is taken away (Ho & Salimans 2022, alg. 1), or a mask
    of the rows. Raises ValueError for settings out of range.
    """
    weights = loss_weights(schedule, prediction_type, weighting).to(x0.device, x0.dtype)
    if timesteps is None:
        T = len(schedule)
        timesteps = draw_timesteps(len(x0), T, timestep_sampling, generator, device=x0.device)
    timesteps = timesteps.to(x0.device)
    if noise is None:
        at = generator.device if generator else x0.device
        noise = torch.randn(x0.shape, generator=generator, device=at, dtype=x0.dtype).to(x0.device)
    check_same_shape("noise", noise, "x0", x0)
    condition = _told(model, condition, drop, x0, generator)
    point = schedule.at(timesteps, x0)
    model_output = call_model(model, point.mix(x0, noise), timesteps, condition)
    errors = (model_output - point.target(x0, noise, prediction_type)) ** 2
    return (expand_like(weights[timesteps], x0) * errors).mean()


def _told(model, condition, drop, x0, generator) -> Condition | None:
    """The condition without that of the dropped rows; their mask is drawn unless it is given."""
    if condition is not None:
        condition = {name: values.to(x0.device) for name, values in condition.items()}
    if not isinstance(drop, Tensor):
        if not 0 <= drop <= 1:
            raise ValueError(f"drop must lie in [0, 1], got {drop}: 0.1 is usual")
        if drop == 0:
            return condition
        at = generator.device if generator else x0.device
        drop = torch.rand(len(x0), generator=generator, device=at) < drop
    if condition is None:
        raise ValueError("drop takes a condition away, and there is none: pass condition")
    return drop_condition(condition, drop.to(x0.device), unconditioned(model, condition))


def loss_per_level(
    model: Callable,
    schedule: NoiseSchedule,
    x0: Images,
    levels: Iterable[int],
    *,
    prediction_type: str = "epsilon",
    condition: Condition | None = None,
    seed: int = 0,
) -> Float[Tensor, " levels"]:
    """The mean squared error at each timestep in `levels`, with the same pictures and noise.

    x0 (N, C, H, W), held-out pictures in [-1, 1]. Two calls with one seed can be compared.
    """
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=x0.dtype)
    options = {"prediction_type": prediction_type, "noise": noise.to(x0.device)}
    with torch.no_grad(), evaluation_mode(model):
        losses = [
            diffusion_loss(
                model,
                schedule,
                x0,
                timesteps=torch.full((len(x0),), t),
                condition=condition,
                **options,
            )
            for t in levels
        ]
    return torch.stack(losses).cpu()
