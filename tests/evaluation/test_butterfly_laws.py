"""The laws of drawn butterflies: kept by drawings, broken by what breaks them."""

import torch

from course_utils import draw_butterflies, to_model_range
from course_utils.evaluation.butterfly_laws import asymmetry, off_palette

images, labels = draw_butterflies(240, 32, seed=8)


def test_drawings_keep_the_laws():
    assert asymmetry(images).mean() < 0.15
    assert off_palette(images).mean() < 0.02


def test_any_size_can_be_measured():
    large = draw_butterflies(48, 64, seed=8)[0]
    assert asymmetry(large).mean() < 0.15
    assert off_palette(large).mean() < 0.03


def test_two_different_halves_are_asymmetric():
    left, right = images[:100], images[100:200]
    chimera = torch.cat([left[..., :16], right[..., 16:]], dim=-1)
    assert asymmetry(chimera).mean() > 3 * asymmetry(left).mean()


def test_a_tilted_axis_is_found():
    """The drawings are turned and shifted a little; about the upright middle they look worse."""
    x = to_model_range(images)
    spread = (x - x.mean((2, 3), keepdim=True)).abs().mean((1, 2, 3))
    upright = (x - x.flip(-1)).abs().mean((1, 2, 3)) / spread
    assert asymmetry(images).mean() < upright.mean() / 2


def test_colours_that_no_species_wears_are_seen(generator):
    assert off_palette(images.flip(1)).mean() > 0.1  # red and blue swapped
    tinted = (images.float() * torch.tensor([0.6, 1, 0.6]).view(3, 1, 1)).byte()
    assert off_palette(tinted).mean() > 0.3


def test_a_chimera_of_two_species_wears_the_colours_of_neither():
    monarchs, morphos = images[labels == 0][:20], images[labels == 2][:20]
    chimera = torch.cat([monarchs[..., :16], morphos[..., 16:]], dim=-1)
    assert off_palette(chimera).mean() > 5 * off_palette(monarchs).mean()


def test_noise_breaks_both(generator):
    x = to_model_range(images)
    noisy = (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
    assert asymmetry(noisy).mean() > 2 * asymmetry(x).mean()
    assert off_palette(noisy).mean() > 10 * off_palette(x).mean()


def test_bytes_and_floats_are_the_same_pictures():
    for law in (asymmetry, off_palette):
        torch.testing.assert_close(law(images[:10]), law(to_model_range(images[:10])))
