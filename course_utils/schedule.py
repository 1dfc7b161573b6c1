"""`corrupt`, the toy, and `NoiseSchedule`, the one line: `x_t = alpha_t * x0 + sigma_t * noise`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from course_utils.checks import (
    check_int,
    check_prediction_type,
    check_same_shape,
    check_timesteps,
)

Images = Float[Tensor, "B *rest"]
Timesteps = Int[Tensor, "B"]
Table = Float[Tensor, "T"]


def expand_like(
    values: Shaped[Tensor, "B"], x: Shaped[Tensor, "B *rest"]
) -> Shaped[Tensor, "B *ones"]:
    """(B,) → (B, 1, 1, …), so that each image of the batch x meets its own value.

    Raises ValueError unless `values` holds one number for each image of x.
    """
    if values.ndim != 1 or len(values) != len(x):
        raise ValueError(
            f"one value for each of the {len(x)} images is needed, shape ({len(x)},); "
            f"got shape {tuple(values.shape)}"
        )
    return values.reshape(-1, *[1] * (x.ndim - 1))


def corrupt(x: Images, amount: Float[Tensor, "B"], noise: Images | None = None) -> Images:
    """Mix each image with noise: `(1 - amount) * x + amount * noise`.

    `amount` (B,) runs from 0 (x itself) to 1 (noise alone). Without `noise`, uniform noise in
    [0, 1] is drawn. Raises ValueError for an amount of another shape or outside [0, 1].
    """
    noise = torch.rand_like(x) if noise is None else noise
    check_same_shape("noise", noise, "x", x)
    if amount.numel() and not (amount.min() >= 0 and amount.max() <= 1):
        raise ValueError(f"amount must lie in [0, 1], got {amount.tolist()}")
    amount = expand_like(amount, x)
    return (1 - amount) * x + amount * noise


class CurvePoint(NamedTuple):
    """A place (alpha, sigma) on a curve, the curve's direction there, and the algebra of the two.

    Directions are scaled so that `alpha * sigma_slope - sigma * alpha_slope == 1`; so clean image,
    noise and velocity are three linear views of one answer, with no division between them.
    """

    alpha: Tensor
    sigma: Tensor
    alpha_slope: Tensor
    sigma_slope: Tensor

    def mix(self, x0: Images, noise: Images) -> Images:
        """x_t = alpha * x0 + sigma * noise."""
        return self.alpha * x0 + self.sigma * noise

    def target(self, x0: Images, noise: Images, prediction_type: str) -> Images:
        """What the network is asked for: the noise, the clean image or the velocity."""
        if prediction_type == "v_prediction":
            return self.alpha_slope * x0 + self.sigma_slope * noise
        return noise if prediction_type == "epsilon" else x0

    def x0(self, model_output: Images, x_t: Images, prediction_type: str) -> Images:
        """The clean image that the network's answer implies; not finite for epsilon at alpha 0."""
        if prediction_type == "v_prediction":
            return self.sigma_slope * x_t - self.sigma * model_output
        if prediction_type == "epsilon":
            return (x_t - self.sigma * model_output) / self.alpha
        return model_output

    def noise(self, model_output: Images, x_t: Images, prediction_type: str) -> Images:
        """The noise that the network's answer implies."""
        if prediction_type == "v_prediction":
            return self.alpha * model_output - self.alpha_slope * x_t
        if prediction_type == "sample":
            return (x_t - self.alpha * model_output) / self.sigma
        return model_output


def circle(alpha_bar: Float[Tensor, "*shape"]) -> CurvePoint:
    """alpha² + sigma² = 1: DDPM's mix, which keeps the variance (Ho et al. 2020, eq. 4)."""
    alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return CurvePoint(alpha, sigma, -sigma, alpha)


def line(sigma: Float[Tensor, "*shape"]) -> CurvePoint:
    """alpha + sigma = 1: the toy's mix and flow matching's path (Lipman et al. 2023, §4.1)."""
    one = torch.ones_like(sigma)
    return CurvePoint(1 - sigma, sigma, -one, one)


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """`x_t = alpha_t * x0 + sigma_t * noise` at T noise levels, from nearly clean to noise.

    `curve` says which pairs (alpha, sigma) there are; `levels` (T,) says where on it each index
    lies: alpha_bar on the `circle`, sigma on the `line`. Timesteps are integers in [0, T), one
    for each image; all methods raise ValueError or TypeError for anything else.
    """

    levels: Table
    curve: Callable[[Tensor], CurvePoint] = circle

    @classmethod
    def from_betas(cls, betas: Table) -> "NoiseSchedule":
        """The schedule whose step t adds noise of variance beta_t (Ho et al. 2020, eq. 4)."""
        if betas.numel() == 0 or not (betas.min() > 0 and betas.max() < 1):
            raise ValueError(f"betas must lie in (0, 1), got {betas.tolist()[:8]}")
        return cls(torch.cumprod(1 - betas, dim=0))

    @classmethod
    def linear(
        cls, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> "NoiseSchedule":
        """DDPM's schedule: T betas from beta_start to beta_end (Ho et al. 2020, §4)."""
        return cls.from_betas(torch.linspace(beta_start, beta_end, check_int("T", T, 1)))

    @classmethod
    def cosine(
        cls, T: int = 1000, offset: float = 0.008, max_beta: float = 0.999
    ) -> "NoiseSchedule":
        """alpha_bar falls like a squared cosine (Nichol & Dhariwal 2021, eq. 17)."""
        steps = range(check_int("T", T, 1))
        bar = [math.cos((i / T + offset) / (1 + offset) * math.pi / 2) ** 2 for i in [*steps, T]]
        return cls.from_betas(torch.tensor([min(1 - bar[i + 1] / bar[i], max_beta) for i in steps]))

    @classmethod
    def straight(cls, T: int = 1000) -> "NoiseSchedule":
        """sigma = 1/T, 2/T, …, 1 and alpha = 1 - sigma; the last level is noise alone."""
        return cls(torch.arange(1, check_int("T", T, 1) + 1) / T, line)

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def alphas(self) -> Table:
        """How much of the clean image is left at each level."""
        return self.curve(self.levels).alpha

    @property
    def sigmas(self) -> Table:
        """How much noise there is at each level."""
        return self.curve(self.levels).sigma

    @property
    def alphas_cumprod(self) -> Table:
        """alpha_bar = alpha²; on the circle it is the running product of 1 - beta."""
        return self.levels if self.curve is circle else self.alphas**2

    @property
    def snr(self) -> Table:
        """Signal-to-noise ratio (alpha / sigma)²."""
        return (self.alphas / self.sigmas) ** 2

    def to(self, device: torch.device | str) -> "NoiseSchedule":
        """The same schedule with its table on `device`."""
        return NoiseSchedule(self.levels.to(device), self.curve)

    def at(self, timesteps: Timesteps, x: Images) -> CurvePoint:
        """The place on the curve of each image of x, shaped to multiply with it.

        Raises TypeError or ValueError unless there is a timestep in [0, T) for each image; on a GPU
        a timestep out of range is caught by the look-up itself, so that nothing waits for it.
        """
        check_timesteps(timesteps, x, len(self))
        levels = self.levels.to(x.device, x.dtype)
        try:
            levels = levels.index_select(0, timesteps.to(x.device))
        except IndexError:
            got = timesteps.tolist()
            raise ValueError(f"timesteps must lie in [0, {len(self)}), got {got}") from None
        return CurvePoint(*(expand_like(values, x) for values in self.curve(levels)))

    def point(self, t: int, x: Images) -> CurvePoint:
        """The place of timestep t, the same for all images of x: four numbers on its device."""
        return self.curve(self.levels[t].to(x.device, x.dtype))

    def add_noise(self, x0: Images, noise: Images, timesteps: Timesteps) -> Images:
        """x_t = alpha_t * x0 + sigma_t * noise."""
        check_same_shape("noise", noise, "x0", x0)
        return self.at(timesteps, x0).mix(x0, noise)

    def velocity(self, x0: Images, noise: Images, timesteps: Timesteps) -> Images:
        """The direction in which x_t moves as noise grows.

        On the circle `alpha_t * noise - sigma_t * x0` (Salimans & Ho 2022, §4); on the line
        `noise - x0`, which flow matching learns.
        """
        return self.target(x0, noise, timesteps, "v_prediction")

    def target(
        self, x0: Images, noise: Images, timesteps: Timesteps, prediction_type: str
    ) -> Images:
        """What the network is asked for: the noise, the clean image or the velocity."""
        check_prediction_type(prediction_type)
        check_same_shape("noise", noise, "x0", x0)
        return self.at(timesteps, x0).target(x0, noise, prediction_type)

    def predict_x0(
        self, model_output: Images, x_t: Images, timesteps: Timesteps, prediction_type: str
    ) -> Images:
        """The clean image that the network's answer implies.

        Raises ValueError for `"epsilon"` where alpha_t is 0: noise alone tells of no image.
        """
        point = self._read(model_output, x_t, timesteps, prediction_type)
        if prediction_type == "epsilon" and (point.alpha == 0).any():
            raise ValueError(
                "prediction_type 'epsilon' tells nothing of x0 where alpha_t is 0 "
                f"(timesteps {timesteps.tolist()}): use 'sample' or 'v_prediction'"
            )
        return point.x0(model_output, x_t, prediction_type)

    def predict_noise(
        self, model_output: Images, x_t: Images, timesteps: Timesteps, prediction_type: str
    ) -> Images:
        """The noise that the network's answer implies."""
        point = self._read(model_output, x_t, timesteps, prediction_type)
        return point.noise(model_output, x_t, prediction_type)

    def _read(self, model_output, x_t, timesteps, prediction_type) -> CurvePoint:
        check_prediction_type(prediction_type)
        check_same_shape("model_output", model_output, "x_t", x_t)
        return self.at(timesteps, x_t)
