"""Which text belongs to which picture: a text encoder, trained beside a picture tower."""

from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, distributed, nn

from course_utils.data import ImageData
from course_utils.images import make_grid
from course_utils.recipes import Recipe, build
from course_utils.runs.batches import generator_of
from course_utils.runs.tasks.captioned import Captioned
from course_utils.runs.tasks.parts import open_text_encoder
from course_utils.runs.tasks.task import Place, Task
from course_utils.runtime import quiet_loading
from course_utils.text_to_image import (
    Matcher,
    contrastive_loss,
    disturbed,
    learn_merges,
    make_text_encoder,
    make_tokenizer,
    save_text_encoder,
    small,
)
from course_utils.text_to_image.vocabulary import BYTES

MATCHER = "matcher.safetensors"
NO_MERGES = 514  # tokens of a vocabulary that has learned nothing: bytes, and two special ones


class Chance(NamedTuple):
    """What is random about a step, for the whole batch."""

    luck: Float[Tensor, " B"]  # which of its texts
    shift: Int64[Tensor, "2"]
    noise: Float[Tensor, "B 3 32 32"]


class Pairs(NamedTuple):
    """Texts and the pictures that they belong to."""

    texts: list[str]
    pictures: Float[Tensor, "b 3 32 32"]


class Vectors(nn.Module):
    """Both sides of a matcher as one call, which several processes can share."""

    def __init__(self, matcher: Matcher):
        super().__init__()
        self.matcher = matcher

    def forward(self, texts: list[str], pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.matcher.read(texts), self.matcher.tower(pictures), self.matcher.scale


class Words(Task):
    """A `CLIPTextModel` and its tokenizer, for `start.parts`; the rest of the matcher beside."""

    def __init__(self, recipe: Recipe, seed: int, place: Place, folder: Path | None = None):
        self.recipe, self.seed, self.device = recipe, seed, place.device
        self.pictures = Captioned(recipe, seed)
        self.num_pictures = self.pictures.num_pictures
        self.fingerprints = self.pictures.fingerprints
        if recipe.training.batch_size > self.num_pictures:
            raise ValueError(
                f"training.batch_size must be at most {self.num_pictures}, so that no picture is "
                f"there twice, got {recipe.training.batch_size}"
            )
        if folder is None:
            matcher = make_matcher(recipe, _merges(recipe, self.pictures.wordings.texts))
        else:
            matcher = Matcher.load(folder / MATCHER, *open_text_encoder([folder]))
        self.model = matcher.to(place.device)
        self.network = Vectors(self.model)
        self.seen = small(self.pictures.data.images)

    @classmethod
    def rehearse(cls, recipe: Recipe, num_images: int) -> tuple[nn.Module, Float[Tensor, ""]]:
        """Texts of full length, in a vocabulary of as many tokens."""
        pairs = product(BYTES.values(), repeat=2)
        merges = [*islice(pairs, recipe.model.num_tokens - NO_MERGES)]
        model = make_matcher(recipe, merges).to("meta")
        with torch.device("meta"):
            pictures = torch.empty(num_images, 3, 32, 32)
        long = "a " * model.tokenizer.model_max_length
        return model, contrastive_loss(*Vectors(model)([long] * num_images, pictures))

    def draw(self, step: int) -> Chance:
        """Texts, and how the pictures are disturbed."""
        chance = generator_of("cpu", self.seed, step)
        torch.manual_seed(chance.initial_seed())
        size = self.recipe.training.batch_size
        luck = torch.rand(size, generator=chance)
        shift = torch.randint(-2, 3, (2,), generator=chance)
        return Chance(luck, shift, torch.randn(size, *self.seen.shape[1:], generator=chance))

    def batch(self, step: int, places: Int64[Tensor, " b"], chance: Chance) -> Pairs:
        """A text for each picture; both are of this process's share."""
        chosen, words = self.pictures.chosen(step, places), self.pictures.wordings
        told = self.pictures.told(chosen, chance.luck[places]).tolist()
        pictures = disturbed(self.seen[chosen], chance.shift, chance.noise[places])
        return Pairs([words.texts[text] for text in told], pictures.to(self.device))

    def loss(self, network: nn.Module, batch: Pairs) -> Float[Tensor, ""]:
        """Of the whole batch, in each process: every text is compared with every picture."""
        texts, pictures, scale = network(batch.texts, batch.pictures)
        return contrastive_loss(_of_all(texts), _of_all(pictures), scale)

    def sheet(self, num_rows: int = 8) -> UInt8[Tensor, "C H W"]:
        """Pictures, each with the three that are nearest to its caption."""
        data, chosen = self.pictures.data, self.pictures.sample(num_rows)
        texts = next(iter(data.captions.values()))
        nearest = self.model.nearest(
            [texts[place] for place in chosen], data.images, min(3, len(data))
        ).cpu()
        rows = torch.cat([torch.tensor(chosen)[:, None], nearest], dim=1)
        return make_grid(data.images[rows.flatten()], columns=rows.shape[1], fill=255)

    def save(self, folder: Path) -> None:
        """The text encoder and the tokenizer in folders of their own, the rest in one file."""
        with quiet_loading():
            save_text_encoder(self.model.text_encoder, self.model.tokenizer, folder)
        self.model.save(folder / MATCHER)

    def measure(self, num_images: int) -> dict:
        """By language, how often the picture nearest to a caption is its own, `top1`, or among the
        nearest five, `top5`; `unseen_` where pictures were held out. Looked for among all."""
        data, found = self.pictures.data, {}
        held_out = build.held_out_pictures(self.recipe.data)
        images = [data.images] if held_out is None else [data.images, held_out.images]
        known = self.model.pictures(torch.cat(images))
        found |= self._found(data, known, 0, num_images, "")
        if held_out is not None:
            found |= self._found(held_out, known, len(data), num_images, "unseen_")
        return found

    def _found(
        self, data: ImageData, known: Tensor, first: int, num_images: int, prefix: str
    ) -> dict[str, float]:
        """For captions of `data`, whose first picture is number `first` of those known."""
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:num_images]
        found = {}
        for language, texts in data.captions.items():
            captions = [texts[place] for place in order.tolist()]
            nearest = self.model.nearest(captions, known, min(5, len(known))).cpu()
            hits = nearest == order[:, None] + first
            for k in (1, 5):
                share = hits[:, :k].any(dim=1).double().mean().item()
                found[f"{prefix}top{k}_{language}"] = round(share, 4)
        return found


def make_matcher(recipe: Recipe, merges: list[tuple[str, str]]) -> Matcher:
    """The network with random weights, for this vocabulary."""
    tokenizer, (width,) = make_tokenizer(merges), recipe.model.channels
    text_encoder = make_text_encoder(tokenizer, width=width, num_layers=recipe.model.num_blocks)
    return Matcher(text_encoder, tokenizer, width)


def _merges(recipe: Recipe, texts: Sequence[str]) -> list[tuple[str, str]]:
    """As many as the recipe's vocabulary has room for."""
    merges = learn_merges(texts, recipe.model.num_tokens - NO_MERGES)
    if (found := NO_MERGES + len(merges)) != recipe.model.num_tokens:
        raise ValueError(
            f"model.num_tokens must be at most {found}, as many as these captions make, got "
            f"{recipe.model.num_tokens}"
        )
    return merges


def _of_all(vectors: Float[Tensor, "b D"]) -> Float[Tensor, "B D"]:
    """Those of all processes. Own gradients count as often as there are processes, since the mean
    over these is taken afterwards."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return vectors
    still, number = vectors.detach().contiguous(), distributed.get_world_size()
    everyone = [torch.empty_like(still) for _ in range(number)]
    distributed.all_gather(everyone, still)
    everyone[distributed.get_rank()] = still + number * (vectors - still)
    return torch.cat(everyone)
