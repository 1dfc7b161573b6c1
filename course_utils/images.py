"""Pixel ranges, grids and PIL. Images are `B C H W`; models see [-1, 1], people see [0, 1]."""

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor


def to_model_range(x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """uint8 [0, 255] or float [0, 1] → float [-1, 1].

    Raises TypeError for other dtypes, ValueError for floats outside [0, 1].
    """
    if x.dtype == torch.uint8:
        return x.float() / 127.5 - 1
    if not x.is_floating_point():
        raise TypeError(f"x must be uint8 or float, got {x.dtype}: convert it first")
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):
        low, high = x.min().item(), x.max().item()
        raise ValueError(f"x must lie in [0, 1], got [{low:.3g}, {high:.3g}]: already scaled?")
    return x * 2 - 1


def to_display_range(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """float [-1, 1] → float [0, 1], clipped. Raises TypeError for other dtypes."""
    if not x.is_floating_point():
        raise TypeError(f"x must be float in [-1, 1], got {x.dtype}: call to_model_range first")
    return (x * 0.5 + 0.5).clamp(0, 1)


def to_uint8(x: Shaped[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """float [-1, 1] → uint8 [0, 255], clipped and rounded; uint8 is returned as it is."""
    return x if x.dtype == torch.uint8 else (to_display_range(x) * 255).round().to(torch.uint8)


def make_grid(
    x: Shaped[Tensor, "B C H W"],
    columns: int | None = None,
    padding: int = 2,
    fill: float | int = 1.0,
) -> Shaped[Tensor, "C GH GW"]:
    """One picture of all B images, row by row, `padding` pixels of `fill` between and around them.

    Without `columns` the grid is as square as it can be, at most 8 wide.
    Raises ValueError for an empty batch or another number of dimensions.
    """
    if x.ndim != 4 or len(x) == 0:
        raise ValueError(f"x must be a non-empty batch (B, C, H, W), got {tuple(x.shape)}")
    b, c, h, w = x.shape
    columns = min(b, columns or min(8, max(1, round(b**0.5 + 0.49))))
    rows = -(-b // columns)
    cells = x.new_full((rows * columns, c, h + padding, w + padding), fill)
    cells[:b, :, :h, :w] = x
    grid = cells.reshape(rows, columns, c, h + padding, w + padding).permute(2, 0, 3, 1, 4)
    grid = grid.reshape(c, rows * (h + padding), columns * (w + padding))
    return torch.nn.functional.pad(grid, (padding, 0, padding, 0), value=fill)


def to_pil(x: Shaped[Tensor, "C H W"], scale: int = 1) -> Image.Image:
    """One image, uint8 or float [-1, 1], as a PIL picture, each pixel `scale` pixels wide."""
    array = to_uint8(x).permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def from_pil(pictures: list[Image.Image]) -> UInt8[Tensor, "B 3 H W"]:
    """PIL pictures of one size, as a pipeline gives them, → one batch of bytes."""
    arrays = [np.array(picture.convert("RGB")) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
