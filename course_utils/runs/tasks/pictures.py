"""Diffusion on pictures: a network learns to see through noise, and is told a class or nothing."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from course_utils.data import ImageData
from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import agreement, compare
from course_utils.evaluation.features import SHIPPED
from course_utils.images import make_grid, to_model_range, to_uint8
from course_utils.models import call_model, num_classes_of
from course_utils.models.lora import has_lora, merge_lora, save_lora
from course_utils.recipes import Data, Recipe, build
from course_utils.runs.batches import Chance, draw_chance, open_pictures
from course_utils.runs.tasks.task import Place, Task
from course_utils.trained import Trained, load_trained, save_trained
from course_utils.training.loss import diffusion_loss

COMPARED = 5000  # training pictures among which copies are looked for


class Told(NamedTuple):
    """Clean pictures, and what `diffusion_loss` is given with them."""

    x0: Float[Tensor, "b C H W"]
    options: dict


class Pictures(Task):
    """A `UNet` or `UNet2DModel`; what is left is a folder for `load_trained`."""

    def __init__(self, recipe: Recipe, seed: int, place: Place, folder: Path | None = None):
        self.recipe, self.seed, self.device = recipe, seed, place.device
        self.begun = build.begin(recipe) if folder is None else load_trained(folder)
        self.model = self.network = self.begun.model.to(place.device)
        self.schedule = self.begun.schedule.to(place.device)
        told = num_classes_of(self.model), seed
        self.pictures = open_pictures(recipe, *told, *place[1:])
        self.classes = self.pictures.classes
        self.fingerprints = {"pictures": self.pictures.fingerprint}

    @property
    def num_pictures(self) -> int | None:
        """How many there are, if they were counted."""
        return self.pictures.num_pictures

    @property
    def trained(self) -> Trained:
        """The network as it is now, ready to draw."""
        return self.begun._replace(classes=self.classes)

    @classmethod
    def rehearse(cls, recipe: Recipe, num_images: int) -> tuple[nn.Module, Float[Tensor, ""]]:
        """One call, of any class."""
        model = build.outline(recipe)
        with torch.device("meta"):
            x_t = torch.empty(num_images, *build.picture_shape(recipe.data))
            timesteps = torch.zeros(num_images, dtype=torch.long)
        condition = {"class_labels": timesteps} if num_classes_of(model) else {}
        return model, call_model(model, x_t, timesteps, condition).sum()

    def draw(self, step: int) -> Chance:
        """Mirrored or not, noise levels, noise, and whose class is kept from the network."""
        return draw_chance(self.recipe, self.seed, step, self.device)

    def batch(self, step: int, places: Int64[Tensor, " b"], chance: Chance) -> Told:
        """Pictures in [-1, 1], their noise, and their classes if the network is told some."""
        images, labels = self.pictures.batch(step, places)
        x0 = to_model_range(images.to(self.device))
        x0 = torch.where(chance.mirrored[places], x0.flip(-1), x0)
        options = {"timesteps": chance.timesteps[places], "noise": chance.noise[places]}
        if labels is not None:
            options |= {"condition": {"class_labels": labels}, "drop": chance.dropped[places]}
        return Told(x0, options)

    def loss(self, network: nn.Module, batch: Told) -> Float[Tensor, ""]:
        """`diffusion_loss`, weighted as the recipe says."""
        settings = {"prediction_type": self.begun.prediction_type}
        settings |= {"weighting": self.recipe.schedule.weighting}
        return diffusion_loss(network, self.schedule, batch.x0, **batch.options, **settings)

    def sheet(self, num_images: int = 16) -> UInt8[Tensor, "C H W"]:
        """A grid of samples, always from the same noise; of classes each in turn."""
        labels = _every_class(self.trained, num_images)
        return make_grid(to_uint8(_draw_labelled(self.trained, num_images, labels)), fill=255)

    def save(self, folder: Path) -> None:
        """The model with what draws with it; adapters alone and merged."""
        if has_lora(self.model):
            save_lora(self.model, folder)
            merge_lora(self.model)
        save_trained(self.trained, folder)

    def measure(self, num_images: int) -> dict:
        """Distances beside their floor, and the share of copies; empty where there are too few
        pictures to compare with."""
        return _measure(self.trained, self.recipe.data, self.pictures.some(), num_images)


def _every_class(trained: Trained, num_images: int) -> Tensor | None:
    """Labels (num_images,), all classes in turn; None where the network is told none."""
    if not num_classes_of(trained.model):
        return None
    return torch.arange(num_images) % len(trained.classes)


def _draw_labelled(trained: Trained, num_images: int, labels: Tensor | None) -> Tensor:
    """What `trained.draw` makes of the labels, at the guidance that its recipe chose."""
    if labels is None:
        return trained.draw(num_images)
    told = {"condition": {"class_labels": labels}, "guidance": trained.sampler.guidance}
    return trained.draw(num_images, **told)


def _measure(trained: Trained, data: Data, seen: ImageData, num_images: int) -> dict:
    """Of a network with classes also `agreement`, how often a classifier sees the class."""
    real, floor = build.real_pictures(data, seen.images)
    floor = floor[torch.randperm(len(floor), generator=torch.Generator().manual_seed(0))]
    num_images = min(num_images, len(floor))
    if num_images < 2 or len(real) < 2:
        return {}
    labels = _every_class(trained, num_images)
    samples = _draw_labelled(trained, num_images, labels)
    table = compare({"samples": samples}, real, floor)
    own, best = (dict(zip(("frechet", "kernel"), row, strict=False)) for row in table.to_numpy())
    found = own | {f"{name}_floor": value for name, value in best.items()}
    found["copies"] = find_copies(samples, seen.images[:COMPARED], flip=data.flip).rate
    if labels is not None and data.source in SHIPPED:
        found["agreement"] = agreement(samples, labels)
    return {"num_samples": num_images, **{name: round(v, 4) for name, v in found.items()}}
