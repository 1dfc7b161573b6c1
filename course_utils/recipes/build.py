"""What a recipe names, made: pictures, network, noise schedule; the model that it trained."""

from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from course_utils.data import load_butterflies, load_digits, load_image_folder
from course_utils.data.butterflies import draw_butterflies
from course_utils.data.decoding import to_square
from course_utils.models import UNet
from course_utils.recipes.recipe import Data, Model, Recipe, Schedule
from course_utils.runtime import is_headless
from course_utils.schedule import NoiseSchedule
from course_utils.trained import Trained
from course_utils.training.loss import TimestepSampling, logit_normal

NUM_TIMESTEPS = 1000


def picture_shape(data: Data) -> tuple[int, int, int]:
    """(C, H, W): digits have one channel and 28 pixels."""
    return (1, 28, 28) if data.source == "digits" else (3, data.size, data.size)


def load_pictures(data: Data) -> Tensor:
    """All pictures, uint8 (N, C, H, W). Raises what the loading functions raise, and ValueError
    without `data.path` where it is needed."""
    if data.source == "butterflies":
        return load_butterflies(data.size, data.num_images or 1000, data.origin).images
    if data.source == "digits":
        return load_digits(source=data.origin).images[: data.num_images]
    if data.source == "folder":
        return load_image_folder(_path(data), data.size).images[: data.num_images]
    rows = picture_rows(data)
    rows = rows.select(range(min(len(rows), data.num_images or len(rows))))
    bar = tqdm(rows, "Reading pictures", disable=is_headless())
    return torch.stack([to_pixels(row, data) for row in bar])


def picture_rows(data: Data):
    """The rows of a folder or a Hub dataset as 🤗 Datasets reads them, with encoded pictures."""
    import datasets

    if data.source == "folder":
        rows = datasets.load_dataset(
            "imagefolder", data_dir=_path(data), split="train", streaming=data.streaming
        )
    else:
        rows = datasets.load_dataset(_path(data), split=data.split, streaming=data.streaming)
    if rows.column_names and data.column not in rows.column_names:
        raise ValueError(f"data.column must be one of {rows.column_names}, got {data.column!r}")
    return rows.cast_column(data.column, datasets.Image(decode=False))


def to_pixels(row: dict, data: Data) -> Tensor:
    """A row's picture, uint8 (3, H, W)."""
    cell = row[data.column]
    encoded = cell["bytes"] or Path(cell["path"]).read_bytes()
    return to_square(Image.open(BytesIO(encoded)), data.size)


def real_pictures(data: Data, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What samples are measured against, and the floor: pictures that were held out, and the
    training's; of pictures without held-out ones, two halves."""
    if data.source == "butterflies" and data.origin == "offline":
        return draw_butterflies(1200, data.size, seed=6)[0], pictures
    if data.source == "digits":
        return load_digits("test", data.origin).images, pictures
    return pictures[::2], pictures[1::2]


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
    schedule, target = make_schedule(recipe.schedule), recipe.schedule.prediction_type
    shape = picture_shape(recipe.data)
    return Trained(model, schedule, target, shape, recipe.sampler, classes)


def _path(data: Data) -> str:
    if data.path:
        return data.path
    wanted = "FOLDER, your pictures" if data.source == "folder" else "OWNER/NAME, the dataset"
    raise ValueError(f"this recipe needs --data.path {wanted}")
