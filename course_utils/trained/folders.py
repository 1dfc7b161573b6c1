"""The folders of trained models: written, and read without running any of their code."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from course_utils.checks import check_choice
from course_utils.models import UNet
from course_utils.runtime import quiet_diffusers, quiet_loading
from course_utils.sampling import Sampler
from course_utils.schedule import NoiseSchedule
from course_utils.trained.drawing import Trained

NOTE, WEIGHTS, PIPELINE = "model.json", "model.safetensors", "model_index.json"
PARTS = ("vae", "text_encoder")  # of a pipeline, each left by a run of its own
RECIPE = "recipe.json"  # of a run
SCHEDULES = {
    "linear": "linear",
    "cosine": "squaredcos_cap_v2",
    "straight": None,
}  # diffusers' words


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
    """What `save_trained` or the command `train` left, or a pipeline of diffusers: with a
    `UNet2DModel`, or a `StableDiffusionPipeline`.

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
            if any((folder / part).is_dir() for part in PARTS):
                advice = "it is a part of one, to be named in start.parts of the recipe emoji-cpu"
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
    pipeline = _open_pipeline(folder)
    config, scheduler = pipeline.unet.config, pipeline.scheduler
    shape = (config.in_channels, config.sample_size, config.sample_size)
    schedule, target = NoiseSchedule(scheduler.alphas_cumprod), scheduler.config.prediction_type
    sampler, classes = Sampler(**note.get("sampler", {})), tuple(note.get("classes", ()))
    trained = Trained(pipeline.unet, schedule, target, shape, sampler, classes)
    if not hasattr(pipeline, "text_encoder"):
        return trained
    from course_utils.text_to_image import encode_texts, pictures_of

    read = partial(encode_texts, pipeline.text_encoder, pipeline.tokenizer)
    return trained._replace(encode=read, decode=partial(pictures_of, pipeline.vae))


def _open_pipeline(folder: Path):
    """Of parts from two libraries only: diffusers imports whatever module a folder names."""
    import diffusers

    index = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    parts = [part for part in index.values() if isinstance(part, list)]
    if foreign := {str(part[0]) for part in parts} - {"diffusers", "transformers", "None"}:
        raise ValueError(f"{PIPELINE} names {', '.join(foreign)}, not diffusers or transformers")
    kind = index["_class_name"]
    check_choice("_class_name", kind, ("DDPMPipeline", "StableDiffusionPipeline"))
    with quiet_diffusers() if kind == "DDPMPipeline" else quiet_loading():
        return getattr(diffusers, kind).from_pretrained(folder, use_safetensors=True)


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
