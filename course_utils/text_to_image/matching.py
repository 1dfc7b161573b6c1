"""A mini-CLIP: which text belongs to which picture, learned from pairs (Radford et al. 2021)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from course_utils.checks import check_images, check_int, check_positive
from course_utils.images import to_model_range
from course_utils.models.calling import evaluation_mode
from course_utils.runtime import PRETRAINED
from course_utils.text_to_image.captions import Aliases, Captions, Wordings, pick, wordings
from course_utils.training.loop import TrainStep, learning_rate, update

SIZE = 32  # pixels, of what the picture tower sees
WIDTH = 128
LARGEST_SCALE = 50.0
Pictures = Shaped[Tensor, "N C H W"]  # uint8, or float in [-1, 1]
Searched = Sequence[str] | Tensor  # captions, pictures, or unit vectors of either


class PictureTower(nn.Sequential):
    """Four convolutions and a linear layer: pictures (N, 3, 32, 32) in [-1, 1] → (N, width)."""

    def __init__(self, width: int = WIDTH):
        layers = [*_seen(3, 32, 2), *_seen(32, 64, 2), *_seen(64, 64, 1), *_seen(64, 128, 2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * (SIZE // 8) ** 2, width))


def _seen(before: int, width: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()]


def make_text_encoder(
    tokenizer: CLIPTokenizer, *, width: int = WIDTH, num_layers: int = 2, num_heads: int = 4
) -> CLIPTextModel:
    """CLIP's text encoder, untrained and tiny, for this tokenizer's vocabulary and length."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
            projection_dim=width,
        )
    )


@torch.no_grad()
def encode_texts(
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    captions: Sequence[str],
    batch_size: int = 256,
) -> Float[Tensor, "N L D"]:
    """A vector for each place of each caption: what Stable Diffusion tells its UNet.

    The last hidden states, padded to the tokenizer's length, as
    `StableDiffusionPipeline.encode_prompt` computes them.
    """
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    ids = tokenizer([*captions], **options).input_ids
    with evaluation_mode(text_encoder):
        parts = ids.to(text_encoder.device).split(batch_size)
        return torch.cat([text_encoder(part).last_hidden_state for part in parts])


def contrastive_loss(
    texts: Float[Tensor, "B D"],
    pictures: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float | int,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE (Radford et al. 2021, fig. 3): row n of each belongs to row n of the other.

    The vectors need not be normalised: cosine similarities times `scale`, one over the temperature,
    are the logits with which each text chooses its picture, and each picture its text.
    """
    logits = scale * F.normalize(texts, dim=-1) @ F.normalize(pictures, dim=-1).T
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


class Matcher(nn.Module):
    """A text encoder and a picture tower that meet in one space of unit vectors.

    `log_scale` is the logarithm of one over the temperature, learned with the rest.
    """

    def __init__(self, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, width: int = WIDTH):
        super().__init__()
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.projection = nn.Linear(text_encoder.config.hidden_size, width, bias=False)
        self.tower = PictureTower(width)
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """One over the temperature, at most 50."""
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def read(self, captions: Sequence[str]) -> Float[Tensor, "N D"]:
        """Captions → vectors, with their gradients: the projected state at each text's end."""
        options = {"padding": True, "truncation": True, "return_tensors": "pt"}
        ids = self.tokenizer([*captions], **options).input_ids
        return self.projection(self.text_encoder(ids.to(self.log_scale.device)).pooler_output)

    @torch.no_grad()
    def texts(self, captions: Sequence[str], batch_size: int = 256) -> Float[Tensor, "N D"]:
        """Captions → unit vectors."""
        parts = [captions[n : n + batch_size] for n in range(0, len(captions), batch_size)]
        with evaluation_mode(self):
            return F.normalize(torch.cat([self.read(part) for part in parts]), dim=-1)

    @torch.no_grad()
    def pictures(self, images: Pictures, batch_size: int = 256) -> Float[Tensor, "N D"]:
        """uint8 or [-1, 1], (N, 3, H, W), of any size → unit vectors."""
        with evaluation_mode(self):
            parts = images.to(self.log_scale.device).split(batch_size)
            return F.normalize(torch.cat([self.tower(small(part)) for part in parts]), dim=-1)

    def embed(self, things: Searched) -> Float[Tensor, "_ D"]:
        """Captions or pictures → unit vectors; unit vectors stay as they are."""
        if not isinstance(things, Tensor):
            return self.texts(things)
        return things if things.ndim == 2 else self.pictures(things)

    def nearest(self, things: Searched, candidates: Searched, k: int = 1) -> Int64[Tensor, "_ k"]:
        """For each caption or picture the k most similar candidates, the most similar first."""
        candidates = self.embed(candidates)
        check_int("k", k, 1, len(candidates))
        return (self.embed(things) @ candidates.T).topk(k).indices

    def save(self, file: Path | str) -> None:
        """Write all but the text encoder, whose place is in the pipeline's folder."""
        weights = self.state_dict().items()
        kept = {k: v.cpu().contiguous() for k, v in weights if not k.startswith("text_encoder.")}
        save_file(kept, file)

    @classmethod
    def load(
        cls, file: Path | str, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
    ) -> "Matcher":
        """What `save` wrote, beside the text encoder it was trained with."""
        weights = load_file(file)
        matcher = cls(text_encoder, tokenizer, len(weights["projection.weight"]))
        matcher.load_state_dict(matcher.state_dict() | weights)
        return matcher.eval()

    @classmethod
    def shipped(cls, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> "Matcher":
        """That of `emoji-stable-diffusion`, whose text encoder and tokenizer these are."""
        return cls.load(PRETRAINED / "emoji_matcher.safetensors", text_encoder, tokenizer)


def small(images: Pictures) -> Float[Tensor, "N C 32 32"]:
    """What the picture tower sees of uint8 or [-1, 1]: 32 x 32 averages, in [-1, 1]."""
    check_images("images", images)
    x = to_model_range(images) if images.dtype == torch.uint8 else images
    return F.adaptive_avg_pool2d(x, SIZE)


def train_matcher(
    matcher: Matcher,
    images: Pictures,
    captions: Captions,
    *,
    num_steps: int,
    batch_size: int = 256,
    lr: float | int = 1.5e-3,
    aliases: Aliases | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[TrainStep]:
    """Train `matcher` in place on pairs; yields after each update.

    `captions` holds one text for each picture in each language, {"en": (…), "ko": (…)}; which
    language, and whether an alias, is chosen anew each time, see `wordings`. Pictures are shifted
    by up to two pixels and get a little noise. The rate follows `learning_rate`.
    Raises ValueError for settings out of range, or captions of another number than the pictures.
    """
    check_positive(num_steps=num_steps, batch_size=batch_size)
    words, num_images = wordings(captions, aliases), len(images)
    if len(words.choices) != num_images:
        got = len(words.choices)
        raise ValueError(f"captions must be {num_images}, one for each image, got {got}")
    return _updates(matcher, small(images), words, num_steps, batch_size, lr, generator)


def _updates(
    matcher: Matcher,
    pictures: Float[Tensor, "N C 32 32"],
    words: Wordings,
    num_steps: int,
    batch_size: int,
    lr: float | int,
    generator: torch.Generator | None,
) -> Iterator[TrainStep]:
    """One update for each batch of random pairs; AdamW as in CLIP, decaying the weights."""
    optimizer = torch.optim.AdamW(matcher.parameters(), lr, betas=(0.9, 0.98), weight_decay=0.05)
    for step in range(num_steps):
        chosen = torch.randperm(len(pictures), generator=generator)[:batch_size]
        told = [words.texts[text] for text in pick(words.choices, chosen, generator).tolist()]
        seen = _disturbed(pictures[chosen], generator).to(matcher.log_scale.device)
        matcher.train()
        loss = contrastive_loss(matcher.read(told), matcher.tower(seen), matcher.scale)
        rate = learning_rate(step, num_steps, lr)
        yield TrainStep(
            step + 1, update(matcher, [loss], optimizer, rate, step=step, max_grad_norm=1.0), rate
        )


def _disturbed(
    x: Float[Tensor, "B C H W"], generator: torch.Generator | None
) -> Float[Tensor, "B C H W"]:
    """By chance."""
    shift = torch.randint(-2, 3, (2,), generator=generator)
    return disturbed(x, shift, torch.randn(x.shape, generator=generator))


def disturbed(
    x: Float[Tensor, "B C H W"], shift: Int64[Tensor, "2"], noise: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B C H W"]:
    """Shifted, all alike, by up to two pixels each way, and with a little of the noise."""
    return x.roll(shift.tolist(), dims=(2, 3)) + 0.05 * noise
