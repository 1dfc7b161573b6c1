"""What a translator sees of a page: its paragraphs, and the comments and strings of its code.

The rest of a translated page is the original's: formulas, commands, and the code itself.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

# Badges, the board, fenced code and formulas of their own are nobody's to translate.
KEPT = re.compile(r"<!-- (badges|board):start -->.*?<!-- \1:end -->|```.*?```|\$\$.*?\$\$", re.S)
PARAGRAPH = re.compile(r"\S.*?(?=\n\s*\n|\s*\Z)", re.S)
MAGIC = re.compile(r"(?m)^[ \t]*[%!].*$")  # lines for IPython, which are no Python
QUOTES = re.compile(r"\w*(\"\"\"|'''|\"|')")
FIELD = re.compile(r"\{[^{}]*\}")
WORD = re.compile(r"[^\W\d_]{2}")
# From Python 3.12 on an f-string is several tokens.
FSTRING_START = getattr(tokenize, "FSTRING_START", None)
FSTRING_END = getattr(tokenize, "FSTRING_END", None)


class Piece(NamedTuple):
    """A stretch of a page that is translated; `context` tells equal strings apart."""

    start: int
    end: int
    text: str
    context: str | None = None


def in_prose(markdown: str) -> Iterator[Piece]:
    """The paragraphs, lists and tables: what stands between blank lines."""
    hidden = KEPT.sub(lambda found: re.sub(r".", "\n", found[0]), markdown)
    for found in PARAGRAPH.finditer(hidden):
        if WORD.search(found[0]):
            yield Piece(*found.span(), found[0])


def in_code(source: str, context: str) -> Iterator[Piece]:
    """The comments that are no code themselves, and the strings with words in them."""
    for start, end in literals(source):
        text = source[start:end]
        if text.startswith("#"):
            words = text.lstrip("# ")
            if WORD.search(words) and not _is_code(words):
                yield Piece(end - len(words), end, words)
        else:
            quotes = QUOTES.match(text)
            start, end = start + quotes.end(), end - len(quotes[1])
            if _has_words(source[start:end]):
                yield Piece(start, end, source[start:end], context)


def replaced(text: str, pieces: Iterable[Piece], translate: Callable[[Piece], str]) -> str:
    """The text with each piece translated."""
    for piece in sorted(pieces, reverse=True):
        text = text[: piece.start] + translate(piece) + text[piece.end :]
    return text


def literals(source: str) -> Iterator[tuple[int, int]]:
    """Where the comments and strings stand; what is inside of an f-string belongs to it."""
    blank = MAGIC.sub(lambda line: " " * len(line[0]), source)
    lines = [0, *(end.end() for end in re.finditer("\n", blank))]
    outer = []
    for token in tokenize.generate_tokens(io.StringIO(blank).readline):
        if token.type == FSTRING_START:
            outer.append(token)
        first = outer.pop() if token.type == FSTRING_END else token
        if not outer and token.type in (tokenize.COMMENT, tokenize.STRING, FSTRING_END):
            yield tuple(lines[row - 1] + column for row, column in (first.start, token.end))


def _is_code(comment: str) -> bool:
    try:
        ast.parse(comment)
    except SyntaxError:
        return False
    return bool(re.search(r"[(\[.=]", comment))


def _has_words(string: str) -> bool:
    """Several words or one, but no name: `digits-32`, `x_t`, `%.1f`."""
    bare = FIELD.sub("", string).strip(" ,.:;?!()")
    return bool(WORD.search(bare)) and (" " in bare or bare.replace("-", "").isalpha())
