"""What stands in a training recipe: everything a training depends on but the seed.

A recipe is read into the dataclasses below, which are also what the command line offers; the
comment behind each field is its meaning.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from course_utils.data import SOURCES
from course_utils.recipes import fitting
from course_utils.sampling import Sampler

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Curve = Literal["linear", "cosine", "straight"]
Target = Literal["epsilon", "sample", "v_prediction"]
KINDS = ("UNet", "UNet2DModel", "UNet2DConditionModel", "AutoencoderKL", "CLIPTextModel")


@dataclass(frozen=True)
class Data:
    """Which pictures."""

    __pydantic_config__ = STRICT
    source: Literal[(*SOURCES, "folder", "hub")]  # where the pictures come from
    size: Count = 32  # pixels of a side; digits have 28
    num_images: Count | None = None  # at most so many pictures; None: all, or 1,000 butterflies
    origin: Literal["offline", "hub", "auto"] = "offline"  # of butterflies and digits
    path: str = ""  # the folder with your pictures, or the dataset's name on the Hub
    split: str = "train"  # which part of a Hub dataset
    column: str = "image"  # the column of a Hub dataset that holds the pictures
    label_column: str = "label"  # the column of a Hub dataset that holds the classes
    flip: bool = False  # mirror half of the pictures, left to right
    streaming: bool = False  # read folder or Hub dataset while training, never all at once
    licence: str = ""  # under which licence the pictures may be used, for the model card


@dataclass(frozen=True)
class Model:
    """Which network."""

    __pydantic_config__ = STRICT
    kind: Literal[KINDS]  # the course's UNet, or one of diffusers or transformers
    channels: tuple[Count, ...]  # at each level, the finest first; CLIPTextModel: its one width
    attention: tuple[bool, ...] = ()  # at each level; (): UNet2DModel nowhere, UNet the coarsest,
    # UNet2DConditionModel the finest, where it reads the words
    num_blocks: Count = 1  # residual blocks at each level; CLIPTextModel: layers
    patch_size: Count = 2  # UNet: squares of so many pixels become channels
    num_classes: Count | None = None  # told one of so many classes; None: told nothing
    latent_channels: Count = 8  # AutoencoderKL: channels of the latents
    num_tokens: Annotated[int, Field(ge=514)] = 2048  # CLIPTextModel: so many words and pieces


@dataclass(frozen=True)
class Start:
    """Which trained model to go on from, in place of random weights."""

    __pydantic_config__ = STRICT
    folder: str = ""  # of a run or pipeline, or the name of weights that ship; "": random weights
    lora_rank: Count | None = None  # train adapters of this rank, and no weights; None: all weights
    parts: tuple[str, ...] = ()  # UNet2DConditionModel: folders or names that ship; autoencoder and
    # text encoder, which stay as they are, are each taken from the first that has one


@dataclass(frozen=True)
class Schedule:
    """Which noise, and what is asked. After a start both are the start's."""

    __pydantic_config__ = STRICT
    name: Curve | None = None  # the curves; straight only with UNet
    prediction_type: Target | None = None  # what the network is asked for; None: v_prediction
    timestep_sampling: Literal["uniform", "logit_normal"] = "logit_normal"  # levels drawn
    timestep_mean: float = 0.0  # logit_normal: above 0 prefers noise
    timestep_std: Positive = 1.0  # logit_normal: small prefers the levels around the mean
    weighting: Literal["none", "min_snr"] = "none"  # how much each level's error counts


@dataclass(frozen=True)
class Training:
    """How long and how."""

    __pydantic_config__ = STRICT
    batch_size: Count  # pictures in a step, over all processes together
    lr: Positive  # the peak of the learning rate, after a short warm-up; it falls to 0
    max_steps: Count | None = None  # the budget in steps, or
    max_seconds: Positive | None = None  # in seconds of training; of both, the first to end
    optimizer: Literal["adamw", "muon"] = "muon"  # what turns gradients into steps
    ema_decay: Decay = 0.999  # of the averaged weights, which are kept
    max_grad_norm: Positive = 1.0  # longer gradients are shortened to this
    drop: Share = 0.0  # the probability that its class or caption is kept from the network
    accumulation: Count = 1  # split each process's share of a batch into so many parts
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where made for it
    compile: bool = False  # torch.compile: minutes to start, then faster on a GPU


@dataclass(frozen=True)
class Recipe:
    """All that a training depends on, but the seed."""

    __pydantic_config__ = STRICT
    title: str  # what it makes, in one line
    data: Data
    model: Model | None  # None: the network of start.folder
    schedule: Schedule
    training: Training
    sampler: Sampler = field(default_factory=Sampler)
    start: Start = field(default_factory=Start)

    def __post_init__(self):
        fitting.check(self)


@dataclass(frozen=True)
class Options:
    """Where a run lives, its seed, and what its result does not depend on."""

    output_dir: Path  # the run's folder: log, samples, checkpoints, and in the end the model
    seed: int = 0  # of all chance
    checkpoint_every: Count = 500  # steps between two checkpoints
    checkpoint_minutes: Positive = 10.0  # minutes between two checkpoints at most
    keep: Count = 3  # how many checkpoints stay
    resume: bool = False  # go on with the run in output_dir, if there is one
