"""Point every badge, link and installation address at the repository that pyproject.toml names.

The board of the speedrun is renewed, too, from its entries. `--check` writes nothing, lists what
would change and exits with 1 if anything would. Badges stand between two markers; elsewhere a
file's address follows its links to the course's own notebooks.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from course import FOLDERS, ROOT, read_course

# Of each README: its language, and the head of the table's first column.
TABLES = {"README.md": ("en", "Notebook"), "README_KR.md": ("ko", "노트북")}
LINKS = {
    "Colab": "https://colab.research.google.com/github/",
    "Kaggle": "https://kaggle.com/kernels/welcome?src=https://github.com/",
    "Gradient": "https://console.paperspace.com/github/",
    "SageMaker Studio Lab": "https://studiolab.sagemaker.aws/import/github/",
}
IMAGES = {
    "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
    "Kaggle": "https://kaggle.com/static/images/open-in-kaggle.svg",
    "Gradient": "https://assets.paperspace.io/img/gradient-badge.svg",
    "SageMaker Studio Lab": "https://studiolab.sagemaker.aws/studiolab.svg",
}
ADDRESS = re.compile(r'^Repository = "https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?"', re.M)
BOARD = re.compile(r"(<!-- board:start -->).*?(<!-- board:end -->)", re.DOTALL)
BLOCK = re.compile(r"(<!-- badges:start -->).*?(<!-- badges:end -->)", re.DOTALL)
OURS = re.compile(r"[/:]([\w.-]+/[\w.-]+)/blob/main/notebooks/(?:ko/)?\d\d_")


def badges(repo: str, path: str) -> list[str]:
    """Four badges, in markdown, each opening the notebook at `path` somewhere else."""
    place = f"{repo}/blob/main/{path}"
    return [f"[![Open in {host}]({IMAGES[host]})]({link}{place})" for host, link in LINKS.items()]


def table(root: Path, repo: str, readme: str) -> str:
    """The README's table of notebooks; one that is not translated yet is listed in English."""
    language, head = TABLES[readme]
    rows = [[head, *LINKS], ["---"] * (1 + len(LINKS))]
    for notebook in read_course(root):
        path = notebook.path(language)
        path = (path if (root / path).exists() else notebook.path()).as_posix()
        first = f"[{notebook.title[language]}]({path})<br>{notebook.about[language]}"
        rows.append([first, *badges(repo, path)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def board(language: str) -> str:
    """The board of the speedrun, from the entries that ship."""
    sys.path.insert(0, str(ROOT))
    from course_utils import set_language, speedrun

    set_language(language)
    try:
        return speedrun.board(language)
    finally:
        set_language("auto")


def pages(root: Path) -> list[Path]:
    """The READMEs and notebooks below `root`, in each language that is there."""
    places = [notebook.path(language) for language in FOLDERS for notebook in read_course(root)]
    return [root / place for place in (*TABLES, *places) if (root / place).exists()]


def address(root: Path) -> str:
    """OWNER/REPO, as pyproject.toml says; raises ValueError where it does not."""
    found = ADDRESS.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    if not found:
        raise ValueError('pyproject.toml needs: Repository = "https://github.com/OWNER/REPO"')
    return found[1]


def rewritten(root: Path, path: Path, text: str) -> str:
    """The text of the README or notebook at `path`, with the badges and addresses of here."""
    repo = address(root)
    for old in set(OURS.findall(text)):
        text = re.sub(rf"(?<=[/:]){re.escape(old)}(?![\w-])", repo, text)
    if path.name in TABLES:
        text = BLOCK.sub(rf"\1\n\n{table(root, repo, path.name)}\n\n\2", text)
        rows = board(TABLES[path.name][0]) if BOARD.search(text) else ""
        return BOARD.sub(lambda found: f"{found[1]}\n\n{rows}\n\n{found[2]}", text)
    row = " ".join(badges(repo, path.relative_to(root).as_posix()))
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source = BLOCK.sub(rf"\1\n\n{row}\n\n\2", "".join(cell["source"]))
        cell["source"] = source.splitlines(keepends=True)
    unchanged = notebook == json.loads(text)
    return text if unchanged else json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Rewrite or check every README and notebook below `root`; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only list what would change")
    check = parser.parse_args(arguments).check
    changed = False
    for path in pages(root):
        text = path.read_text(encoding="utf-8")
        new = rewritten(root, path, text)
        if new != text:
            changed = True
            print("would change" if check else "changed", path.relative_to(root).as_posix())
            if not check:
                path.write_text(new, encoding="utf-8", newline="\n")
    return int(check and changed)


if __name__ == "__main__":
    raise SystemExit(main())
