"""What a recipe names, made: pictures, network, noise schedule; what training begins with."""

from functools import partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from course_utils.data import SOURCES, ImageData, load_image_folder
from course_utils.data.rows import Rows
from course_utils.models import UNet, num_classes_of
from course_utils.models.lora import add_lora
from course_utils.recipes.recipe import Data, Model, Recipe, Schedule
from course_utils.runtime import is_headless, trained_folder
from course_utils.schedule import NoiseSchedule
from course_utils.trained import Trained, load_trained, schedule_name
from course_utils.training.loss import TimestepSampling, logit_normal

NUM_TIMESTEPS = 1000


def picture_shape(data: Data) -> tuple[int, int, int]:
    """(C, H, W): digits have one channel and 28 pixels."""
    source = SOURCES.get(data.source)
    size = (source and source.size) or data.size
    return (source.channels if source else 3, size, size)


def load_data(data: Data, labelled: bool = False) -> ImageData:
    """All pictures, with their classes if `labelled`. Raises what the loading functions raise, and
    ValueError without `data.path` where it is needed, or where there is no usable picture."""
    if data.source in SOURCES:
        return SOURCES[data.source].load(data.size, data.num_images, data.origin)
    if data.source == "folder":
        return load_image_folder(path_of(data), data.size).first(data.num_images)
    rows = open_rows(data, labelled)
    found = list(tqdm(rows.usable(), "Reading pictures", disable=is_headless()))
    if rows.skipped:
        print(f"Skipped {rows.skipped} of {rows.skipped + len(found)} rows, not usable pictures")
    if not found:
        raise ValueError(f"data.path {data.path!r} has no usable picture: choose another dataset")
    images, labels = zip(*found, strict=True)
    numbers = torch.tensor(labels) if labelled else None
    classes = rows.classes or tuple(str(n) for n in range(max(labels) + 1)) if labelled else ()
    return ImageData(torch.stack(images), numbers, classes, data.path)


def open_rows(data: Data, labelled: bool) -> Rows:
    """The rows of a dataset on the Hub."""
    label_column = data.label_column if labelled else None
    options = {"column": data.column, "label_column": label_column, "streaming": data.streaming}
    options |= {"split": data.split, "num_images": data.num_images}
    return Rows(path_of(data), data.size, **options)


def real_pictures(data: Data, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What samples are measured against, and the floor: pictures that were held out, and the
    training's; of pictures without held-out ones, two halves."""
    held_out = held_out_pictures(data)
    return (held_out.images, pictures) if held_out else (pictures[::2], pictures[1::2])


def held_out_pictures(data: Data) -> ImageData | None:
    """Pictures of the same kind that are not for training; None where there are no others."""
    source = SOURCES.get(data.source)
    return source.held_out(data.size, data.origin) if source else None


def make_model(model: Model, data: Data) -> nn.Module:
    """The network with random weights. Raises ValueError where the pictures do not fit it."""
    channels, size, _ = picture_shape(data)
    multiple = 2 ** (len(model.channels) - 1) * (model.patch_size if model.kind == "UNet" else 1)
    if size % multiple:
        raise ValueError(f"data.size must be a multiple of {multiple} for this model, got {size}")
    if model.kind == "UNet":
        names = ("channels", "num_blocks", "patch_size", "attention", "num_classes")
        return UNet(channels, **{name: getattr(model, name) for name in names})
    from diffusers import UNet2DModel

    attention = model.attention or (False,) * len(model.channels)
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=model.num_blocks,
        block_out_channels=model.channels,
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)],
        norm_num_groups=8,
        num_class_embeds=model.num_classes and model.num_classes + 1,  # the last: no class
    )


def begin(recipe: Recipe) -> Trained:
    """What training begins with: a network, and how to draw with it.

    The weights are random, or those of `start.folder`, with adapters on them if the recipe names
    their rank. Raises FileNotFoundError where no model is, ValueError where pictures, schedule or
    settings do not fit it.
    """
    if recipe.model is not None:
        return make_trained(recipe, make_model(recipe.model, recipe.data))
    trained = load_trained(trained_folder(recipe.start.folder))
    _check_fit(recipe, trained)
    if recipe.start.lora_rank is not None:
        add_lora(trained.model, recipe.start.lora_rank)
    return trained._replace(sampler=recipe.sampler, classes=())


def outline(recipe: Recipe) -> nn.Module:
    """The network that training begins with, as shapes without numbers."""
    if recipe.model is None:
        return begin(recipe).model.to("meta")
    with torch.device("meta"):
        return make_model(recipe.model, recipe.data)


def _check_fit(recipe: Recipe, trained: Trained) -> None:
    name, (channels, size, _) = recipe.start.folder, trained.shape
    found = picture_shape(recipe.data)
    if trained.decode is not None or len(trained.schedule) != NUM_TIMESTEPS:
        wanted = f"draws pictures, in {NUM_TIMESTEPS:,} timesteps"
        raise ValueError(f"start.folder {name!r} must hold a model that {wanted}")
    if found[0] != channels:
        wanted = f"{channels}-channel pictures, and data.source {recipe.data.source!r} gives"
        raise ValueError(f"start.folder {name!r} draws {wanted} {found[0]} channels: change one")
    if found[1] != size:
        raise ValueError(
            f"data.size must be {size}, the size of what start.folder {name!r} draws, got "
            f"{found[1]}: add --data.size {size}"
        )
    schedule_name(trained.schedule)  # or it could not be saved in the end
    if not num_classes_of(trained.model) and (recipe.training.drop or recipe.sampler.guidance != 1):
        raise ValueError(
            f"training.drop and sampler.guidance need classes, and start.folder {name!r} knows none"
        )


def make_schedule(schedule: Schedule) -> NoiseSchedule:
    """The noise schedule, 1,000 timesteps long."""
    return getattr(NoiseSchedule, schedule.name)(NUM_TIMESTEPS)


def timestep_sampling(schedule: Schedule) -> TimestepSampling:
    """How training draws its timesteps."""
    if schedule.timestep_sampling == "uniform":
        return "uniform"
    return partial(logit_normal, mean=schedule.timestep_mean, std=schedule.timestep_std)


def make_trained(recipe: Recipe, model: nn.Module, classes: tuple[str, ...] = ()) -> Trained:
    """A network that the recipe trained, and how to draw with it."""
    schedule = make_schedule(recipe.schedule)
    target = recipe.schedule.prediction_type or "v_prediction"
    shape = picture_shape(recipe.data)
    return Trained(model, schedule, target, shape, recipe.sampler, classes)


def path_of(data: Data) -> str:
    """The folder or dataset. Raises ValueError where the recipe names none."""
    if data.path:
        return data.path
    wanted = "FOLDER, your pictures" if data.source == "folder" else "OWNER/NAME, the dataset"
    raise ValueError(f"this recipe needs --data.path {wanted}")
