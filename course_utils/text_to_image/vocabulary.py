"""Words to numbers: pairs of bytes learned by counting, and the tokenizer that is made of them."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import CLIPTokenizer

from course_utils.checks import check_int

Pair = tuple[str, str]
END = "</w>"  # of a word
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def words_of(text: str) -> list[str]:
    """The words of a text as CLIP divides it: letters, single digits, runs of other signs."""
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def byte_letters() -> dict[int, str]:
    """A visible letter for each of the 256 bytes, those that are visible first (GPT-2's table)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {b: chr(256 + i) for i, b in enumerate(others)}


BYTES = byte_letters()


def spell(word: str) -> list[str]:
    """The bytes of a word as letters, `</w>` at its end: `하트` is two syllables and six bytes."""
    letters = [BYTES[byte] for byte in word.encode()]
    return [*letters[:-1], letters[-1] + END]


def merge(pieces: Sequence[str], pair: Pair) -> list[str]:
    """The pieces of a word, with each occurrence of the pair made one piece, from the left."""
    merged = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def learn_merges(texts: Iterable[str], num_merges: int) -> list[Pair]:
    """Byte-pair encoding (Sennrich et al. 2016, alg. 1): the most frequent pair, time and again.

    Pairs never cross words. Of equally frequent pairs the last in the alphabet is taken; no pair
    that occurs only once is. After a merge only the words that hold the pair are counted anew.
    Raises ValueError for a number of merges below 0.
    """
    check_int("num_merges", num_merges, 0)
    frequency = Counter(word for text in texts for word in words_of(text))
    pieces = {word: spell(word) for word in frequency}
    counts, places = Counter(), defaultdict(set)

    def count(word: str, sign: int) -> None:
        for pair in pairwise(pieces[word]):
            counts[pair] += sign * frequency[word]
            places[pair].add(word)

    for word in pieces:
        count(word, +1)
    merges = []
    while len(merges) < num_merges and (most := max(counts.values(), default=0)) > 1:
        best = max(pair for pair, times in counts.items() if times == most)
        merges.append(best)
        for word in places.pop(best):
            count(word, -1)
            pieces[word] = merge(pieces[word], best)
            count(word, +1)
        del counts[best]
    return merges


def vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """The number of each token: bytes, bytes at a word's end, merged pairs, two special ones."""
    letters = BYTES.values()
    tokens = [*letters, *(letter + END for letter in letters), *map("".join, merges), *SPECIAL]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def make_tokenizer(merges: Sequence[Pair], max_length: int = 24) -> CLIPTokenizer:
    """The tokenizer of a text encoder with `max_length` places; it reads bytes, so any language.

    Raises ValueError for a max_length below 3: two places are for the start and the end.
    """
    check_int("max_length", max_length, 3)
    with TemporaryDirectory() as folder:
        lists = _write_lists(vocabulary(merges), merges, Path(folder))
        return CLIPTokenizer(*lists, model_max_length=max_length)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path | str) -> None:
    """Write a tokenizer so that transformers 4 (`vocab.json`, `merges.txt`) and 5 read it."""
    tokenizer.save_pretrained(folder)
    numbers = sorted(tokenizer.get_vocab().items(), key=lambda token: token[1])
    _write_lists(dict(numbers), merges_of(tokenizer), Path(folder))


def merges_of(tokenizer: CLIPTokenizer) -> list[Pair]:
    """The merges of a tokenizer, in the order in which they were learned."""
    ranks = getattr(tokenizer, "bpe_ranks", None)  # transformers 4
    if ranks is not None:
        return sorted(ranks, key=ranks.get)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    return [tuple(pair) for pair in model["merges"]]


def _write_lists(tokens: dict[str, int], merges: Iterable[Pair], folder: Path) -> tuple[str, str]:
    """CLIP's two files, and where they lie."""
    numbered, merged = folder / "vocab.json", folder / "merges.txt"
    numbered.write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    merged.write_text("\n".join(lines), encoding="utf-8")
    return str(numbered), str(merged)
