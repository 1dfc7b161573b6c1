"""Networks: the toy `BasicUNet`, and `UNet`, small, fast and time-conditioned."""

from course_utils.models.unet import (
    Attention,
    BasicUNet,
    Level,
    ResBlock,
    UNet,
    count_parameters,
    timestep_embedding,
)

__all__ = [
    "Attention",
    "BasicUNet",
    "Level",
    "ResBlock",
    "UNet",
    "count_parameters",
    "timestep_embedding",
]
