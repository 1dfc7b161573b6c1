"""Makes the Korean pages from the English ones and the catalogues: `python .ci/translations.py`.

Lists what is stale, missing, unused or wrong, with its place; the exit status tells. `--update`
brings the catalogues up to date with the English, compiles the package's, and makes the pages.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import badges
import nbformat
from babel.messages import Catalog, extract
from catalogues import (
    compile_catalog,
    is_compiled,
    is_done,
    merge,
    new_catalog,
    problems_of,
    read_catalog,
    write_catalog,
)
from course import FOLDERS, ROOT, read_course
from pieces import Piece, in_code, in_prose, replaced

PACKAGE = Path("course_utils", "locale", "ko", "LC_MESSAGES", "course_utils.po")


class Page(NamedTuple):
    """A README or notebook: the English file, the Korean one, the words between them."""

    english: Path
    korean: Path
    catalogue: Path


def all_pages(root: Path) -> list[Page]:
    """The notebooks, and then the README, whose table says which are there."""
    files = [(notebook.path(), notebook.path("ko")) for notebook in read_course(root)]
    pages = [Page(*pair, pair[1].with_suffix(".po")) for pair in files]
    return [*pages, Page(Path("README.md"), Path("README_KR.md"), FOLDERS["ko"] / "README.po")]


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook, empty where there is none; a README as one with a cell for each section."""
    if not path.exists():
        return nbformat.v4.new_notebook()
    if path.suffix == ".ipynb":
        return nbformat.read(path, 4)
    sections = re.split(r"(?m)^(?=## )", path.read_text(encoding="utf-8"))
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_markdown_cell, sections)))
    for cell in notebook.cells:
        title = cell.source.splitlines()[0].lower()
        cell.id = re.sub(r"\W+", "-", title).strip("-")
    return notebook


def pieces_of(cell: nbformat.NotebookNode) -> Iterator[Piece]:
    """What of a cell is translated."""
    return in_code(cell.source, cell.id) if cell.cell_type == "code" else in_prose(cell.source)


def page_messages(root: Path, page: Page) -> Catalog:
    """What the English page says."""
    catalog = new_catalog(page.english.stem)
    for cell in read_notebook(root / page.english).cells:
        place = f"{page.english.name}#{cell.id}"
        for piece in pieces_of(cell):
            catalog.add(piece.text, locations=[(place, None)], context=piece.context)
    return catalog


def package_messages(root: Path) -> Catalog:
    """The texts for learners in the package, as gettext's tools find them."""
    catalog = new_catalog("course_utils")
    for path in sorted((root / "course_utils").rglob("*.py")):
        place = path.relative_to(root).as_posix()
        with path.open("rb") as file:
            found = extract.extract("python", file, keywords={"_": None, "N_": None})
            for _, message, comments, _ in found:
                catalog.add(message, locations=[(place, None)], auto_comments=comments)
    return catalog


def korean_of(catalog: Catalog, piece: Piece) -> str:
    """The translation of a piece of a page; what has none yet stays English."""
    message = catalog.get(piece.text, piece.context)
    return message.string if message and is_done(message) else piece.text


def make_page(root: Path, page: Page, catalog: Catalog) -> str:
    """The text of the Korean page; a notebook keeps the outputs that are stored in it."""
    made, stored = read_notebook(root / page.english), read_notebook(root / page.korean)
    runs = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in made.cells:
        cell.source = replaced(cell.source, pieces_of(cell), partial(korean_of, catalog))
        if cell.cell_type == "code":
            run = runs.get(cell.id, nbformat.v4.new_code_cell())
            cell.outputs, cell.execution_count = run.outputs, run.execution_count
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace('language = "auto"', 'language = "ko"')
    if page.korean.suffix == ".ipynb":
        made.metadata.pop("executed", None)
        made.metadata |= stored.metadata  # with its own signature
        text = nbformat.writes(made) + "\n"
    else:
        text = "".join(cell.source for cell in made.cells)
        text = re.sub(r"notebooks/(?=\d\d_)", "notebooks/ko/", text)
    return badges.rewritten(root, root / page.korean, text)


def page_problems(root: Path, page: Page, catalog: Catalog) -> Iterator[str]:
    """Where the Korean page isn't what the catalogue makes."""
    path = root / page.korean
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    made = make_page(root, page, catalog)
    if made != stored:
        lines = [lines_of(page, text) for text in (stored, made)]
        change = list(difflib.unified_diff(*lines, lineterm="", n=0))[2:]
        place = page.korean.as_posix()
        yield "\n".join([f"{place}: not as it is made; run with --update", *change])


def lines_of(page: Page, text: str) -> list[str]:
    """The text line by line; in a notebook each begins with the cell that it stands in."""
    if page.korean.suffix != ".ipynb" or not text:
        return text.splitlines()
    cells = nbformat.reads(text, 4).cells
    return [f"#{cell.id}: {line}" for cell in cells for line in cell.source.splitlines()]


def problems(root: Path = ROOT) -> Iterator[str]:
    """All that is to do, each with its place."""
    for page in all_pages(root):
        held = read_catalog(root / page.catalogue)
        amiss = list(problems_of(held, page_messages(root, page)))
        yield from amiss or page_problems(root, page, held)
    held = read_catalog(root / PACKAGE)
    if not is_compiled(held, (root / PACKAGE).with_suffix(".mo")):
        yield f"{PACKAGE.name} is not compiled: run with --update"
    yield from problems_of(held, package_messages(root))


def update(root: Path = ROOT) -> None:
    """Bring all catalogues up to date with the English, and make what follows from them."""
    for page in all_pages(root):
        held = read_catalog(root / page.catalogue)
        for other in all_pages(root):  # what is translated there is known here
            for message in read_catalog(root / other.catalogue):
                if message.id and not held.get(message.id, message.context):
                    held[message.id] = message
        merge(held, page_messages(root, page))
        write_catalog(held, root / page.catalogue)
        text = make_page(root, page, held)
        (root / page.korean).write_text(text, encoding="utf-8", newline="\n")
    held = read_catalog(root / PACKAGE)
    merge(held, package_messages(root))
    write_catalog(held, root / PACKAGE)
    compile_catalog(held, (root / PACKAGE).with_suffix(".mo"))


def main(words: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--update", action="store_true", help="follow the English")
    if options.parse_args(words).update:
        update()
    found = list(problems())
    print(*found, f"{len(found)} to do", sep="\n\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
