"""Diffusion on latents, told by words: the UNet of a small Stable Diffusion."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from course_utils.images import make_grid, to_uint8
from course_utils.models import call_model
from course_utils.recipes import Recipe, build
from course_utils.runs.batches import generator_of
from course_utils.runs.checkpoints import write_file
from course_utils.runs.tasks.captioned import Captioned
from course_utils.runs.tasks.parts import config_of, open_parts
from course_utils.runs.tasks.task import Place, Task
from course_utils.runtime import quiet_loading
from course_utils.schedule import Timesteps
from course_utils.text_to_image import (
    assemble,
    encode_texts,
    latents_of,
    make_latent_unet,
    make_scheduler,
    pictures_of,
    save_pipeline,
    small,
)
from course_utils.trained import NOTE, Trained
from course_utils.training.loss import diffusion_loss, draw_timesteps

TARGET = "v_prediction"  # what the pipeline's scheduler expects


class Chance(NamedTuple):
    """What is random about a step, for each picture of the whole batch."""

    luck: Float[Tensor, " B"]  # which of its texts
    timesteps: Timesteps
    noise: Float[Tensor, "B c h w"]
    dropped: Bool[Tensor, " B"]  # who is told nothing


class Told(NamedTuple):
    """Latents, their noise, and the texts' hidden states."""

    x0: Float[Tensor, "b c h w"]
    timesteps: Timesteps
    noise: Float[Tensor, "b c h w"]
    words: Float[Tensor, "b L D"]


class Latents(Task):
    """A `UNet2DConditionModel` between the parts of `start.parts`, which encode pictures and
    captions once; what is left is a folder for `StableDiffusionPipeline` and `load_trained`."""

    def __init__(self, recipe: Recipe, seed: int, place: Place, folder: Path | None = None):
        self.recipe, self.seed, self.device = recipe, seed, place.device
        parts = recipe.start.parts if folder is None else (folder,)
        if folder is None:
            self.model = make_unet(recipe)  # first, so that its weights only depend on the seed
        else:
            self.model = UNet2DConditionModel.from_pretrained(folder / "unet")
        self.network = self.model.to(place.device)
        self.parts = open_parts(parts)
        self.autoencoder = self.parts.autoencoder.to(place.device)
        self.encode = partial(
            encode_texts, self.parts.text_encoder.to(place.device), self.parts.tokenizer
        )
        self.schedule = build.make_schedule(recipe.schedule).to(place.device)
        self.pictures = Captioned(recipe, seed)
        self.num_pictures = self.pictures.num_pictures
        self.fingerprints = {**self.pictures.fingerprints, "parts": self.parts.fingerprint}
        if folder is None:
            self.latents = latents_of(self.autoencoder, self.pictures.data.images)
            self.words = self.encode(self.pictures.wordings.texts)
            self.nothing = self.encode([""])

    @property
    def trained(self) -> Trained:
        """The network as it is now, ready to draw."""
        return Trained(
            self.model,
            self.schedule,
            TARGET,
            latent_shape(self.recipe),
            self.recipe.sampler,
            decode=partial(pictures_of, self.autoencoder),
            encode=self.encode,
        )

    @classmethod
    def rehearse(cls, recipe: Recipe, num_images: int) -> tuple[nn.Module, Float[Tensor, ""]]:
        """One call, told texts of full length."""
        text = config_of(recipe.start.parts, "text_encoder")
        size = num_images, text["max_position_embeddings"], text["hidden_size"]
        with torch.device("meta"):
            model, x_t = make_unet(recipe), torch.empty(num_images, *latent_shape(recipe))
            timesteps = torch.zeros(num_images, dtype=torch.long)
            told = {"encoder_hidden_states": torch.empty(size)}
        return model, call_model(model, x_t, timesteps, told).sum()

    def draw(self, step: int) -> Chance:
        """Texts, noise levels, noise, and who is told nothing."""
        chance = generator_of(self.device, self.seed, step)
        torch.manual_seed(chance.initial_seed())
        how, size = self.recipe.schedule, self.recipe.training.batch_size
        options = {"generator": chance, "device": self.device}
        luck = torch.rand(size, **options)
        levels = build.timestep_sampling(how)
        timesteps = draw_timesteps(size, build.NUM_TIMESTEPS, levels, **options)
        noise = torch.randn(size, *self.latents.shape[1:], **options)
        return Chance(
            luck, timesteps, noise, torch.rand(size, **options) < self.recipe.training.drop
        )

    def batch(self, step: int, places: Int64[Tensor, " b"], chance: Chance) -> Told:
        """Latents, each told by one of its texts, or by nothing."""
        chosen = self.pictures.chosen(step, places)
        words = self.words[self.pictures.told(chosen, chance.luck[places])]
        words = torch.where(chance.dropped[places, None, None], self.nothing, words)
        return Told(self.latents[chosen], chance.timesteps[places], chance.noise[places], words)

    def loss(self, network: nn.Module, batch: Told) -> Float[Tensor, ""]:
        """`diffusion_loss`, weighted as the recipe says."""
        return diffusion_loss(
            network,
            self.schedule,
            batch.x0,
            prediction_type=TARGET,
            weighting=self.recipe.schedule.weighting,
            timesteps=batch.timesteps,
            noise=batch.noise,
            condition={"encoder_hidden_states": batch.words},
        )

    def sheet(self, num_images: int = 16) -> UInt8[Tensor, "C H W"]:
        """A grid of samples, always of the same captions, in all languages in turn."""
        captions = [*self.pictures.data.captions.values()]
        chosen = self.pictures.sample(num_images)
        prompts = [captions[n % len(captions)][place] for n, place in enumerate(chosen)]
        return make_grid(to_uint8(self._drawn(prompts)), fill=255)

    def save(self, folder: Path) -> None:
        """The whole pipeline, and the note for `load_trained`."""
        parts = (self.parts.autoencoder, self.parts.text_encoder, self.parts.tokenizer)
        with quiet_loading():
            save_pipeline(assemble(*parts, self.model, make_scheduler()), folder)
        note = {"sampler": asdict(self.recipe.sampler)}
        write_file(folder / NOTE, json.dumps(note, indent=1).encode())

    def measure(self, num_images: int) -> dict:
        """By language, how often the training picture nearest to a drawn one (32 x 32 averages) is
        the one whose caption was the prompt, and how often it is among the nearest five."""
        data = self.pictures.data
        chosen = self.pictures.sample(max(1, num_images // len(data.captions)))
        found = {"num_samples": len(chosen) * len(data.captions)}
        known = small(data.images).flatten(1)
        for language, texts in data.captions.items():
            drawn = small(self._drawn([texts[place] for place in chosen])).flatten(1)
            nearest = torch.cdist(drawn, known).argsort(dim=1) == torch.tensor(chosen)[:, None]
            for k, name in ((1, "own"), (5, "own_5")):
                share = nearest[:, :k].any(dim=1).double().mean().item()
                found[f"{name}_{language}"] = round(share, 4)
        return found

    def _drawn(self, prompts: list[str]) -> Float[Tensor, "N 3 H W"]:
        """At the guidance that the recipe chose, on the CPU."""
        trained = self.trained
        told = {"condition": trained.prompt(*prompts), "guidance": trained.sampler.guidance}
        return trained.draw(len(prompts), **told)


def latent_shape(recipe: Recipe) -> tuple[int, int, int]:
    """(c, h, w) of what the autoencoder makes of the recipe's pictures. Raises ValueError where
    these can't be halved as often as they have to be."""
    config = config_of(recipe.start.parts, "vae")
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    multiple, size = factor * 2 ** (len(recipe.model.channels) - 1), recipe.data.size
    if size % multiple:
        raise ValueError(f"data.size must be a multiple of {multiple} for this model, got {size}")
    return config["latent_channels"], size // factor, size // factor


def make_unet(recipe: Recipe) -> UNet2DConditionModel:
    """The network with random weights, of the width that the text encoder gives."""
    model, (channels, size, _) = recipe.model, latent_shape(recipe)
    return make_latent_unet(
        model.channels,
        layers_per_block=model.num_blocks,
        attention=model.attention or (True, *[False] * (len(model.channels) - 1)),
        context_width=config_of(recipe.start.parts, "text_encoder")["hidden_size"],
        latent_channels=channels,
        size=size,
    )
