"""Sharing a pipeline: a model card for it, and the whole folder on the Hub."""

from pathlib import Path

from course_utils.data import ImageData

CARD = """---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [diffusers, pytorch, unconditional-image-generation]
---

# {title}

A small diffusion model, trained for {num_steps:,} steps on {num_images:,} pictures of
{height} x {width} pixels ({data_source}). The scheduler's settings lie in
`scheduler/scheduler_config.json`, the network's in `unet/config.json`.

## Draw with it

```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("{name}")
images = pipeline(batch_size=16, num_inference_steps=50).images
```
"""


def write_model_card(folder: Path | str, *, title: str, num_steps: int, data: ImageData) -> Path:
    """Write `folder/README.md`, which tells what the model is and how to load it.

    Raises FileNotFoundError where the folder holds no saved pipeline.
    """
    folder = _pipeline_folder(folder)
    height, width = data.images.shape[-2:]
    text = CARD.format(
        title=title,
        num_steps=num_steps,
        num_images=len(data),
        height=height,
        width=width,
        data_source=data.source,
        name=f"your-name/{folder.name}",
    )
    card = folder / "README.md"
    card.write_text(text, encoding="utf-8")
    return card


def share(folder: Path | str, repo_id: str) -> str:
    """Upload the folder whole to the Hub's `repo_id` ("your-name/name"); returns its address.

    Raises FileNotFoundError where the folder holds no saved pipeline, PermissionError where
    nobody is logged in.
    """
    from huggingface_hub import HfApi, get_token

    folder = _pipeline_folder(folder)
    if get_token() is None:
        raise PermissionError(
            "nobody is logged in to the Hub: run `from huggingface_hub import notebook_login; "
            "notebook_login()`, paste a token with write access, and share again"
        )
    card = folder / "README.md"
    if card.exists():
        text = card.read_text(encoding="utf-8").replace(f"your-name/{folder.name}", repo_id)
        card.write_text(text, encoding="utf-8")
    api = HfApi()
    address = api.create_repo(repo_id, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=folder)
    return str(address)


def _pipeline_folder(folder: Path | str) -> Path:
    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"folder {str(folder)!r} holds no pipeline (no model_index.json): "
            "save one there with pipeline.save_pretrained"
        )
    return folder
