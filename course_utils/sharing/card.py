"""The page that tells what a model is: for the pipeline of a notebook, and for a run."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from course_utils.data import ImageData
from course_utils.models.lora import ADAPTER
from course_utils.sharing.kinds import KINDS, Kind, quality, told
from course_utils.sharing.upload import check_saved_model

DIFFUSERS = """\
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("{name}")
images = pipeline(batch_size=16, num_inference_steps=50).images"""
DIFFUSERS_BY_CLASS = """\
import torch
from diffusers import DDPMPipeline

classes = {classes}
labels = torch.tensor([classes.index({classes[0]!r})] * 16)  # what to draw

pipeline = DDPMPipeline.from_pretrained("{name}")
unet, scheduler = pipeline.unet, pipeline.scheduler
x = torch.randn(16, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
scheduler.set_timesteps(50)
for t in scheduler.timesteps:
    with torch.no_grad():
        model_output = unet(x, t, class_labels=labels).sample
    x = scheduler.step(model_output, t, x).prev_sample  # at last (16, C, H, W) in [-1, 1]"""
COURSE = """\
from course_utils import load_trained  # {course}
from huggingface_hub import snapshot_download

pictures = load_trained(snapshot_download("{name}")).draw(16)  # (16, C, H, W) in [-1, 1]"""
COURSE_BY_CLASS = """\
import torch
from course_utils import load_trained  # {course}
from huggingface_hub import snapshot_download

classes = {classes}
labels = torch.tensor([classes.index({classes[0]!r})] * 16)  # what to draw

trained = load_trained(snapshot_download("{name}"))
pictures = trained.draw(16, condition={{"class_labels": labels}}, guidance={guidance:g})"""
LORA = """
## As a LoRA

This folder holds the whole model. Beside it, `{file}` is what was learned alone, \
{trained:,} numbers, for whoever has the model it began with:

```python
{code}
```
"""
LORA_DIFFUSERS = """\
from diffusers import DDPMPipeline, UNet2DModel
from diffusers.loaders.peft import PeftAdapterMixin


class Adaptable(PeftAdapterMixin, UNet2DModel):
    pass


base = "{start}"  # the folder of the model that this began with
unet = Adaptable.from_pretrained(base, subfolder="unet")
unet.load_lora_adapter("{name}", prefix="unet", weight_name="{file}")
pipeline = DDPMPipeline.from_pretrained(base, unet=unet)  # draws as above
unet.disable_lora()  # and as it did before; unet.enable_lora() brings it back"""
LORA_COURSE = """\
from course_utils import load_lora, load_trained, lora_strength  # {course}
from huggingface_hub import snapshot_download

trained = load_trained("{start}")  # the folder of the model that this began with
load_lora(trained.model, snapshot_download("{name}"))
lora_strength(trained.model, 0.5)  # 1 is what was learned, 0 the model of before"""
CODE = {  # by library, and whether it knows classes
    ("diffusers", False): DIFFUSERS,
    ("diffusers", True): DIFFUSERS_BY_CLASS,
    ("course_utils", False): COURSE,
    ("course_utils", True): COURSE_BY_CLASS,
}
DISTANCES = """
## How good it is

| {n:,} pictures | Fréchet distance | Kernel distance |
|---|---|---|
| samples of this model | {frechet:.2f} | {kernel:.2f} |
| real pictures, the floor | {frechet_floor:.2f} | {kernel_floor:.2f} |

On what a small classifier of the course notices; a distance can only be compared with others of
as many pictures. {copies:.0%} of the samples are copies of training pictures: nearer to one than
half the distance between two real pictures.
"""


def write_model_card(
    folder: Path | str,
    *,
    title: str,
    num_steps: int,
    data: ImageData,
    classes: Sequence[str] = (),
) -> Path:
    """Write `folder/README.md`: what the pipeline is and how to load it.

    `classes` are the names of the labels that it listens to. Raises FileNotFoundError where the
    folder holds no saved pipeline.
    """
    height, width = data.images.shape[-2:]
    facts = {
        "Pictures": f"{len(data.images):,} of {height} x {width} pixels, {data.source}",
        "Training": f"{num_steps:,} steps",
    }
    return _write(Path(folder), title, facts, classes)


def write_run_card(folder: Path, result: Mapping, licence: str) -> Path:
    """Write `folder/README.md` from a run's results: recipe, pictures, cost, samples, distances.

    `result["classes"]`, if it is there, are the names of the labels that the model listens to;
    `result["kind"]` says whether it is one of `KINDS`, which have words of their own.
    """
    facts = {
        "Pictures": f"{result['num_pictures']:,}, {result['data']}",
        "Their licence": licence or "not stated: ask whoever trained this before you use it",
        "Recipe": f"{result['recipe']}; every setting is in `recipe.json`",
        **_origin(result),
        "Training": f"{result['steps']:,} steps in {result['seconds']:,.0f} s, "
        f"{result['flops'] / 1e15:.3g} PFLOP",
        "Hardware": f"{result['hardware']}; processes: {result['processes']}",
        "Seed": f"{result['seed']}",
    }
    n, classes = result.get("num_samples"), result.get("classes") or ()
    guidance, kind = result.get("guidance", 1.0), KINDS.get(result.get("kind"))
    if kind:
        facts |= told(result) if kind.task == "text-to-image" else {}
        return _write(folder, result["recipe"], facts, (), quality(kind, result), guidance, kind)
    facts |= _condition(result) if classes else {}
    more = (_lora(folder, result), DISTANCES.format(n=n, **result) if n else "")
    return _write(folder, result["recipe"], facts, classes, "".join(more), guidance)


def _origin(result: Mapping) -> dict[str, str]:
    """How many numbers were trained, and from where."""
    total, trained = result["parameters"], result.get("trained_parameters", result["parameters"])
    parts = {"Started from": f"`{result['start']}`, trained before"} if result.get("start") else {}
    few = ""
    if rank := result.get("lora_rank"):
        few = f"; trained was a LoRA of rank {rank}, {trained:,} numbers, {trained / total:.1%}"
    return parts | {"Parameters": f"{total:,}{few}"}


def _condition(result: Mapping) -> dict[str, str]:
    """What the model was told while it was trained, and how strongly to mean it."""
    drop, guidance = result.get("drop", 0), result.get("guidance", 1)
    told = "the class of each picture, always; guidance other than 1 was not prepared for"
    if drop:
        told = f"the class of each picture, but for {drop:.0%} of them, so that guidance works"
    return {"Told": told, "Recommended guidance": f"{guidance:g}"}


def _lora(folder: Path, result: Mapping) -> str:
    """The lines that load the adapters alone."""
    if not result.get("lora_rank"):
        return ""
    code = LORA_DIFFUSERS if _library(folder) == "diffusers" else LORA_COURSE
    names = {"name": f"your-name/{folder.name}", "course": _course(), "file": ADAPTER}
    code = code.format(start=result["start"], **names)
    return LORA.format(file=ADAPTER, trained=result["trained_parameters"], code=code)


def _library(folder: Path) -> str:
    """Whose code loads the folder."""
    return "diffusers" if (folder / "model_index.json").is_file() else "course_utils"


def _write(
    folder: Path,
    title: str,
    facts: dict[str, str],
    classes: Sequence[str],
    more: str = "",
    guidance: float = 2.0,
    kind: Kind | None = None,
) -> Path:
    check_saved_model(folder)
    names = {"name": f"your-name/{folder.name}", "course": _course(), "classes": list(classes)}
    kind = kind or _drawing(_library(folder), classes)
    code = kind.code.format(guidance=guidance, **names)
    use = "Draw with it" if "diffusion" in kind.tags else "Use it"
    facts |= {"Classes": ", ".join(classes)} if classes else {}
    table = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    parts = [
        f"---\n{_metadata(kind)}\n---\n\n# {title}\n\n{kind.about}.\n",
        "\n![Samples, not selected](samples.png)\n" if (folder / "samples.png").is_file() else "",
        f"\n## {use}\n\n```python\n{code}\n```\n",
        f"\n## How it was trained\n\n| | |\n|---|---|\n{table}",
        more,
    ]
    card = folder / "README.md"
    card.write_text("".join(parts), encoding="utf-8")
    return card


def _drawing(library: str, classes: Sequence[str]) -> Kind:
    """A network that draws by class or without; the Hub has no task for pictures of a class."""
    about = "A small diffusion model: from noise it draws pictures like those it was trained on"
    about += ", of the class that you name" if classes else ""
    task = None if classes else "unconditional-image-generation"
    tags = ("class-conditional", "diffusion") if classes else ("diffusion",)
    return Kind(about, CODE[library, bool(classes)], library, task, tags, {})


def _metadata(kind: Kind) -> str:
    """What the Hub sorts models by."""
    from huggingface_hub import ModelCardData

    tags = [kind.library, "pytorch", *([kind.task] if kind.task else []), *kind.tags]
    return ModelCardData(library_name=kind.library, pipeline_tag=kind.task, tags=tags).to_yaml()


def _course() -> str:
    """Where the package comes from; in a clone that is not installed, its name."""
    try:
        return metadata("diffusion-course").get_all("Project-URL")[0].split(", ")[1]
    except PackageNotFoundError:
        return "of the diffusion course"
