"""What cards say of a pipeline that reads, and of the parts that it is made of."""

from collections.abc import Mapping
from typing import NamedTuple

TEXT_TO_IMAGE = """\
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("{name}")
images = pipeline("red heart", guidance_scale={guidance:g}, num_inference_steps=12).images"""
AUTOENCODER = """\
from diffusers import AutoencoderKL

autoencoder = AutoencoderKL.from_pretrained("{name}", subfolder="vae")
factor = autoencoder.config.scaling_factor
latents = autoencoder.encode(x).latent_dist.mean * factor  # of x (N, 3, H, W) in [-1, 1]
x_again = autoencoder.decode(latents / factor).sample"""
WORDS = """\
from course_utils.text_to_image import Matcher  # {course}
from huggingface_hub import snapshot_download
from transformers import CLIPTextModel, CLIPTokenizer

folder = snapshot_download("{name}")
text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
matcher = Matcher.load(f"{{folder}}/matcher.safetensors", text_encoder, tokenizer)
best = matcher.nearest(["red heart"], pictures)  # of pictures (N, 3, H, W), uint8 or [-1, 1]"""
QUALITY = """
## How good it is

| | |
|---|---|
{rows}"""


class Kind(NamedTuple):
    """What is said of one kind of network.

    `measures` explains numbers of a result by their names, which may end in `_` and a language.
    """

    about: str
    code: str
    library: str
    task: str | None  # one of the Hub's
    tags: tuple[str, ...]
    measures: Mapping[str, str]


KINDS = {
    "UNet2DConditionModel": Kind(
        "A small Stable Diffusion: it draws what a text says, in the languages it was told",
        TEXT_TO_IMAGE,
        "diffusers",
        "text-to-image",
        ("diffusion",),
        {
            "own": "the training picture nearest to a drawn one is the prompt's own",
            "own_5": "it is among the nearest five",
        },
    ),
    "AutoencoderKL": Kind(
        "A small autoencoder: pictures to latents and back, a part of a text-to-image pipeline",
        AUTOENCODER,
        "diffusers",
        None,
        ("autoencoder",),
        {
            "psnr": "PSNR of pictures that it has not seen, in dB",
            "psnr_training": "PSNR of training pictures, in dB",
        },
    ),
    "CLIPTextModel": Kind(
        "A mini-CLIP: which text belongs to which picture; its text encoder is a part of a "
        "text-to-image pipeline",
        WORDS,
        "transformers",
        None,
        ("clip",),
        {
            "top1": "the picture nearest to a caption is its own",
            "top5": "it is among the nearest five",
            "unseen_top1": "the same of pictures that it has not seen",
            "unseen_top5": "they are among the nearest five",
        },
    ),
}


def quality(kind: Kind, result: Mapping) -> str:
    """A table of the numbers that the kind is measured by."""
    rows = ""
    for name, value in result.items():
        base, _, language = name.rpartition("_")
        if name in kind.measures:
            rows += f"| {kind.measures[name]} | {value:g} |\n"
        elif base in kind.measures:
            rows += f"| {kind.measures[base]}, {language} | {value:.0%} |\n"
    return QUALITY.format(rows=rows) if rows else ""


def told(result: Mapping) -> dict[str, str]:
    """What a network that reads was told while it was trained, and how strongly to mean it."""
    drop = result["drop"]
    words = f"a caption of each picture, but for {drop:.0%} of them an empty text"
    return {"Told": words, "Recommended guidance": f"{result['guidance']:g}"}
