"""The parts assembled to a pipeline that diffusers loads, and its sampling loop by hand."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from course_utils.runtime import quiet_loading
from course_utils.text_to_image.matching import encode_texts
from course_utils.text_to_image.vocabulary import save_tokenizer

PREFIX = "text_model."  # of a text encoder's weights as transformers 4 names them, and 5 reads them


def make_latent_unet(
    channels: tuple[int, ...] = (96, 128),
    *,
    layers_per_block: int = 1,
    attention: tuple[bool, ...] = (True, False),
    context_width: int = 128,
    num_heads: int = 4,
    latent_channels: int = 8,
    size: int = 8,
) -> UNet2DConditionModel:
    """Stable Diffusion's UNet, untrained and small: latents, told by the text encoder's states.

    `attention` says, from the outermost block inwards, which read the words. (This class counts
    heads in its `attention_head_dim`.)
    Raises ValueError unless there is one `attention` for each width.
    """
    if len(attention) != len(channels):
        wanted = f"one value for each of the {len(channels)} channels"
        raise ValueError(f"attention must hold {wanted}, got {attention}")
    down = ["CrossAttnDownBlock2D" if reads else "DownBlock2D" for reads in attention]
    up = ["CrossAttnUpBlock2D" if reads else "UpBlock2D" for reads in reversed(attention)]
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=channels,
        layers_per_block=layers_per_block,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        cross_attention_dim=context_width,
        attention_head_dim=num_heads,
        norm_num_groups=8,
    )


def make_scheduler() -> DDIMScheduler:
    """DDIM on `NoiseSchedule.cosine(1000)`, for a UNet that answers with the velocity."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # the pipeline asks for it; trailing timesteps don't
    )


def assemble(
    autoencoder: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
) -> StableDiffusionPipeline:
    """The pipeline of these five, all at rest. The autoencoder's scaling factor is in its config.

    There is no safety checker: what the parts have never seen they cannot draw.
    """
    return StableDiffusionPipeline(
        vae=autoencoder.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(pipeline: StableDiffusionPipeline, folder: Path | str) -> None:
    """Write a folder for `StableDiffusionPipeline.from_pretrained`, weights in half precision.

    transformers 4 and 5 both read its tokenizer and text encoder. `pipeline` stays as it is.
    """
    folder = Path(folder)
    with quiet_loading():
        pipeline.save_pretrained(folder, safe_serialization=True)
    save_tokenizer(pipeline.tokenizer, folder / "tokenizer")
    for file in folder.glob("*/*.safetensors"):
        prefix = PREFIX if file.parent.name == "text_encoder" else ""
        _halve(file, prefix)


def save_text_encoder(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, folder: Path | str
) -> None:
    """Write these two parts of a pipeline alone, as `save_pipeline` does."""
    folder = Path(folder)
    text_encoder.save_pretrained(folder / "text_encoder", safe_serialization=True)
    save_tokenizer(tokenizer, folder / "tokenizer")
    for file in (folder / "text_encoder").glob("*.safetensors"):
        _halve(file, PREFIX)


def _halve(file: Path, prefix: str) -> None:
    """The weights again in half precision, all their names with the prefix.

    The text encoder's config still says float32, which is what it is loaded as.
    """
    weights = {
        prefix + name.removeprefix(prefix): values.half()
        for name, values in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})


@torch.no_grad()
def draw_by_hand(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    negative: str = "",
    guidance_scale: float | int = 3.0,
    num_steps: int = 12,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N 3 H W"]:
    """The loop of Stable Diffusion, equal to the pipeline's bit for bit; pictures in [0, 1].

    `pipeline(prompts, …, output_type="pt").images`; as there, a scale of 1 or less switches
    guidance off. Raises ValueError without a prompt.
    """
    if isinstance(prompts, str) or not prompts:
        raise ValueError(f"prompts must be a list with at least one text, got {prompts!r}")
    vae, unet, scheduler = pipeline.vae, pipeline.unet, pipeline.scheduler
    parts, guided = (pipeline.text_encoder, pipeline.tokenizer), guidance_scale > 1
    told = encode_texts(*parts, prompts)
    if guided:
        told = torch.cat([encode_texts(*parts, [negative] * len(prompts)), told])
    scheduler.set_timesteps(num_steps)
    size, channels = unet.config.sample_size, unet.config.in_channels
    x_t = torch.randn(len(prompts), channels, size, size, generator=generator)
    for t in scheduler.timesteps:
        x = torch.cat([x_t, x_t]) if guided else x_t
        answer = unet(x, t, encoder_hidden_states=told).sample
        if guided:
            without, with_prompt = answer.chunk(2)
            answer = without + guidance_scale * (with_prompt - without)
        x_t = scheduler.step(answer, t, x_t).prev_sample
    pictures = vae.decode(x_t / vae.config.scaling_factor).sample
    return (pictures * 0.5 + 0.5).clamp(0, 1)
