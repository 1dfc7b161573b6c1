"""Pictures to latents and back: a small autoencoder, its loss, what it keeps and what it loses."""

from typing import NamedTuple

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Shaped
from torch import Tensor

from course_utils.checks import check_images, check_positive, check_same_shape
from course_utils.images import to_model_range
from course_utils.models.calling import evaluation_mode

Pictures = Shaped[Tensor, "N C H W"]  # uint8, or float in [-1, 1]
EDGES, KL = 0.5, 2e-4  # how much these two count


def make_autoencoder(
    channels: tuple[int, ...] = (16, 32, 64, 64), latent_channels: int = 8, size: int = 64
) -> AutoencoderKL:
    """Stable Diffusion's autoencoder, untrained and small (Rombach et al. 2022, §3.1).

    Each width but the last halves the sides: 3 x 64 x 64 numbers → 8 x 8 x 8. Its scaling factor
    is 1 until it is measured: `autoencoder.register_to_config(scaling_factor=…)`.
    """
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=size,
        scaling_factor=1.0,
    )


class AutoencoderLoss(NamedTuple):
    """The terms of an autoencoder's loss, each a mean; `total` weighs them.

    `l1` and `mse` compare pixels, `edges` the differences of neighbours, and `kl`, for each number
    of the latents, says how far the posterior is from a standard normal.
    """

    l1: Float[Tensor, ""]
    mse: Float[Tensor, ""]
    edges: Float[Tensor, ""]
    kl: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """l1 + mse + edges / 2 + a little of the KL divergence."""
        return self.l1 + self.mse + EDGES * self.edges + KL * self.kl


def autoencoder_loss(
    model: AutoencoderKL,
    x0: Float[Tensor, "B C H W"],
    generator: torch.Generator | None = None,
    *,
    noise: Float[Tensor, "B c h w"] | None = None,
) -> AutoencoderLoss:
    """How well pictures in [-1, 1] come back from latents drawn from their posterior.

    The noise of the draw comes from `generator`, unless it is given. The KL divergence is that of
    Kingma & Welling 2014, eq. 10, counted weakly, so that latents stay near zero at little cost to
    the pictures (Rombach et al. 2022, §3.1).
    """
    posterior = model.encode(x0).latent_dist
    if noise is None:
        latents = posterior.sample(generator)
    else:
        latents = posterior.mean + posterior.std * noise
    errors = model.decode(latents).sample - x0
    return AutoencoderLoss(
        l1=errors.abs().mean(),
        mse=errors.square().mean(),
        edges=errors.diff(dim=-1).abs().mean() + errors.diff(dim=-2).abs().mean(),
        kl=posterior.kl().mean() / latents[0].numel(),
    )


@torch.no_grad()
def latents_of(
    autoencoder: AutoencoderKL, images: Pictures, batch_size: int = 64
) -> Float[Tensor, "N c h w"]:
    """Pictures, uint8 or in [-1, 1] → the means of their posteriors, times the scaling factor."""
    check_images("images", images)
    check_positive(batch_size=batch_size)
    x = to_model_range(images) if images.dtype == torch.uint8 else images
    with evaluation_mode(autoencoder):
        parts = x.to(autoencoder.device, autoencoder.dtype).split(batch_size)
        means = torch.cat([autoencoder.encode(part).latent_dist.mean for part in parts])
    return means * autoencoder.config.scaling_factor


@torch.no_grad()
def pictures_of(
    autoencoder: AutoencoderKL, latents: Float[Tensor, "N c h w"], batch_size: int = 64
) -> Float[Tensor, "N C H W"]:
    """Latents, as `latents_of` gives them → pictures in [-1, 1], clipped."""
    check_positive(batch_size=batch_size)
    z = latents.to(autoencoder.device, autoencoder.dtype) / autoencoder.config.scaling_factor
    with evaluation_mode(autoencoder):
        decoded = [autoencoder.decode(part).sample for part in z.split(batch_size)]
    return torch.cat(decoded).clamp(-1, 1)


def scaling_factor(latents: Float[Tensor, "N c h w"]) -> float:
    """1 / standard deviation of all numbers: scaled by it, latents are as wide as the noise.

    (Rombach et al. 2022, appendix G.) Take latents whose scaling factor is 1.
    """
    return 1 / latents.std().item()


def psnr(
    pictures: Float[Tensor, "N C H W"], others: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """Peak signal-to-noise ratio of each pair in dB, 10 log10(2² / MSE) for pictures in [-1, 1].

    Raises ValueError for different shapes.
    """
    check_same_shape("others", others, "pictures", pictures)
    mse = (pictures - others).square().mean((1, 2, 3))
    return 10 * (4 / mse).log10()
