"""Datasets on the Hub, row by row: pictures pass the guards, and no code of a stranger's runs."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from course_utils.data.decoding import read_picture


class Rows:
    """The pictures of a Hub dataset, each 3 x size x size, and their classes where it has some.

    With `streaming` they are read over the network as they are needed. `skipped` counts those that
    were no usable picture. Raises ValueError where the dataset lacks a column, or `labelled`
    pictures have no class.
    """

    def __init__(
        self,
        repo: str,
        size: int,
        *,
        split: str = "train",
        column: str = "image",
        label_column: str | None = None,
        num_images: int | None = None,
        streaming: bool = False,
    ):
        import datasets

        datasets.config.HF_DATASETS_TRUST_REMOTE_CODE = False  # of versions that would ask
        rows = datasets.load_dataset(repo, split=split, streaming=streaming)
        columns = [column, label_column] if label_column else [column]
        known = rows.column_names or columns  # of some streams they are not known
        if missing := [name for name in columns if name not in known]:
            raise ValueError(
                f"the dataset {repo!r} has the columns {', '.join(known)}, not {missing[0]!r}: set "
                "data.column and data.label_column"
            )
        self.classes = _classes_of(rows.features, label_column)
        rows = rows.select_columns(columns).cast_column(column, datasets.Image(decode=False))
        if num_images is not None:
            rows = (
                rows.take(num_images) if streaming else rows.select(range(num_images)[: len(rows)])
            )
        self.rows = rows
        self.repo, self.size, self.column, self.label_column = repo, size, column, label_column
        self.skipped = 0

    def usable(self) -> Iterator[tuple[Tensor, int | None]]:
        """The pictures, uint8, and their classes, in the order of the dataset."""
        yield from filter(None, map(self.picture, self.rows))

    def picture(self, row: dict) -> tuple[Tensor, int | None] | None:
        """A row's picture, uint8, and its class; None for one that is not usable."""
        cell = row[self.column]
        content = cell.get("bytes") if isinstance(cell, dict) else None
        content = content or (_own_file(self.repo, cell["path"]) if cell else None)
        image = read_picture(content, self.size) if content else None
        if image is None:
            self.skipped += 1
            return None
        return image, row[self.label_column] if self.label_column else None


def _classes_of(features, label_column: str | None) -> tuple[str, ...]:
    """The names of a ClassLabel's classes; () where they are not named."""
    feature = (features or {}).get(label_column)
    return tuple(getattr(feature, "names", None) or ())


def _own_file(repo: str, path: str | None) -> bytes | None:
    """A picture that the dataset keeps as a file of its own: nothing else on this machine."""
    from datasets import config

    if path and path.startswith(f"hf://datasets/{repo}@"):
        import fsspec

        with fsspec.open(path, "rb") as file:
            return file.read()
    inside = path and Path(config.HF_CACHE_HOME).resolve() in Path(path).resolve().parents
    return Path(path).read_bytes() if inside else None
