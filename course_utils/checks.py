"""Checks of what callers pass, each with an error that names the value and says what to do."""

from collections.abc import Iterable

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def check_prediction_type(prediction_type: str) -> None:
    """Raises ValueError unless it is one of `PREDICTION_TYPES`."""
    check_choice("prediction_type", prediction_type, PREDICTION_TYPES)


def check_int(name: str, value: int, low: int, high: int | None = None) -> int:
    """The value itself. Raises TypeError unless it is an int, ValueError below low, above high."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}: pass a whole number such as {low}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")
    return value


def check_same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raises ValueError unless `value` has the shape of `other`."""
    if value.shape != other.shape:
        shapes = f"{tuple(other.shape)}; got {tuple(value.shape)}"
        raise ValueError(f"{name} must have the shape of {other_name}, {shapes}")


def check_timesteps(timesteps: Tensor, x: Tensor, T: int) -> None:
    """Raises TypeError unless timesteps are integers and x is float; ValueError unless there is
    one timestep for each image of x. Looks at no value, so that a GPU is not waited for."""
    if timesteps.is_floating_point() or timesteps.dtype == torch.bool:
        raise TypeError(f"timesteps must be integers in [0, {T}), got {timesteps.dtype}")
    if not x.is_floating_point():
        raise TypeError(f"images must be float, got {x.dtype}: call to_model_range first")
    if timesteps.shape != x.shape[:1]:
        raise ValueError(
            f"timesteps must hold one integer for each of the {len(x)} images, shape ({len(x)},); "
            f"got shape {tuple(timesteps.shape)}"
        )


def check_images(name, x):
    """x itself. Raises TypeError or ValueError unless it is a batch of pictures."""
    if not isinstance(x, Tensor) or (x.dtype != torch.uint8 and not x.is_floating_point()):
        got = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a uint8 or float tensor, got {got}: convert it first")
    if x.ndim != 4 or x.numel() == 0 or x.shape[1] not in (1, 3):
        raise ValueError(
            f"{name} must be a non-empty batch (B, C, H, W) with C = 1 or 3, got {tuple(x.shape)}"
        )
    return x


def check_positive(**settings):
    """Raises ValueError for a setting below 1."""
    for name, value in settings.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_multiple_of(multiple: int, x: Tensor) -> None:
    """Raises ValueError unless x is (B, C, H, W) with H and W multiples of `multiple`."""
    if x.ndim != 4 or x.shape[-2] % multiple or x.shape[-1] % multiple:
        raise ValueError(
            f"images must be (B, C, H, W) with H and W multiples of {multiple}, "
            f"got {tuple(x.shape)}: resize or pad them"
        )
