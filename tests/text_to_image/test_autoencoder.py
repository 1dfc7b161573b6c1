"""The autoencoder: its loss term by term, the KL by Monte Carlo, latents there and back."""

import math

import pytest
import tiny_parts
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from course_utils.images import to_model_range
from course_utils.text_to_image import (
    autoencoder_loss,
    latents_of,
    make_autoencoder,
    pictures_of,
    psnr,
    scaling_factor,
)


@pytest.fixture
def autoencoder():
    return tiny_parts.autoencoder()


def test_it_makes_512_numbers_of_12288():
    with torch.device("meta"):
        autoencoder = make_autoencoder()
    assert sum(p.numel() for p in autoencoder.parameters()) == 951_739
    latents = autoencoder.encode(torch.empty(1, 3, 64, 64, device="meta")).latent_dist.mean
    assert latents.shape == (1, 8, 8, 8)
    assert autoencoder.config.scaling_factor == 1


def test_the_loss_is_the_sum_of_its_terms(autoencoder):
    x0 = to_model_range(tiny_parts.colours())
    loss = autoencoder_loss(autoencoder, x0, torch.Generator().manual_seed(0))
    posterior = autoencoder.encode(x0).latent_dist
    r = autoencoder.decode(posterior.sample(torch.Generator().manual_seed(0))).sample
    assert loss.l1.item() == pytest.approx((r - x0).abs().mean().item())
    assert loss.mse.item() == pytest.approx((r - x0).square().mean().item())
    across = ((r[..., 1:] - r[..., :-1]) - (x0[..., 1:] - x0[..., :-1])).abs().mean()
    down = ((r[..., 1:, :] - r[..., :-1, :]) - (x0[..., 1:, :] - x0[..., :-1, :])).abs().mean()
    assert loss.edges.item() == pytest.approx((across + down).item(), rel=1e-5)
    total = loss.l1 + loss.mse + 0.5 * loss.edges + 2e-4 * loss.kl
    assert loss.total.item() == pytest.approx(total.item())
    loss.total.backward()
    assert all(p.grad is not None for p in autoencoder.parameters())


def test_the_divergence_is_that_of_monte_carlo(autoencoder, generator):
    x0 = to_model_range(tiny_parts.colours(2))
    posterior = autoencoder.encode(x0).latent_dist
    posterior.mean, posterior.std = posterior.mean.double(), posterior.std.double()
    drawn = torch.randn(4000, *posterior.mean.shape, generator=generator, dtype=torch.float64)
    z = posterior.mean + posterior.std * drawn
    told = torch.distributions.Normal(posterior.mean, posterior.std).log_prob(z)
    untold = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    kl = autoencoder_loss(autoencoder, x0).kl.item()
    assert kl > 0.05
    assert kl == pytest.approx((told - untold).mean().item(), rel=0.02)


def test_latents_are_scaled_means_of_bytes_and_model_range_alike(autoencoder):
    images = tiny_parts.colours()
    autoencoder.register_to_config(scaling_factor=3.0)
    latents = latents_of(autoencoder, images, batch_size=4)
    means = autoencoder.encode(to_model_range(images)).latent_dist.mean
    torch.testing.assert_close(latents, 3 * means.detach(), atol=1e-5, rtol=1e-4)
    assert torch.equal(latents, latents_of(autoencoder, to_model_range(images), batch_size=4))
    assert not latents.requires_grad


def test_the_way_back_takes_the_scaling_factor_out(autoencoder):
    latents = latents_of(autoencoder, tiny_parts.colours())
    pictures = pictures_of(autoencoder, latents, batch_size=4)
    autoencoder.register_to_config(scaling_factor=3.0)
    torch.testing.assert_close(pictures_of(autoencoder, 3 * latents), pictures)
    decoded = autoencoder.decode(latents).sample.clamp(-1, 1).detach()
    torch.testing.assert_close(pictures, decoded, atol=1e-5, rtol=1e-4)
    assert pictures_of(autoencoder, latents * 1e4).abs().max() <= 1


def test_a_training_that_goes_on_is_not_disturbed(autoencoder):
    autoencoder.train()
    latents_of(autoencoder, tiny_parts.colours(1))
    assert all(module.training for module in autoencoder.modules())


def test_scaled_latents_are_as_wide_as_noise(generator):
    latents = 3 + 5 * torch.randn(40, 8, 8, 8, generator=generator)
    assert (latents * scaling_factor(latents)).std().item() == pytest.approx(1)


def test_psnr_is_that_of_each_pair(generator):
    a, b = torch.rand(2, 3, 3, 8, 8, generator=generator) * 2 - 1
    for value, one, other in zip(psnr(a, b), a, b, strict=True):
        known = peak_signal_noise_ratio(one, other, data_range=(-1.0, 1.0))
        assert value.item() == pytest.approx(known.item(), rel=1e-5)
    assert psnr(a, a).tolist() == [math.inf] * 3
    assert psnr(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)).item() == 0


def test_wrong_input_is_refused(autoencoder, no_shape_checks):
    with pytest.raises(ValueError, match="others"):
        psnr(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="images"):
        latents_of(autoencoder, torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="batch_size"):
        pictures_of(autoencoder, torch.zeros(1, 4, 4, 4), batch_size=0)
