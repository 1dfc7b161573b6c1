"""Pictures to latents and back: the autoencoder of a small Stable Diffusion."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from course_utils.images import make_grid, to_model_range, to_uint8
from course_utils.recipes import Recipe, build
from course_utils.runs.batches import generator_of, open_pictures
from course_utils.runs.tasks.parts import open_autoencoder
from course_utils.runs.tasks.task import Place, Task
from course_utils.text_to_image import (
    autoencoder_loss,
    latents_of,
    make_autoencoder,
    pictures_of,
    psnr,
    scaling_factor,
)


class Chance(NamedTuple):
    """What is random about a step, for each picture of the whole batch."""

    mirrored: Bool[Tensor, "B 1 1 1"]
    noise: Float[Tensor, "B c h w"]


class Noisy(NamedTuple):
    """Pictures in [-1, 1], and the noise by which their latents are drawn."""

    x0: Float[Tensor, "b 3 H W"]
    noise: Float[Tensor, "b c h w"]


class Loss(nn.Module):
    """`autoencoder_loss` as one call, which several processes can share."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, x0: Float[Tensor, "B 3 H W"], noise: Float[Tensor, "B c h w"]
    ) -> Float[Tensor, ""]:
        return autoencoder_loss(self.model, x0, noise=noise).total


class Autoencoder(Task):
    """An `AutoencoderKL`; what is left is its folder, `vae`, for `start.parts`."""

    def __init__(self, recipe: Recipe, seed: int, place: Place, folder: Path | None = None):
        self.recipe, self.seed, self.device = recipe, seed, place.device
        self.latent_shape = latent_shape(recipe)
        model = make_model(recipe) if folder is None else open_autoencoder(folder / "vae")
        self.model = model.to(place.device)
        self.network = Loss(self.model)
        self.pictures = open_pictures(recipe, None, seed, *place[1:])
        self.fingerprints = {"pictures": self.pictures.fingerprint}

    @property
    def num_pictures(self) -> int | None:
        """How many there are, if they were counted."""
        return self.pictures.num_pictures

    @classmethod
    def rehearse(cls, recipe: Recipe, num_images: int) -> tuple[nn.Module, Float[Tensor, ""]]:
        """There and back."""
        shape = latent_shape(recipe)
        with torch.device("meta"):
            model = make_model(recipe)
            x0 = torch.empty(num_images, *build.picture_shape(recipe.data))
            return model, Loss(model)(x0, torch.empty(num_images, *shape))

    def draw(self, step: int) -> Chance:
        """Mirrored or not, and noise."""
        chance = generator_of(self.device, self.seed, step)
        torch.manual_seed(chance.initial_seed())
        size, options = self.recipe.training.batch_size, {"generator": chance}
        options |= {"device": self.device}
        coins = torch.rand(size, 1, 1, 1, **options)
        noise = torch.randn(size, *self.latent_shape, **options)
        return Chance(coins < self.recipe.data.flip / 2, noise)

    def batch(self, step: int, places: Int64[Tensor, " b"], chance: Chance) -> Noisy:
        """Pictures, mirrored or not."""
        images, _ = self.pictures.batch(step, places)
        x0 = to_model_range(images.to(self.device))
        x0 = torch.where(chance.mirrored[places], x0.flip(-1), x0)
        return Noisy(x0, chance.noise[places])

    def loss(self, network: nn.Module, batch: Noisy) -> Float[Tensor, ""]:
        """All terms together."""
        return network(*batch)

    def sheet(self, num_pairs: int = 8) -> UInt8[Tensor, "C H W"]:
        """Pictures, each with what comes back of it."""
        images = self.pictures.some().images[:num_pairs]
        pairs = torch.stack([images, to_uint8(self._back(images))], dim=1)
        return make_grid(pairs.flatten(0, 1), columns=4, fill=255)

    def save(self, folder: Path) -> None:
        """With the scaling factor of the training pictures."""
        latents = latents_of(self.model, self.pictures.some().images)
        factor = self.model.config.scaling_factor * scaling_factor(latents)
        self.model.register_to_config(scaling_factor=factor)
        self.model.save_pretrained(folder / "vae", safe_serialization=True)

    def measure(self, num_images: int) -> dict:
        """Mean PSNR in dB: `psnr` of pictures that were held out, if there are any, and
        `psnr_training`."""
        data, seen = self.recipe.data, self.pictures.some().images
        sets = {"psnr_training": seen}
        if (held_out := build.held_out_pictures(data)) is not None:
            sets["psnr"] = held_out.images
        return {name: self._quality(images, num_images) for name, images in sets.items()}

    def _quality(self, images: UInt8[Tensor, "N 3 H W"], num_images: int) -> float:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        chosen = images[order[:num_images]]
        return round(psnr(self._back(chosen), to_model_range(chosen)).mean().item(), 2)

    def _back(self, images: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
        return pictures_of(self.model, latents_of(self.model, images)).cpu()


def latent_shape(recipe: Recipe) -> tuple[int, int, int]:
    """(c, h, w) of what the autoencoder makes of a picture. Raises ValueError for grey pictures,
    and for a size that can't be halved as often."""
    channels, size, _ = build.picture_shape(recipe.data)
    if channels != 3:
        source = recipe.data.source
        raise ValueError(f"model.kind 'AutoencoderKL' takes colours, and {source!r} are grey")
    factor = 2 ** (len(recipe.model.channels) - 1)
    if size % factor:
        raise ValueError(f"data.size must be a multiple of {factor} for this model, got {size}")
    return recipe.model.latent_channels, size // factor, size // factor


def make_model(recipe: Recipe) -> nn.Module:
    """The network with random weights."""
    return make_autoencoder(recipe.model.channels, recipe.model.latent_channels, recipe.data.size)
