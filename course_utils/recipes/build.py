"""What a recipe names, made: pictures, network, noise schedule; a trained model, loaded back."""

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from course_utils.data import load_butterflies, load_digits, load_image_folder
from course_utils.data.butterflies import draw_butterflies
from course_utils.data.decoding import to_square
from course_utils.models import UNet
from course_utils.recipes import Data, Model, Recipe, Sampler, Schedule, load_recipe
from course_utils.runtime import is_headless
from course_utils.sampling import sample
from course_utils.schedule import NoiseSchedule
from course_utils.training.loss import TimestepSampling, logit_normal

NUM_TIMESTEPS = 1000
RECIPE = "recipe.json"
WEIGHTS = "model.safetensors"
BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


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
        shape = {"num_blocks": model.num_blocks, "patch_size": model.patch_size}
        return UNet(channels, channels=model.channels, **shape)
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
    )


def make_schedule(schedule: Schedule) -> NoiseSchedule:
    """The noise schedule, 1,000 timesteps long."""
    return getattr(NoiseSchedule, schedule.name)(NUM_TIMESTEPS)


def timestep_sampling(schedule: Schedule) -> TimestepSampling:
    """How training draws its timesteps."""
    if schedule.timestep_sampling == "uniform":
        return "uniform"
    return partial(logit_normal, mean=schedule.timestep_mean, std=schedule.timestep_std)


class Trained(NamedTuple):
    """A trained network and what `sample` needs to know of it."""

    model: nn.Module
    schedule: NoiseSchedule
    prediction_type: str
    shape: tuple[int, int, int]
    sampler: Sampler

    @classmethod
    def by(cls, recipe: Recipe, model: nn.Module) -> "Trained":
        """A network that the recipe trained."""
        schedule = make_schedule(recipe.schedule)
        target, shape = recipe.schedule.prediction_type, picture_shape(recipe.data)
        return cls(model, schedule, target, shape, recipe.sampler)

    def draw(self, num_images: int, *, seed: int = 0, batch_size: int = 64) -> Tensor:
        """Pictures (num_images, C, H, W) in model range, on the CPU; the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(num_images, *self.shape, generator=generator)
        settings = {"prediction_type": self.prediction_type, "num_steps": self.sampler.num_steps}
        settings |= {"eta": self.sampler.eta, "order": self.sampler.order, "generator": generator}
        device = next(self.model.parameters()).device
        drawn = []
        parts = noise.to(device).split(batch_size)
        for x_T in tqdm(parts, "Drawing", disable=is_headless() or len(parts) == 1, leave=False):
            *_, last = sample(self.model, self.schedule, x_T, **settings)
            drawn.append(last.x_t.clamp(-1, 1).cpu())
        return torch.cat(drawn)


def save_trained(model: nn.Module, recipe: Recipe, folder: Path) -> None:
    """A `DDPMPipeline` around a `UNet2DModel`; of a `UNet` the weights, beside `recipe.json`."""
    if recipe.model.kind == "UNet":
        from safetensors.torch import save_file

        return save_file(model.state_dict(), folder / WEIGHTS)
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler(
        NUM_TIMESTEPS,
        beta_schedule=BETAS[recipe.schedule.name],
        prediction_type=recipe.schedule.prediction_type,
        timestep_spacing="trailing",
    )
    return DDPMPipeline(unet=model, scheduler=scheduler).save_pretrained(folder)


def load_trained(folder: Path | str) -> Trained:
    """What `train` left in `folder`, or any pipeline of diffusers with a `UNet2DModel`.

    Raises FileNotFoundError where the folder holds neither.
    """
    folder = Path(folder)
    recipe = load_recipe(folder / RECIPE) if (folder / RECIPE).is_file() else None
    if (folder / "model_index.json").is_file():
        from diffusers import DDPMPipeline

        pipeline = DDPMPipeline.from_pretrained(folder, use_safetensors=True)
        config, scheduler = pipeline.unet.config, pipeline.scheduler
        shape = (config.in_channels, config.sample_size, config.sample_size)
        schedule, target = NoiseSchedule(scheduler.alphas_cumprod), scheduler.config.prediction_type
        sampler = recipe.sampler if recipe else Sampler()
        return Trained(pipeline.unet, schedule, target, shape, sampler)
    if recipe is None or not (folder / WEIGHTS).is_file():
        advice = "finish its training with --resume" if recipe else "train one"
        raise FileNotFoundError(f"{folder} holds no trained model: {advice}")
    from safetensors.torch import load_file

    model = make_model(recipe.model, recipe.data)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return Trained.by(recipe, model)


def _path(data: Data) -> str:
    if data.path:
        return data.path
    wanted = "FOLDER, your pictures" if data.source == "folder" else "OWNER/NAME, the dataset"
    raise ValueError(f"this recipe needs --data.path {wanted}")
