"""What the Korean pages still have to follow: `python .ci/translations.py`.

Lists each Korean cell and README section whose English changed since it was translated, with the
English difference, each code cell that does not match, and each message that the catalogue lacks;
the exit status tells. `--accept PLACE …` (or `all`) says that the Korean there is right again.
`--messages` brings the catalogue up to date with the package's texts, and compiles it.
"""

import argparse
import ast
import difflib
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from babel.messages import Catalog, extract, mofile, pofile
from course import ROOT, read_course

LOCALE = Path("course_utils") / "locale" / "ko" / "LC_MESSAGES"
MEMORY = Path("course_utils") / "locale" / "ko" / "english.json"  # what was translated
STAMP = re.compile(r"<!-- translates: (\w+) -->\n?")
HANGUL = re.compile(r"[가-힣]")


class Text(NamedTuple):
    """An English text, and the fingerprint of the English that its Korean translates."""

    place: str
    english: str
    fingerprint: str | None  # None: there is no Korean

    @property
    def is_stale(self) -> bool:
        return self.fingerprint != fingerprint(self.english)


def fingerprint(english: str) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(english.encode()).hexdigest()[:12]


def notebook_names(root: Path) -> list[str]:
    return [f"{notebook.name}.ipynb" for notebook in read_course(root)]


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook, or an empty one where there is none."""
    return nbformat.read(path, as_version=4) if path.exists() else nbformat.v4.new_notebook()


def all_texts(root: Path) -> Iterator[Text]:
    """Every prose cell and every README section."""
    for name in notebook_names(root):
        korean = {c.id: c for c in read_notebook(root / "notebooks" / "ko" / name).cells}
        for cell in read_notebook(root / "notebooks" / name).cells:
            if cell.cell_type == "markdown":
                there = korean.get(cell.id)
                stamp = there.metadata.get("translates") if there else None
                yield Text(f"{name}#{cell.id}", without_badges(cell.source), stamp)
    pages = [(root / page).read_text(encoding="utf-8") for page in ("README.md", "README_KR.md")]
    english, korean = (re.split(r"(?m)^(?=## )", page) for page in pages)
    korean += [""] * (len(english) - len(korean))
    for section, translated in zip(english, korean, strict=False):
        found = STAMP.search(translated)
        title = section.splitlines()[0].strip("# ")
        yield Text(f"README.md#{title}", without_badges(section), found and found[1])


def without_badges(text: str) -> str:
    """A fork's address is no change of the text."""
    return re.sub(r"<!-- badges:start -->.*?<!-- badges:end -->", "", text, flags=re.S)


def code_problems(root: Path) -> Iterator[str]:
    """Cells that are missing, out of order, or differ in more than words for people."""
    for name in notebook_names(root):
        english = read_notebook(root / "notebooks" / name).cells
        korean = read_notebook(root / "notebooks" / "ko" / name).cells
        if [cell.id for cell in english] != [cell.id for cell in korean]:
            lines = difflib.unified_diff(
                [c.id for c in english], [c.id for c in korean], lineterm=""
            )
            yield f"ko/{name}: other cells than in English:\n" + "\n".join(lines)
            continue
        for ours, theirs in zip(english, korean, strict=True):
            if ours.cell_type == "code" and not same_code(ours.source, theirs.source):
                yield f"ko/{name}#{ours.id}: the code differs from the English cell's"


def same_code(english: str, korean: str) -> bool:
    """The same but for comments and for strings with Hangul, whose fields must be the same.

    The setting `language` may differ, too. Raises SyntaxError for what is no Python.
    """
    if len(english.splitlines()) != len(korean.splitlines()):
        return False
    trees = [
        ast.parse(re.sub(r"(?m)^( *)%(.*)$", r"\1_ = '''%\2'''", s)) for s in (english, korean)
    ]
    return _same(*trees)


def _same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, ast.JoinedStr) and any(map(_is_korean, b.values)):
        return _fields(a) == _fields(b)
    if isinstance(a, ast.Constant) and (_is_korean(b) or "language" in (a.value, b.value)):
        return isinstance(a.value, str)
    if isinstance(a, ast.Assign) and ast.unparse(a.targets[0]) == "language":
        return ast.unparse(b.targets[0]) == "language"
    if isinstance(a, ast.AST):
        return all(_same(getattr(a, name, None), getattr(b, name, None)) for name in a._fields)
    return a == b


def _is_korean(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Constant) and isinstance(value, str) and bool(HANGUL.search(value))


def _fields(node: ast.JoinedStr) -> Counter:
    return Counter(ast.dump(part) for part in node.values if isinstance(part, ast.FormattedValue))


def wanted_messages(root: Path) -> Catalog:
    """The texts for learners in the package, as gettext's tools find them."""
    catalog = Catalog(locale="ko", project="diffusion-course", fuzzy=False)
    for path in sorted((root / "course_utils").rglob("*.py")):
        with path.open("rb") as file:
            found = extract.extract("python", file, keywords={"_": None, "N_": None})
            for line, message, comments, _ in found:
                place = (path.relative_to(root).as_posix(), line)
                catalog.add(message, locations=[place], auto_comments=comments)
    return catalog


def message_problems(root: Path) -> Iterator[str]:
    """Messages without a translation, with other fields than in English, or no longer used."""
    held, wanted = read_catalog(root), wanted_messages(root)
    for message in wanted:
        if not message.id:
            continue
        found = held.get(message.id)
        if found is None or not found.string or found.fuzzy:
            yield f"{message.locations[0][0]}: no translation of {message.id!r}"
        elif _placeholders(message.id) != _placeholders(found.string):
            yield f"{message.locations[0][0]}: other fields in the translation of {message.id!r}"
    yield from (f"no longer used: {m.id!r}" for m in held if m.id and wanted.get(m.id) is None)
    compiled = root / LOCALE / "course_utils.mo"
    if not compiled.exists() or compiled.read_bytes() != compile_catalog(held):
        yield "the compiled catalogue is not that of the .po file: run with --messages"


def _placeholders(message: str) -> Counter:
    return Counter(re.findall(r"\{\w*[^{}]*\}", message))


def read_catalog(root: Path) -> Catalog:
    """The catalogue with the translations, empty where there is none."""
    path = root / LOCALE / "course_utils.po"
    if not path.exists():
        return Catalog(locale="ko", fuzzy=False)
    with path.open("rb") as file:
        return pofile.read_po(file, locale="ko")


def compile_catalog(catalog: Catalog) -> bytes:
    """The .mo file of a catalogue."""
    file = io.BytesIO()
    mofile.write_mo(file, catalog)
    return file.getvalue()


def renew_messages(root: Path) -> None:
    """Add new messages to the catalogue, drop unused ones, compile it."""
    held, wanted = read_catalog(root), wanted_messages(root)
    for message in wanted:
        if message.id and (known := held.get(message.id)):
            message.string = known.string
    folder = root / LOCALE
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "course_utils.po").open("wb") as file:
        pofile.write_po(file, wanted, width=100, sort_output=False, include_lineno=False)
    (folder / "course_utils.mo").write_bytes(compile_catalog(read_catalog(root)))


def accept(root: Path, places: list[str]) -> None:
    """Stamp the Korean at these places with the English of now."""
    path = root / MEMORY
    memory = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    texts = {t.place: t for t in all_texts(root)}
    if unknown := set(places) - {"all", *texts}:
        raise SystemExit(f"no such place: {', '.join(sorted(unknown))}")
    chosen = [t for t in texts.values() if t.place in places or "all" in places]
    for name in notebook_names(root):
        stamps = {t.place: fingerprint(t.english) for t in chosen}
        korean = root / "notebooks" / "ko" / name
        notebook = read_notebook(korean)
        for cell in notebook.cells:
            if stamp := stamps.get(f"{name}#{cell.id}"):
                cell.metadata["translates"] = stamp
        if notebook.cells:
            nbformat.write(notebook, korean)
    page = root / "README_KR.md"
    sections = re.split(r"(?m)^(?=## )", page.read_text(encoding="utf-8"))
    titles = [t for t in texts if t.startswith("README.md#")]
    for number, title in enumerate(titles):
        if texts[title] in chosen and number < len(sections):
            head, _, body = STAMP.sub("", sections[number]).partition("\n")
            stamp = f"<!-- translates: {fingerprint(texts[title].english)} -->"
            sections[number] = f"{head}\n{stamp}\n{body}"
    page.write_text("".join(sections), encoding="utf-8")
    memory |= {t.place: t.english for t in chosen}
    kept = {place: memory[place] for place in sorted(memory) if place in texts}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def difference(root: Path, text: Text) -> str:
    """What changed in the English since it was translated."""
    path = root / MEMORY
    memory = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    old = memory.get(text.place, "").splitlines()
    return "\n".join(difflib.unified_diff(old, text.english.splitlines(), lineterm="", n=0))


def problems(root: Path = ROOT) -> list[str]:
    """All that is not as the English is, each with its place."""
    stale = [f"{t.place}\n{difference(root, t)}" for t in all_texts(root) if t.is_stale]
    return [*stale, *code_problems(root), *message_problems(root)]


def main(words: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--accept", nargs="+", metavar="PLACE", default=[])
    options.add_argument("--messages", action="store_true")
    args = options.parse_args(words)
    if args.messages:
        renew_messages(ROOT)
    if args.accept:
        accept(ROOT, args.accept)
    found = problems()
    print(*found, f"{len(found)} to do", sep="\n\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
