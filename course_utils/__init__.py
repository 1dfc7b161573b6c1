"""Helpers of the diffusion course: three nouns, data, model, schedule; two verbs, train, sample."""

from typing import TYPE_CHECKING

from course_utils import _moved  # noqa: F401 - the names of before
from course_utils.data import (
    EmojiData,
    ImageData,
    load_butterflies,
    load_digits,
    load_emoji,
    load_image_folder,
    make_loader,
)
from course_utils.data.butterflies import SPECIES, draw_butterflies, draw_silhouettes
from course_utils.data.smileys import draw_smileys
from course_utils.evaluation.benchmarks import (
    composing,
    design_choices,
    finetuning,
    fresh_noise,
    guidance,
    ladder,
    sampler_distances,
    silhouettes,
    steering,
)
from course_utils.evaluation.butterfly_laws import asymmetry, off_palette
from course_utils.evaluation.copies import find_copies
from course_utils.evaluation.distances import (
    agreement,
    classify,
    compare,
    frechet_distance,
    kernel_distance,
)
from course_utils.evaluation.neighbours import diversity, precision_recall
from course_utils.evaluation.silhouettes import find_silhouettes, overlap
from course_utils.images import (
    from_pil,
    make_grid,
    to_display_range,
    to_model_range,
    to_pil,
    to_uint8,
)
from course_utils.language import set_language
from course_utils.models import (
    BasicUNet,
    Controlled,
    Guidance,
    Kept,
    Steered,
    UNet,
    call_model,
    count_parameters,
)
from course_utils.models.lora import (
    add_lora,
    load_lora,
    lora_strength,
    merge_lora,
    save_lora,
)
from course_utils.runtime import (
    PRETRAINED,
    fast_arithmetic,
    is_headless,
    output_dir,
    pick_device,
    pick_profile,
    seed_everything,
)
from course_utils.sampling import Sampler, SampleStep, sample, slerp
from course_utils.schedule import NoiseSchedule, corrupt, expand_like
from course_utils.sharing.card import write_model_card
from course_utils.sharing.upload import share
from course_utils.trained import Trained, load_trained, save_trained
from course_utils.training import EMA, TrainStep, cycle, logit_normal, train
from course_utils.training.loss import diffusion_loss, draw_timesteps, loss_per_level, loss_weights
from course_utils.training.optimizers import make_optimizer
from course_utils.training.pace import steps_in, steps_within

if TYPE_CHECKING:  # what `__getattr__` does, for editors
    from course_utils.plotting import *  # noqa: F403

_PLOTS = (
    "animate_sampling",
    "compare_bands",
    "compare_curves",
    "compare_schedules",
    "plot_choices",
    "plot_loss",
    "plot_schedule",
    "plot_unet",
    "show_corruption",
    "show_film",
    "show_images",
    "show_latents",
    "show_poster",
    "show_rows",
    "show_words",
)

__all__ = [
    *_PLOTS,
    "save_trained",
    "sampler_distances",
    "logit_normal",
    "steps_in",
    "steps_within",
    "ladder",
    "fresh_noise",
    "guidance",
    "diversity",
    "load_trained",
    "design_choices",
    "call_model",
    "agreement",
    "Trained",
    "Sampler",
    "Guidance",
    "Controlled",
    "EMA",
    "PRETRAINED",
    "SPECIES",
    "BasicUNet",
    "EmojiData",
    "ImageData",
    "Kept",
    "NoiseSchedule",
    "SampleStep",
    "Steered",
    "TrainStep",
    "UNet",
    "add_lora",
    "asymmetry",
    "classify",
    "compare",
    "composing",
    "corrupt",
    "count_parameters",
    "cycle",
    "diffusion_loss",
    "draw_butterflies",
    "draw_smileys",
    "draw_silhouettes",
    "draw_timesteps",
    "expand_like",
    "fast_arithmetic",
    "find_copies",
    "find_silhouettes",
    "finetuning",
    "frechet_distance",
    "from_pil",
    "is_headless",
    "kernel_distance",
    "load_butterflies",
    "load_digits",
    "load_emoji",
    "load_image_folder",
    "load_lora",
    "lora_strength",
    "loss_per_level",
    "loss_weights",
    "make_grid",
    "make_loader",
    "make_optimizer",
    "merge_lora",
    "off_palette",
    "output_dir",
    "overlap",
    "pick_device",
    "pick_profile",
    "precision_recall",
    "sample",
    "save_lora",
    "seed_everything",
    "set_language",
    "silhouettes",
    "steering",
    "share",
    "slerp",
    "to_display_range",
    "to_model_range",
    "to_pil",
    "to_uint8",
    "train",
    "write_model_card",
]


def __getattr__(name: str):
    """The plots: matplotlib is imported when the first of them is asked for."""
    if name not in _PLOTS:
        raise AttributeError(f"module 'course_utils' has no attribute {name!r}")
    from course_utils import plotting

    return getattr(plotting, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLOTS})
