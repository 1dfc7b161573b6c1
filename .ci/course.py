"""The catalogue of the notebooks, `notebooks/course.toml`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"en": Path("notebooks"), "ko": Path("notebooks", "ko")}


@dataclass(frozen=True)
class Notebook:
    """One entry. `title` and `about` are by language, `widgets` says of each cell if it plays."""

    name: str
    unit: int
    title: dict[str, str]
    about: dict[str, str]
    exercises: str | None = None
    widgets: dict[str, bool] = field(default_factory=dict)
    training: dict | None = None

    def path(self, language: str = "en") -> Path:
        """The notebook's file, seen from the root of the repository."""
        return FOLDERS[language] / f"{self.name}.ipynb"


def read_course(root: Path = ROOT) -> list[Notebook]:
    """All entries, in the order of the course."""
    text = (root / FOLDERS["en"] / "course.toml").read_text(encoding="utf-8")
    return [Notebook(**entry) for entry in tomllib.loads(text)["notebook"]]
