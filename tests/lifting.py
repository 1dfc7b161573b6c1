"""What a cell of a notebook defines, to be compared with what the package holds."""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
import torch

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def source(notebook: str, cell_id: str) -> str:
    """The source of one cell."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    return next(cell.source for cell in cells if cell.id == cell_id)


def lift(notebook: str, cell_id: str, **names) -> SimpleNamespace:
    """The functions and classes that one cell defines, which see torch and the names given."""
    tree = ast.parse(source(notebook, cell_id))
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    namespace = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, **names}
    exec(compile(tree, cell_id, "exec"), namespace)
    return SimpleNamespace(**namespace)
