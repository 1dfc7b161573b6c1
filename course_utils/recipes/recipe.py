"""Training recipes: small TOML files that say everything a training depends on but the seed.

A recipe is read into the dataclasses below, which are also what the command line offers; the
comment behind each field is its meaning.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from course_utils.data import SOURCES
from course_utils.sampling import Sampler

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Curve = Literal["linear", "cosine", "straight"]
Target = Literal["epsilon", "sample", "v_prediction"]


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
    kind: Literal["UNet", "UNet2DModel"]  # the course's, or the one of diffusers
    channels: tuple[Count, ...]  # channels at each level, the finest first
    attention: tuple[bool, ...] = ()  # at each level; (): UNet2DModel nowhere, UNet the coarsest
    num_blocks: Count = 1  # residual blocks at each level
    patch_size: Count = 2  # UNet: squares of so many pixels become channels
    num_classes: Count | None = None  # told one of so many classes; None: told nothing


@dataclass(frozen=True)
class Start:
    """Which trained model to go on from, in place of random weights."""

    __pydantic_config__ = STRICT
    folder: str = ""  # of a run or pipeline, or the name of weights that ship; "": random weights
    lora_rank: Count | None = None  # train adapters of this rank, and no weights; None: all weights


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
    drop: Share = 0.0  # the probability that a picture's class is kept from the network
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
        if self.training.max_steps is None and self.training.max_seconds is None:
            raise ValueError("a recipe needs training.max_steps or training.max_seconds, or both")
        if self.data.streaming and self.data.source not in ("folder", "hub"):
            raise ValueError(f"data.streaming is for folder and hub, not {self.data.source!r}")
        if self.start.folder:
            self._check_start()
        else:
            self._check_model()

    def _check_start(self):
        if self.model is not None:
            raise ValueError(
                f"start.folder {self.start.folder!r} brings its own network, and there is a "
                "[model] besides: take one of the two out, or use the recipe finetune-cpu"
            )
        if self.schedule.name or self.schedule.prediction_type:
            raise ValueError(
                "schedule.name and schedule.prediction_type are those of start.folder: "
                "take them out"
            )

    def _check_model(self):
        if self.model is None:
            raise ValueError(
                "a recipe needs a [model], to begin with random weights, or start.folder, a "
                "trained one to go on from (on the command line --from FOLDER)"
            )
        if self.start.lora_rank is not None:
            raise ValueError("start.lora_rank needs start.folder: adapters go on a trained model")
        if self.schedule.name is None:
            raise ValueError("schedule.name must be 'linear', 'cosine' or 'straight', got None")
        if self.model.kind == "UNet2DModel" and self.schedule.name == "straight":
            raise ValueError(
                "schedule.name 'straight' has no DDPMPipeline: use 'cosine', or model.kind 'UNet'"
            )
        levels = len(self.model.channels)
        if self.model.attention and len(self.model.attention) != levels:
            raise ValueError(
                f"model.attention must have one value for each of the {levels} levels of "
                f"model.channels, got {list(self.model.attention)}"
            )
        if self.model.num_classes is None and (self.training.drop or self.sampler.guidance != 1):
            raise ValueError("training.drop and sampler.guidance need model.num_classes")


@dataclass(frozen=True)
class Options:
    """Where a run lives, its seed, and what its result does not depend on."""

    output_dir: Path  # the run's folder: log, samples, checkpoints, and in the end the model
    seed: int = 0  # of all chance
    checkpoint_every: Count = 500  # steps between two checkpoints
    checkpoint_minutes: Positive = 10.0  # minutes between two checkpoints at most
    keep: Count = 3  # how many checkpoints stay
    resume: bool = False  # go on with the run in output_dir, if there is one


def recipe_names() -> list[str]:
    """The recipes that ship with the course."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of that name, or the one in that file: .toml, or a run's recipe.json.

    Raises FileNotFoundError for an unknown name, ValueError for anything wrong in the file, with
    its place.
    """
    path = Path(name) if Path(name).suffix in (".toml", ".json") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no recipe {str(name)!r}: choose one of {', '.join(recipe_names())}, "
            "or give the path of a .toml file"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return parse_recipe(json.loads(text)["recipe"])
        return parse_recipe(tomllib.loads(text))
    except ValueError as error:  # also of TOML, JSON and UTF-8
        raise ValueError(f"recipe {path.name}: {error}") from error


def parse_recipe(table: dict) -> Recipe:
    """The recipe that the nested tables describe.

    Raises ValueError that names each wrong field, its value and what is allowed.
    """
    try:
        return TypeAdapter(Recipe).validate_json(json.dumps({"model": None, **table}))
    except ValidationError as error:
        problems = (_problem(details) for details in error.errors(include_url=False))
        raise ValueError("; ".join(problems)) from None


def differences(ours: Recipe, theirs: Recipe) -> dict[str, tuple]:
    """The fields in which two recipes differ, as "section.field": (ours, theirs)."""
    ours, theirs = (_flat(asdict(recipe)) for recipe in (ours, theirs))
    pairs = {name: (ours.get(name), theirs.get(name)) for name in {**ours, **theirs}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(table: dict) -> dict:
    flat = {}
    for name, value in table.items():
        inner = value if isinstance(value, dict) else None
        flat |= {f"{name}.{k}": v for k, v in inner.items()} if inner else {name: value}
    return flat


def _problem(details: dict) -> str:
    """One line of pydantic's: where, what is wrong, what was given."""
    message = details["msg"].removeprefix("Value error, ")
    if not details["loc"]:
        return message
    where = ".".join(str(part) for part in details["loc"])
    given = "" if details["type"] in ("missing", "value_error") else f", got {details['input']!r}"
    return f"{where}: {message}{given}"
