"""Guidance is a model: the answer with a condition, pushed away from the answer without one."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from course_utils.models.calling import Condition, call_model, networks_of
from course_utils.schedule import Images, Timesteps, expand_like

Scale = float | int | Callable[[int], float | int]
"""How much a condition counts: always the same, or by the timestep."""


class Guidance(nn.Module):
    """`untold + scale * (told - untold)`, for any sampler (Ho & Salimans 2022, eq. 6: w + 1).

    `condition` is what the pictures are told, `without` what the push leads away from: no
    condition (None: the model's own), or another one. `scale` 1 is the model with its condition,
    0 the model without; a function of the timestep guides some levels only (Kynkäänniemi et al.
    2024). `weak` answers in the model's place where it is told `without`; with `without=condition`
    that is autoguidance (Karras et al. 2024). All three prediction types are affine in the answer,
    so that it does not matter which of them is guided.
    """

    def __init__(
        self,
        model: Callable,
        condition: Condition,
        without: Condition | None = None,
        scale: Scale = 1.0,
        *,
        weak: Callable | None = None,
    ):
        super().__init__()
        self.model, self.condition, self.scale = model, condition, scale
        self.weak = model if weak is None else weak
        self.without = unconditioned(self.weak, condition) if without is None else without

    def forward(self, x_t: Images, timesteps: Timesteps) -> Images:
        scale = self._scale_at(timesteps)
        if scale == 0:
            return _answer(self.weak, x_t, timesteps, self.without)
        told = _answer(self.model, x_t, timesteps, self.condition)
        if scale == 1:
            return told
        untold = _answer(self.weak, x_t, timesteps, self.without)
        return untold + scale * (told - untold)

    def _scale_at(self, timesteps: Timesteps) -> float | int:
        """Raises ValueError where a scale by the timestep meets several of them."""
        if not callable(self.scale):
            return self.scale
        scales = {self.scale(t) for t in set(timesteps.tolist())}
        if len(scales) != 1:
            raise ValueError(f"a batch must have one scale, got {sorted(scales)}: one t at a time")
        return scales.pop()


def _answer(model: Callable, x_t: Images, timesteps: Timesteps, condition: Condition) -> Images:
    condition = {name: values.to(x_t.device) for name, values in condition.items()}
    return call_model(model, x_t, timesteps, condition)


def unconditioned(model: Callable, condition: Condition) -> Condition:
    """The same condition, saying nothing: the labels' extra row, a text of zeros. A drawing stays:
    as in diffusers' ControlNet pipelines, it is followed on both sides of the push.

    Raises ValueError for a keyword of which it is not known how to say nothing.
    """
    silent = {
        "class_labels": _no_label,
        "encoder_hidden_states": lambda _, text: text * 0,
        "controlnet_cond": lambda _, drawing: drawing,
    }
    if unknown := set(condition) - set(silent):
        raise ValueError(
            f"condition must be of {', '.join(silent)}, got {', '.join(sorted(unknown))}: "
            "pass `without`, what the model is told when it is told nothing"
        )
    return {name: silent[name](model, values) for name, values in condition.items()}


def drop_condition(
    condition: Condition, dropped: Bool[Tensor, "B"], without: Condition
) -> Condition:
    """The condition, in the dropped rows replaced by `without`: how a model learns both."""
    return {
        name: torch.where(expand_like(dropped, values), without[name], values)
        for name, values in condition.items()
    }


def num_classes_of(model: Callable) -> int | None:
    """How many classes a network was made for: a `UNet` or diffusers' `UNet2DModel`, whose last
    class embedding is that of no label; None for a network without labels."""
    for module in (m for network in networks_of(model) for m in network.modules()):
        if rows := getattr(getattr(module, "config", None), "num_class_embeds", None):
            return rows - 1
        if num_classes := getattr(module, "num_classes", None):
            return num_classes
    return None


def _no_label(model: Callable, labels: Tensor) -> Tensor:
    num_classes = num_classes_of(model)
    if num_classes is None:
        raise ValueError(
            "the model has no row for `no label`: make it with num_classes, a UNet2DModel with "
            "num_class_embeds one larger, or pass `without`"
        )
    return torch.full_like(labels, num_classes)
