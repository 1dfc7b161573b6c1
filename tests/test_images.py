"""Pixel ranges, grids and PIL."""

import pytest
import torch
from PIL import Image

from course_utils.images import (
    from_pil,
    make_grid,
    to_display_range,
    to_model_range,
    to_pil,
    to_uint8,
)


def test_bytes_and_fractions_reach_the_same_range():
    pixels = torch.arange(256, dtype=torch.uint8)
    model = to_model_range(pixels)
    assert model[0] == -1
    assert model[255] == 1
    torch.testing.assert_close(model, to_model_range(pixels.float() / 255))
    assert model.dtype == torch.float32


def test_there_and_back_again():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_model_range(pixels)), pixels)
    x = torch.rand(50, dtype=torch.float64)
    torch.testing.assert_close(to_display_range(to_model_range(x)), x)


def test_display_clips_and_model_range_does_not_change_its_input():
    assert to_display_range(torch.tensor([-3.0, 0.0, 3.0])).tolist() == [0, 0.5, 1]
    x = torch.rand(4)
    before = x.clone()
    to_model_range(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.tensor([-1.0, 1.0]), ValueError, r"x must lie in \[0, 1\], got \[-1, 1\]"),
        (torch.tensor([0.0, 255.0]), ValueError, r"got \[0, 255\]"),
        (torch.tensor([float("nan")]), ValueError, "x must lie in"),
        (torch.tensor([1, 2]), TypeError, r"x must be uint8 or float, got torch\.int64"),
    ],
)
def test_what_is_no_picture_is_named(x, error, message):
    with pytest.raises(error, match=message):
        to_model_range(x)


def test_display_range_wants_floats(no_shape_checks):
    with pytest.raises(TypeError, match="call to_model_range first"):
        to_display_range(torch.zeros(3, dtype=torch.uint8))


def test_a_grid_holds_every_image_in_reading_order():
    x = torch.arange(1, 6).float()[:, None, None, None].expand(5, 3, 2, 3)
    grid = make_grid(x, columns=3, padding=1, fill=0.0)
    assert grid.shape == (3, 2 * 3 + 1, 3 * 4 + 1)
    assert grid[0, 1, [1, 5, 9]].tolist() == [1, 2, 3]
    assert grid[0, 4, [1, 5, 9]].tolist() == [4, 5, 0]
    assert grid[:, 0].abs().sum() == grid[:, :, 0].abs().sum() == grid[:, 3].abs().sum() == 0


@pytest.mark.parametrize(
    ("b", "columns"), [(1, 1), (4, 2), (8, 3), (9, 3), (16, 4), (64, 8), (100, 8)]
)
def test_a_grid_is_about_square(b, columns):
    assert make_grid(torch.zeros(b, 1, 1, 1), padding=0).shape[-1] == columns


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (1, 2, 2)])
def test_an_empty_grid_is_an_error(no_shape_checks, shape):
    with pytest.raises(ValueError, match=r"non-empty batch \(B, C, H, W\)"):
        make_grid(torch.zeros(shape))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_to_pil_keeps_pixels_and_enlarges_them_whole(channels, mode):
    x = torch.linspace(-1, 1, channels * 4).reshape(channels, 2, 2)
    picture = to_pil(x, scale=3)
    assert isinstance(picture, Image.Image)
    assert picture.mode == mode
    assert picture.size == (6, 6)
    first = picture.getpixel((2, 2))
    assert first == picture.getpixel((0, 0))
    assert (first if channels == 1 else first[0]) == 0


def test_from_pil_gives_back_the_pixels():
    x = torch.randint(0, 256, (3, 3, 4, 5), dtype=torch.uint8)
    assert torch.equal(from_pil([to_pil(picture) for picture in x]), x)
    grey = from_pil([Image.new("L", (2, 2), 7)])
    assert grey.shape == (1, 3, 2, 2)
    assert (grey == 7).all()
