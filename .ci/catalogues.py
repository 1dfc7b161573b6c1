"""Catalogues of translations: gettext's PO files, and what is amiss in them."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog, Message, mofile, pofile
from pieces import FIELD

KOREAN_PATH = re.compile(r"/ko\b|\bko/|\.\./|_KR\b")  # how the Korean edition's paths differ
NEWLINE = re.compile("\n")
MARKUP = re.compile(r"(?m)^ *(?:#+ |- |\d+\. |\||<\w+)")  # headings, lists, tables, HTML
FORMULA = re.compile(r"\$[^$\n]+\$")
CODE_OR_LINK = re.compile(r"`([^`\n]+)`|(\]\((?!#)[^)]+\))")


def new_catalog(name: str) -> Catalog:
    """An empty catalogue with a header that says whose it is."""
    names = {"project": "diffusion-course", "version": "ko", "language_team": "Korean"}
    people = {"last_translator": "the course", "msgid_bugs_address": "CONTRIBUTING.md"}
    return Catalog("ko", header_comment=f"# {name} in Korean.", fuzzy=False, **names, **people)


def read_catalog(path: Path) -> Catalog:
    """The catalogue in a .po file; an empty one where there is none."""
    if not path.exists():
        return new_catalog(path.stem)
    with path.open("rb") as file:
        catalog = pofile.read_po(file, locale="ko", ignore_obsolete=True)
    for message in catalog:  # babel takes `#| msgid "…"`, the English before, for comments
        previous = " ".join(line for line in message.user_comments if line.startswith("|"))
        message.user_comments = [c for c in message.user_comments if not c.startswith("|")]
        words = re.findall(r'"(?:\\.|[^"\\])*"', previous.partition("msgid ")[2])
        message.previous_id = ["".join(map(pofile.unescape, words))] if words else []
    return catalog


def write_catalog(catalog: Catalog, path: Path) -> None:
    """One line a paragraph: where babel wraps, it breaks `#|` in the middle of a string."""
    with path.open("wb") as file:
        options = {"ignore_obsolete": True, "include_previous": True}
        pofile.write_po(file, catalog, width=1_000_000, **options)


def compile_catalog(catalog: Catalog, path: Path) -> None:
    """The .mo file, which the package reads."""
    with path.open("wb") as file:
        mofile.write_mo(file, catalog)


def is_compiled(catalog: Catalog, path: Path) -> bool:
    """Whether the .mo file holds the same translations."""
    with path.open("rb") as file:
        held = {message.id: message.string for message in mofile.read_mo(file) if message.id}
    return held == {message.id: message.string for message in catalog if is_done(message)}


def is_done(message: Message) -> bool:
    """Whether a translation is there, and is no mere guess."""
    return bool(message.id and message.string and not message.fuzzy)


def merge(held: Catalog, wanted: Catalog) -> None:
    """Hold what is wanted, translated as before; for other words, with a likely guess: fuzzy."""
    previous = {(m.id, m.context): m.previous_id for m in held if m.fuzzy}
    held.update(wanted, update_creation_date=False)
    for message in held:
        if message.fuzzy and not message.previous_id:
            message.previous_id = previous.get((message.id, message.context), [])
        message.flags -= {"python-format", "python-brace-format"}  # `flaws` looks closer
        if message.string == message.id:  # stays as it is, here as elsewhere
            message.flags.discard("fuzzy")


def problems_of(held: Catalog, wanted: Catalog) -> Iterator[str]:
    """What in `held` is stale, missing, wrong or unused, each with its place."""
    merge(held, wanted)
    for message in filter(lambda message: message.id, held):
        place = message.locations[0][0]
        if message.fuzzy:
            before = "".join(message.previous_id)
            yield f"stale: {place}\n- {before}\n+ {message.id}\n  {message.string}"
        elif not message.string:
            yield f"missing: {place}\n  {message.id}"
        else:
            yield from (f"wrong: {place}: {flaw}\n  {message.id}" for flaw in flaws(message))
    yield from (f"unused: {message.id}" for message in held.obsolete.values())


def flaws(message: Message) -> Iterator[str]:
    """What a translation has lost or gained: fields, lines, formulas, code, links."""
    english, korean = (KOREAN_PATH.sub("", text) for text in (message.id, message.string))
    patterns = {"fields": FIELD, "lines": NEWLINE, "markup": MARKUP}
    if not message.context and not message.locations[0][0].endswith(".py"):
        patterns["formulas"] = FORMULA  # in pictures no Hangul can stand beside them
    for what, pattern in patterns.items():
        if Counter(pattern.findall(english)) != Counter(pattern.findall(korean)):
            yield f"other {what} than in English"
    for one, other in ((english, korean), (korean, english)):
        marks = ["".join(mark) for mark in CODE_OR_LINK.findall(one)]
        yield from (f"{mark} stands in one language only" for mark in marks if mark not in other)
    if message.context and set("'\"\\") & set(korean) - set(english):
        yield "a quotation mark or backslash, which would end the string"
