"""The page that tells what a model is: for the pipeline of a notebook, and for a run."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from course_utils.data import ImageData
from course_utils.sharing.upload import check_saved_model

HEAD = """---
library_name: {library}
pipeline_tag: unconditional-image-generation
tags: [{library}, pytorch, unconditional-image-generation, diffusion]
---

# {title}

A small diffusion model: from noise it draws pictures like those it was trained on.
"""
PIPELINE = """from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("{name}")
images = pipeline(batch_size=16, num_inference_steps=50).images"""
NETWORK = """from huggingface_hub import snapshot_download

from course_utils.recipes.build import load_trained  # {course}

pictures = load_trained(snapshot_download("{name}")).draw(16)  # (16, C, H, W) in [-1, 1]"""
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
SAMPLES = "\n![Samples, not selected](samples.png)\n"


def write_model_card(folder: Path | str, *, title: str, num_steps: int, data: ImageData) -> Path:
    """Write `folder/README.md`: what the pipeline is and how to load it.

    Raises FileNotFoundError where the folder holds no saved pipeline.
    """
    height, width = data.images.shape[-2:]
    facts = {
        "Pictures": f"{len(data.images):,} of {height} x {width} pixels, {data.source}",
        "Training": f"{num_steps:,} steps",
    }
    return _write(Path(folder), title, facts)


def write_run_card(folder: Path, result: Mapping, licence: str) -> Path:
    """Write `folder/README.md` from a run's results: recipe, pictures, cost, samples, distances."""
    facts = {
        "Pictures": f"{result['num_pictures']:,}, {result['data']}",
        "Their licence": licence or "not stated: ask whoever trained this before you use it",
        "Recipe": f"{result['recipe']}; every setting is in `recipe.json`",
        "Parameters": f"{result['parameters']:,}",
        "Training": f"{result['steps']:,} steps in {result['seconds']:,.0f} s, "
        f"{result['flops'] / 1e15:.3g} PFLOP",
        "Hardware": f"{result['hardware']}; processes: {result['processes']}",
        "Seed": f"{result['seed']}",
    }
    n = result.get("num_samples")
    return _write(folder, result["recipe"], facts, DISTANCES.format(n=n, **result) if n else "")


def _write(folder: Path, title: str, facts: Mapping[str, str], distances: str = "") -> Path:
    check_saved_model(folder)
    is_pipeline = (folder / "model_index.json").is_file()
    library = "diffusers" if is_pipeline else "course_utils"
    code = PIPELINE if is_pipeline else NETWORK
    code = code.format(name=f"your-name/{folder.name}", course=_course())
    table = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    parts = [
        HEAD.format(title=title, library=library),
        SAMPLES if (folder / "samples.png").is_file() else "",
        f"\n## Draw with it\n\n```python\n{code}\n```\n",
        f"\n## How it was trained\n\n| | |\n|---|---|\n{table}",
        distances,
    ]
    card = folder / "README.md"
    card.write_text("".join(parts), encoding="utf-8")
    return card


def _course() -> str:
    """Where the package comes from; in a clone that is not installed, its name."""
    try:
        return metadata("diffusion-course").get_all("Project-URL")[0].split(", ")[1]
    except PackageNotFoundError:
        return "of the diffusion course"
