"""Emoji, with their names in two languages and, of people, what varies: kind, gender, skin tone."""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from course_utils.checks import check_choice, check_int
from course_utils.data.loader import ImageData

SHEET = Path(__file__).with_name("emoji.webp")  # made by tests/bench/render_emoji.py
NAMES = Path(__file__).with_name("emoji.json")
PIXELS, COLUMNS = 64, 49  # of a picture's side, and pictures in a row of the sheet
GENDERS = ("man", "woman")
TONES = ("yellow", "light", "medium-light", "medium", "medium-dark", "dark")
PARTS = ("training", "easy", "hard")
NOBODY = (-1, -1, -1)


@dataclass(frozen=True, eq=False, repr=False)
class EmojiData(ImageData):
    """Emoji: `captions` are their names, `characters` what one types, `aliases` more English names.

    Some people exist as each of `GENDERS` in each of `TONES`. Their rows of `people` are indices
    into `kinds`, `GENDERS` and `TONES`, all others -1 three times. `held_out` is an index into
    `PARTS`: 0 training; 1 easy, one or two people of a kind that the training part knows in every
    gender and every tone; 2 hard, all of a kind and gender, which it knows in the other gender.
    Don't mirror what you train on: "… facing right" is the mirror image of the same without, and
    so 17 of the held-out people would be seen in training.
    Raises what `ImageData` raises, and ValueError for another number of rows.
    """

    characters: tuple[str, ...] = field(kw_only=True)
    aliases: tuple[tuple[str, ...], ...] = field(kw_only=True)
    people: Int64[Tensor, "N 3"] = field(kw_only=True)
    held_out: Int64[Tensor, " N"] = field(kw_only=True)
    kinds: tuple[str, ...] = field(kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        for name in ("characters", "aliases", "people", "held_out"):
            found, wanted = len(getattr(self, name)), len(self)
            if found != wanted:
                raise ValueError(f"{name} must hold one row for each of {wanted}, got {found}")

    def subset(self, chosen: Tensor | np.ndarray | Sequence[int | bool]) -> "EmojiData":
        """Those at these indices, in this order, or those where a mask of all of them is True.

        Raises TypeError for other values, ValueError for another shape or an index out of range.
        """
        rows = self._rows(torch.as_tensor(chosen))
        numbers = rows.tolist()
        return replace(
            self,
            images=self.images[rows],
            captions={k: _pick(texts, numbers) for k, texts in self.captions.items()},
            characters=_pick(self.characters, numbers),
            aliases=_pick(self.aliases, numbers),
            people=self.people[rows],
            held_out=self.held_out[rows],
        )

    def first(self, num_images: int | None) -> "EmojiData":
        """The first so many, or all."""
        return self.subset(torch.arange(len(self))[:num_images])

    def part(self, name: str) -> "EmojiData":
        """Those of one of `PARTS`. Raises ValueError for another name."""
        check_choice("name", name, PARTS)
        return self.subset(self.held_out == PARTS.index(name))

    def find(self, text: str) -> int:
        """The number of the emoji that `text` is or names, in English or Korean, in any case.

        A name comes before an alias, and of two with the same alias the first is meant.
        Raises TypeError for what is no text, ValueError, with names near to it, for an unknown one.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be an emoji or a name, got {text!r}")
        numbers = self._numbers()
        if _key(text) in numbers:
            return numbers[_key(text)]
        near = ", ".join(map(repr, get_close_matches(_key(text), numbers, n=5)))
        advice = f"near to it are {near}" if near else "captions lists the names"
        raise ValueError(f"text must be an emoji or the name of one, got {text!r}: {advice}")

    def _numbers(self) -> dict[str, int]:
        """The number of an emoji by all that it is called."""
        numbers: dict[str, int] = {}
        for texts in (self.characters, *self.captions.values()):
            for number, text in enumerate(texts):
                numbers.setdefault(_key(text), number)
        for number, aliases in enumerate(self.aliases):
            for text in aliases:
                numbers.setdefault(_key(text), number)
        return numbers

    def _rows(self, chosen: Tensor) -> Int64[Tensor, " M"]:
        n = len(self)
        if chosen.dtype == torch.bool:
            if chosen.shape != (n,):
                raise ValueError(f"a mask must have shape ({n},), got {tuple(chosen.shape)}")
            return chosen.nonzero()[:, 0].cpu()
        if chosen.numel() and (chosen.is_floating_point() or chosen.is_complex()):
            raise TypeError(f"chosen must be indices or a mask, got {chosen.dtype}: call .long()")
        if chosen.ndim != 1 or ((chosen < 0) | (chosen >= n)).any():
            got = f"shape {tuple(chosen.shape)}, values {chosen.unique().tolist()[:20]}"
            raise ValueError(f"chosen must hold indices from 0 to {n - 1}, got {got}")
        return chosen.long().cpu()


def load_emoji(size: int = 32, source: str = "auto") -> EmojiData:
    """2,387 emoji on white, 3 x size x size, with names in English and Korean; no flags.

    The pictures are Noto Color Emoji's, the names Unicode's (emoji.LICENSE.md, beside this
    module). They come with the course: `source` "auto" and "offline" are the same. Sizes are 8 to
    64; of the 64 that the file holds, smaller ones are made by a Lanczos filter.
    Raises TypeError or ValueError for another size, ValueError for another source.
    """
    if check_int("size", size, 8) > PIXELS:
        raise ValueError(f"size must be at most {PIXELS}, which the file holds, got {size}")
    check_choice("source", source, ("auto", "offline", "hub"))
    if source == "hub":
        wanted = "'auto' or 'offline', since emoji come with the course"
        raise ValueError(f"source must be {wanted}, got 'hub'")
    table = json.loads(NAMES.read_text(encoding="utf-8"))
    rows = table["emoji"]
    return EmojiData(
        images=_shrink(_sheet()[: len(rows)], size),
        labels=None,
        classes=(),
        source="offline",
        captions={language: tuple(row[language] for row in rows) for language in ("en", "ko")},
        characters=tuple(row["character"] for row in rows),
        aliases=tuple(tuple(row.get("aliases", ())) for row in rows),
        people=torch.tensor([row.get("people", NOBODY) for row in rows]),
        held_out=torch.tensor([row.get("held_out", 0) for row in rows]),
        kinds=tuple(table["kinds"]),
    )


@lru_cache(maxsize=1)
def _sheet() -> np.ndarray:
    """All cells of the sheet, uint8 (cells, 64, 64, 3)."""
    with Image.open(SHEET) as sheet:
        pixels = np.array(sheet.convert("RGB"))
    cells = pixels.reshape(-1, PIXELS, COLUMNS, PIXELS, 3).swapaxes(1, 2)
    return cells.reshape(-1, PIXELS, PIXELS, 3)


def _shrink(pictures: np.ndarray, size: int) -> UInt8[Tensor, "N 3 size size"]:
    """Copies, so that nobody writes on the sheet."""
    box, lanczos = (size, size), Image.Resampling.LANCZOS
    small = [np.array(Image.fromarray(picture).resize(box, lanczos)) for picture in pictures]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()


def _pick(values: tuple, numbers: list[int]) -> tuple:
    return tuple(values[number] for number in numbers)


def _key(text: str) -> str:
    """What two spellings of a name share: "Red Heart", ":red_heart:"; ❤ with and without U+FE0F."""
    text = unicodedata.normalize("NFC", text).replace("\ufe0f", "").replace("_", " ")
    return text.strip(" :").casefold()
