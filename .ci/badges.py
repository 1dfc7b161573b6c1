"""Point every badge, link and installation address at the repository that pyproject.toml names.

`--check` writes nothing, lists what would change and exits with 1 if anything would. Badges stand
between two markers; elsewhere a file's address follows its links to the course's own notebooks.
"""

import argparse
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("01_introduction_to_diffusers.ipynb", "02_diffusion_models_from_scratch.ipynb")
# Of each README: where its notebooks lie, the head of the table's first column, their titles.
TABLES = {
    "README.md": ("", "Notebook", "Introduction to 🤗 Diffusers", "Diffusion Models from Scratch"),
    "README_KR.md": ("ko/", "노트북", "🤗 Diffusers 소개", "밑바닥부터 만드는 디퓨전 모델"),
}
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
PLACES = (*TABLES, "notebooks/*.ipynb", "notebooks/ko/*.ipynb")
ADDRESS = re.compile(r'^Repository = "https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?"', re.M)
BLOCK = re.compile(r"(<!-- badges:start -->).*?(<!-- badges:end -->)", re.DOTALL)
OURS = re.compile(r"[/:]([\w.-]+/[\w.-]+)/blob/main/notebooks/(?:ko/)?0[12]_")


def badges(repo: str, path: str) -> list[str]:
    """Four badges, in markdown, each opening the notebook at `path` somewhere else."""
    place = f"{repo}/blob/main/{path}"
    return [f"[![Open in {host}]({IMAGES[host]})]({link}{place})" for host, link in LINKS.items()]


def table(root: Path, repo: str, readme: str) -> str:
    """The README's table of notebooks; one that is not translated yet is listed in English."""
    folder, head, *titles = TABLES[readme]
    rows = [[head, *LINKS], ["---"] * (1 + len(LINKS))]
    for title, name in zip(titles, NOTEBOOKS, strict=True):
        translated = (root / "notebooks" / folder / name).exists()
        path = f"notebooks/{folder if translated else ''}{name}"
        rows.append([f"[{title}]({path})", *badges(repo, path)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def rewritten(root: Path, repo: str, path: Path) -> str:
    """The text that the README or notebook at `path` should have."""
    text = path.read_text(encoding="utf-8")
    for old in set(OURS.findall(text)):
        text = re.sub(rf"(?<=[/:]){re.escape(old)}(?![\w-])", repo, text)
    if path.name in TABLES:
        return BLOCK.sub(rf"\1\n\n{table(root, repo, path.name)}\n\n\2", text)
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
    address = ADDRESS.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    if not address:
        parser.error('pyproject.toml needs: Repository = "https://github.com/OWNER/REPO"')
    changed = False
    for path in [path for pattern in PLACES for path in sorted(root.glob(pattern))]:
        new = rewritten(root, address[1], path)
        if new != path.read_text(encoding="utf-8"):
            changed = True
            print("would change" if check else "changed", path.relative_to(root).as_posix())
            if not check:
                path.write_text(new, encoding="utf-8", newline="\n")
    return int(check and changed)


if __name__ == "__main__":
    raise SystemExit(main())
