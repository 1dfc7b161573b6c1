"""Steering is a model, too: the answer of another one, pulled down the slope of any loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.checks import check_prediction_type
from course_utils.models.calling import call_model
from course_utils.schedule import CurvePoint, Images, NoiseSchedule, Timesteps

PURE_NOISE = 0.05  # with less of the picture than this, x_t tells next to nothing of it


class Steered(nn.Module):
    """noise + scale * sigma * the slope of loss(x0_pred) over x_t, answered as the model answers.

    `loss` takes x0_pred (B, C, H, W), about in model range, and gives a number for each picture
    (B,). What is drawn follows p(x) * exp(-scale * loss(x)), nearly: with -log p(y | x) and scale 1
    Bayes' rule, classifier guidance (Dhariwal & Nichol 2021, alg. 2); over x0_pred it is DPS
    (Chung et al. 2023, eq. 12). `through=False` goes past the network, as if x0_pred were that of
    Gaussian pixels, alpha * x_t / (alpha² + sigma²) (Song et al. 2023, §3.2): less than half
    the time. Levels with alpha < 0.05 are left alone. Raises ValueError for another number of
    losses, TypeError where none has a gradient. A condition is passed on to the model.
    """

    def __init__(
        self,
        model: Callable,
        loss: Callable[[Tensor], Tensor],
        schedule: NoiseSchedule,
        prediction_type: str,
        scale: float | int = 1.0,
        through: bool = True,
    ):
        super().__init__()
        check_prediction_type(prediction_type)
        self.model, self.loss, self.schedule = model, loss, schedule
        self.prediction_type, self.scale, self.through = prediction_type, scale, through

    def forward(self, x_t: Images, timesteps: Timesteps, **condition: Tensor) -> Images:
        point = self.schedule.at(timesteps, x_t)
        with torch.set_grad_enabled(self.through):
            start = x_t.detach().requires_grad_(self.through)
            answer = call_model(self.model, start, timesteps, condition)
            x0_pred = point.x0(answer, start, self.prediction_type)
        if self.through:
            slope = self._slope(x0_pred, start)
        else:
            size = point.alpha / (point.alpha**2 + point.sigma**2)
            slope = size * self._slope(x0_pred.requires_grad_(), x0_pred)
        noise = self.scale * point.sigma * slope
        return answer.detach() + torch.where(point.alpha < PURE_NOISE, 0, self._seen(noise, point))

    def _slope(self, x0_pred: Images, at: Images) -> Images:
        """Of each picture's loss; the weights get no gradient."""
        with torch.enable_grad():
            losses = self.loss(x0_pred)
            _check_losses(losses, len(x0_pred))
            return torch.autograd.grad(losses.sum(), at)[0]

    def _seen(self, noise: Images, point: CurvePoint) -> Images:
        """What so much more noise at the same x_t adds to the answer, whichever view it is."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return -point.sigma / point.alpha * noise
        return noise / point.alpha


def _check_losses(losses: Tensor, num_images: int) -> None:
    if not isinstance(losses, Tensor) or losses.shape != (num_images,):
        got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"loss must give one number for each of the {num_images} pictures, got {got}: take "
            "the mean over (1, 2, 3), not over the batch"
        )
    if not losses.requires_grad:
        raise TypeError("loss must have a gradient: no rounding, no argmax, no torch.no_grad()")
