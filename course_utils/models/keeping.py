"""Keeping is a model, too: the answer of another one, that knows a part of the picture."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_utils.checks import check_prediction_type
from course_utils.models.calling import call_model
from course_utils.schedule import Images, NoiseSchedule, Timesteps


class Kept(nn.Module):
    """The model's x0_pred, and where `mask` is True `x0`, answered as the model answers.

    x0 (B, C, H, W) or (1, C, H, W) in model range, mask (B or 1, 1, H, W), True where x0 is known.
    Any sampler then ends with x0 there; by steps of DDIM the known part of x_t stays at its noise
    level all the way, alpha * x0 + sigma * noise with the noise of x_T (as in RePaint, Lugmayr et
    al. 2022, eq. 8a). A condition is passed on to the model. Raises ValueError for another mask.
    """

    def __init__(
        self,
        model: Callable,
        x0: Float[Tensor, "B C H W"],
        mask: Bool[Tensor, "M 1 H W"],
        schedule: NoiseSchedule,
        prediction_type: str,
    ):
        super().__init__()
        check_prediction_type(prediction_type)
        if mask.dtype != torch.bool or mask.shape[-2:] != x0.shape[-2:]:
            got = f"{mask.dtype} of shape {tuple(mask.shape)}"
            raise ValueError(f"mask must be bool, as high and wide as x0, got {got}")
        self.model, self.schedule, self.prediction_type = model, schedule, prediction_type
        self.register_buffer("x0", x0, persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x_t: Images, timesteps: Timesteps, **condition: Tensor) -> Images:
        answer, kind = call_model(self.model, x_t, timesteps, condition), self.prediction_type
        point = self.schedule.at(timesteps, x_t)
        x0, mask = self.x0.to(x_t).expand_as(x_t), self.mask.to(x_t.device)
        known = point.target(x0, point.noise(x0, x_t, "sample"), kind)
        return torch.where(mask, known, answer)
