"""A trained model and what sampling needs to know of it: `Trained`, saved and loaded."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils.checks import check_choice, check_int, check_positive
from course_utils.models import Condition, Guidance, Scale, UNet, num_classes_of
from course_utils.runtime import is_headless, quiet_diffusers
from course_utils.sampling import Sampler, sample
from course_utils.schedule import NoiseSchedule

NOTE, WEIGHTS, PIPELINE = "model.json", "model.safetensors", "model_index.json"
RECIPE = "recipe.json"  # of a run
SCHEDULES = {
    "linear": "linear",
    "cosine": "squaredcos_cap_v2",
    "straight": None,
}  # diffusers' words


class Trained(NamedTuple):
    """A network, and how pictures are drawn with it.

    `shape` (C, H, W) is that of what the network works on; `decode` turns latents into pictures in
    model range, None where the network works on pictures. `classes` names the class labels.
    """

    model: nn.Module
    schedule: NoiseSchedule
    prediction_type: str
    shape: tuple[int, int, int]
    sampler: Sampler = Sampler()
    classes: tuple[str, ...] = ()
    decode: Callable[[Tensor], Tensor] | None = None

    def draw(
        self,
        num_images: int,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        guidance: Scale = 1.0,
        num_steps: int | None = None,
        batch_size: int = 64,
    ) -> Float[Tensor, "N C H W"]:
        """Pictures in model range, on the CPU; the same for the same seed.

        `condition` has a row for each picture, or one for all; a network with classes that is given
        none gets a class by chance for each picture. `guidance` is how much it counts, 1 as it was
        learned, or by the timestep, see `Guidance`; `num_steps` None takes the sampler's.
        Raises ValueError for other numbers of rows, or guidance without a condition.
        """
        check_positive(num_images=num_images, batch_size=batch_size)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(num_images, *self.shape, generator=generator)
        if condition is None and (num_classes := num_classes_of(self.model)):
            labels = torch.randint(num_classes, (num_images,), generator=generator)
            condition = {"class_labels": labels}
        condition = self._rows(condition or {}, num_images)
        if not condition and guidance != 1:
            raise ValueError(
                f"guidance {guidance} strengthens a condition, and there is none: leave it at 1"
            )
        options = {
            "num_steps": self.sampler.num_steps if num_steps is None else num_steps,
            "prediction_type": self.prediction_type,
            "eta": self.sampler.eta,
            "order": self.sampler.order,
            "generator": generator,
        }
        device = next(self.model.parameters()).device
        places = torch.arange(num_images).split(batch_size)
        drawn = []
        quiet = is_headless() or len(places) == 1
        for chosen in tqdm(places, "Drawing", disable=quiet, leave=False):
            told = {name: values[chosen] for name, values in condition.items()}
            model = Guidance(self.model, told, scale=guidance) if told else self.model
            *_, last = sample(model, self.schedule, noise[chosen].to(device), **options)
            drawn.append(self._decoded(last.x_t).clamp(-1, 1).cpu())
        return torch.cat(drawn)

    def label(self, name_or_number: str | int) -> int:
        """The number of a class, by its name or as it is. Raises ValueError for another."""
        word = str(name_or_number)
        if word in self.classes:
            return self.classes.index(word)
        if not self.classes:
            raise ValueError(f"this model knows no classes: draw without the label {word!r}")
        if not word.isdecimal() or int(word) >= len(self.classes):
            raise ValueError(
                f"label must be one of {', '.join(self.classes)}, or a number below "
                f"{len(self.classes)}; got {word!r}"
            )
        return int(word)

    def _rows(self, condition: Condition, num_images: int) -> Condition:
        """A row for each picture."""
        num_classes = num_classes_of(self.model)
        for name, values in condition.items():
            if len(values) not in (1, num_images):
                raise ValueError(
                    f"condition must have {num_images} rows, one for each picture, or one for "
                    f"all; got {len(values)} of {name}"
                )
            if name == "class_labels" and num_classes:
                for label in values.tolist():
                    check_int(name, label, 0, num_classes)
        return {k: v.expand(num_images, *v.shape[1:]) for k, v in condition.items()}

    def _decoded(self, x: Tensor) -> Tensor:
        if self.decode is None:
            return x
        with torch.no_grad():
            return self.decode(x)


def save_trained(trained: Trained, folder: Path | str) -> None:
    """Write `model.json` and the weights: of a `UNet2DModel` as a pipeline of diffusers.

    Raises ValueError for a schedule other than linear, cosine and straight, and for a network
    that is neither of the two.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    schedule, T = schedule_name(trained.schedule), len(trained.schedule)
    note = {
        "schedule": schedule,
        "num_train_timesteps": T,
        "prediction_type": trained.prediction_type,
        "shape": trained.shape,
        "sampler": asdict(trained.sampler),
        "classes": trained.classes,
    }
    if isinstance(trained.model, UNet):
        from safetensors.torch import save_file

        note["network"] = trained.model.settings
        weights = {name: t.cpu().contiguous() for name, t in trained.model.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
    else:
        _save_pipeline(trained, SCHEDULES[schedule], folder)
    (folder / NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")


def load_trained(folder: Path | str) -> Trained:
    """What `save_trained` or the command `train` left, or a pipeline with a `UNet2DModel`.

    No code of the folder is run. Raises FileNotFoundError where it holds neither, ValueError where
    its note is damaged.
    """
    folder = Path(folder)
    try:
        note = _read_note(folder)
        if (folder / PIPELINE).is_file():
            return _load_pipeline(folder, note)
        if not (folder / WEIGHTS).is_file():
            advice = "finish its training with --resume" if note else "train one"
            raise FileNotFoundError(f"{folder} holds no trained model: {advice}")
        return _load_network(folder, note)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder} holds a damaged {NOTE} ({error!r}): save it anew") from error


def _load_network(folder: Path, note: dict) -> Trained:
    from safetensors.torch import load_file

    check_choice("schedule", note["schedule"], SCHEDULES)
    schedule = getattr(NoiseSchedule, note["schedule"])(note["num_train_timesteps"])
    model = UNet(**note["network"])
    model.load_state_dict(load_file(folder / WEIGHTS))
    shape, target = tuple(note["shape"]), note["prediction_type"]
    sampler, classes = Sampler(**note["sampler"]), tuple(note.get("classes", ()))
    return Trained(model.eval(), schedule, target, shape, sampler, classes)


def _load_pipeline(folder: Path, note: dict) -> Trained:
    from diffusers import DDPMPipeline

    with quiet_diffusers():
        pipeline = DDPMPipeline.from_pretrained(folder, use_safetensors=True)
    config, scheduler = pipeline.unet.config, pipeline.scheduler
    shape = (config.in_channels, config.sample_size, config.sample_size)
    schedule, target = NoiseSchedule(scheduler.alphas_cumprod), scheduler.config.prediction_type
    sampler, classes = Sampler(**note.get("sampler", {})), tuple(note.get("classes", ()))
    return Trained(pipeline.unet, schedule, target, shape, sampler, classes)


def _save_pipeline(trained: Trained, beta_schedule: str | None, folder: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    if not isinstance(trained.model, UNet2DModel) or beta_schedule is None:
        raise ValueError(
            "only a UNet, or a UNet2DModel on the linear or cosine schedule, can be saved; got "
            f"{type(trained.model).__name__}: save others by their own save_pretrained"
        )
    scheduler = DDPMScheduler(
        len(trained.schedule),
        beta_schedule=beta_schedule,
        prediction_type=trained.prediction_type,
        timestep_spacing="trailing",
    )
    DDPMPipeline(unet=trained.model, scheduler=scheduler).save_pretrained(folder)


def schedule_name(schedule: NoiseSchedule) -> str:
    """The schedule's name, known by its curve."""
    for name in SCHEDULES:
        known = getattr(NoiseSchedule, name)(len(schedule))
        if torch.equal(known.alphas, schedule.alphas.cpu()):
            return name
    raise ValueError(f"only the schedules {', '.join(SCHEDULES)} can be saved, with their defaults")


def _read_note(folder: Path) -> dict:
    """What `model.json` says; of a run from before there was one, what its recipe says."""
    if (folder / NOTE).is_file():
        return json.loads((folder / NOTE).read_text(encoding="utf-8"))
    if not (folder / RECIPE).is_file():
        return {}
    recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))["recipe"]
    data, model = recipe["data"], recipe["model"]
    shape = (1, 28, 28) if data["source"] == "digits" else (3, data["size"], data["size"])
    network = {name: model[name] for name in ("channels", "num_blocks", "patch_size")}
    return {
        "network": {"in_channels": shape[0], **network},
        "schedule": recipe["schedule"]["name"],
        "num_train_timesteps": 1000,
        "prediction_type": recipe["schedule"]["prediction_type"],
        "shape": shape,
        "sampler": recipe["sampler"],
    }
