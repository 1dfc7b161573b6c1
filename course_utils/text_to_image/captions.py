"""What each picture may be called, in several languages, and latents that are told so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from course_utils.checks import check_int
from course_utils.data.loader import Batch, shuffled

Captions = Mapping[str, Sequence[str]]  # by language, one for each picture
Aliases = Mapping[str, Sequence[Sequence[str]]]  # by language, any number for each picture


class Wordings(NamedTuple):
    """All texts, each once, and which of them may tell what picture n is: a row of `choices`.

    One column is as likely as another; what is wanted more often stands in more of them.
    """

    texts: tuple[str, ...]
    choices: Int64[Tensor, "N V"]


def wordings(captions: Captions, aliases: Aliases | None = None) -> Wordings:
    """Each language as likely as another, and in half of its columns a picture's aliases, if any.

    Raises ValueError without a caption, for languages of different lengths, or for aliases of a
    language that has no captions or is of another length.
    """
    aliases = aliases or {}
    _check_lengths(captions, aliases)
    half = max((len(names) for each in aliases.values() for names in each), default=0) or 1
    rows = []
    for place in range(len(next(iter(captions.values())))):
        row = []
        for language, names in captions.items():
            others = aliases[language][place] if language in aliases else ()
            row += [names[place]] * half + [*islice(cycle(others or [names[place]]), half)]
        rows.append(row)
    numbers = {
        text: n for n, text in enumerate(dict.fromkeys(text for row in rows for text in row))
    }
    return Wordings(tuple(numbers), torch.tensor([[numbers[text] for text in row] for row in rows]))


def pick(
    choices: Int64[Tensor, "N V"], chosen: Int64[Tensor, " B"], generator: torch.Generator | None
) -> Int64[Tensor, " B"]:
    """One entry by chance of each chosen row: a text for each picture, as its place in `texts`."""
    column = torch.randint(choices.shape[1], chosen.shape, generator=generator)
    return choices[chosen, column]


@dataclass(frozen=True, eq=False)
class CaptionedLatents:
    """A loader for `train`: batches of latents, each told by one of its captions, or by nothing.

    `encodings` (M, L, D) are the texts' hidden states, `choices` (N, V) the rows of them that may
    tell what latent n is. A share `drop` is told `nothing` (1, L, D), the encoding of "": what the
    pipeline pushes away from, so that guidance is possible (Ho & Salimans 2022, alg. 1). One
    iteration gives each latent once. Raises ValueError for numbers that do not fit together.
    """

    latents: Float[Tensor, "N C H W"]
    encodings: Float[Tensor, "M L D"]
    choices: Int64[Tensor, "N V"]
    nothing: Float[Tensor, "1 L D"]
    batch_size: int
    generator: torch.Generator | None = None
    drop: float | int = 0.1

    def __post_init__(self):
        check_int("batch_size", self.batch_size, 1)
        if len(self.choices) != len(self.latents):
            wanted = f"a row for each of the {len(self.latents)} latents"
            raise ValueError(f"choices must hold {wanted}, got {len(self.choices)}")
        low, high = self.choices.min().item(), self.choices.max().item()
        if low < 0 or high >= len(self.encodings):
            wanted = f"rows of the {len(self.encodings)} encodings"
            raise ValueError(f"choices must be {wanted}, got {low} to {high}")
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop must lie in [0, 1], got {self.drop}: 0.1 is usual")

    def __len__(self) -> int:
        return -(-len(self.latents) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for chosen in shuffled(len(self.latents), self.generator).split(self.batch_size):
            told = self.encodings[pick(self.choices, chosen, self.generator)]
            dropped = torch.rand(len(chosen), generator=self.generator) < self.drop
            told[dropped] = self.nothing
            yield Batch(self.latents[chosen], {"encoder_hidden_states": told})


def _check_lengths(captions: Captions, aliases: Aliases) -> None:
    lengths = {language: len(names) for language, names in captions.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"captions must hold one for each picture in each language, got {lengths}")
    for language, names in aliases.items():
        if len(names) != lengths.get(language):
            raise ValueError(
                f"aliases[{language!r}] must hold a list for each caption of that language, "
                f"got {len(names)} for {lengths.get(language, 0)}"
            )
