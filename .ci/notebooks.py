"""Runs notebooks and stores their outputs: `python .ci/notebooks.py [notebook …]`.

Each runs in place from a clean kernel in the cpu profile (COURSE_PROFILE overrides it). What
changes from run to run is stripped, and the notebook is signed with its code, so that a test can
tell whether the stored outputs belong to the stored source.
"""

import base64
import hashlib
import io
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parent.parent


def fingerprint(notebook: nbformat.NotebookNode) -> str:
    """The SHA-256 of all code, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def strip(notebook: nbformat.NotebookNode) -> None:
    """Drop timing, versions and widget states; make the pictures small."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = shrink(output.data["image/png"])
                output.data.pop("image/jpeg", None)  # the same once more, of PIL


def shrink(png: str) -> str:
    """A base64 PNG with a palette of 128 colours, about a quarter of the size."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def run(path: Path) -> None:
    """Run the notebook at `path` and write it back with its outputs and its signature."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=resources).execute()
    strip(notebook)
    notebook.metadata["executed"] = fingerprint(notebook)
    nbformat.write(notebook, path)
    size = path.stat().st_size / 1e3
    print(f"{path.name}: {time.perf_counter() - started:.0f} s, {size:.0f} kB", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("COURSE_PROFILE", "cpu")
    chosen = [Path(name).resolve() for name in sys.argv[1:]]
    for path in chosen or sorted((ROOT / "notebooks").rglob("*.ipynb")):
        run(path)
