"""Recipes read: those that ship, files of your own, the note in a run's folder."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from course_utils.recipes.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """The recipes that ship with the course."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of that name, or the one in that file: .toml, or a run's recipe.json.

    Raises FileNotFoundError for an unknown name, ValueError for anything wrong in the file, with
    its place.
    """
    path = Path(name) if Path(name).suffix in (".toml", ".json") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no recipe {str(name)!r}: choose one of {', '.join(recipe_names())}, "
            "or give the path of a .toml file"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return parse_recipe(json.loads(text)["recipe"])
        return parse_recipe(tomllib.loads(text))
    except ValueError as error:  # also of TOML, JSON and UTF-8
        raise ValueError(f"recipe {path.name}: {error}") from error


def parse_recipe(table: dict) -> Recipe:
    """The recipe that the nested tables describe.

    Raises ValueError that names each wrong field, its value and what is allowed.
    """
    try:
        return TypeAdapter(Recipe).validate_json(
            json.dumps({"model": None, "schedule": {}, **table})
        )
    except ValidationError as error:
        problems = (_problem(details) for details in error.errors(include_url=False))
        raise ValueError("; ".join(problems)) from None


def differences(ours: Recipe, theirs: Recipe) -> dict[str, tuple]:
    """The fields in which two recipes differ, as "section.field": (ours, theirs)."""
    ours, theirs = (_flat(asdict(recipe)) for recipe in (ours, theirs))
    pairs = {name: (ours.get(name), theirs.get(name)) for name in {**ours, **theirs}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(table: dict) -> dict:
    flat = {}
    for name, value in table.items():
        inner = value if isinstance(value, dict) else None
        flat |= {f"{name}.{k}": v for k, v in inner.items()} if inner else {name: value}
    return flat


def _problem(details: dict) -> str:
    """One line of pydantic's: where, what is wrong, what was given."""
    message = details["msg"].removeprefix("Value error, ")
    if not details["loc"]:
        return message
    where = ".".join(str(part) for part in details["loc"])
    given = "" if details["type"] in ("missing", "value_error") else f", got {details['input']!r}"
    return f"{where}: {message}{given}"
