"""A run's folder: nobody else writes to it, and what is in it fits. And how a run is stopped."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils.recipes import Options, Recipe, differences, load_recipe
from course_utils.recipes.build import RECIPE
from course_utils.runs.checkpoints import write_file

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """The folder is made, and nobody else trains in it; or OSError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise OSError(f"another run is training in {folder}: choose another folder") from None
    except OSError as error:
        raise OSError(f"can't write to {folder} ({error}): choose another --output-dir") from error
    with lock:
        yield


def prepare(recipe: Recipe, options: Options) -> None:
    """A new run leaves its recipe in the folder; one that goes on must bring the same.

    Raises FileExistsError where something else is there, ValueError for another recipe.
    """
    folder, note = options.output_dir, options.output_dir / RECIPE
    if not note.exists():
        if found := [path.name for path in folder.iterdir() if not path.name.startswith(".")]:
            raise FileExistsError(f"{folder} holds {found[0]!r}, no run: choose an empty folder")
        table = {"seed": options.seed, "recipe": asdict(recipe)}
        write_file(note, json.dumps(table, indent=1).encode())
    elif not options.resume:
        advice = "go on with it by --resume, or choose another --output-dir"
        raise FileExistsError(f"{folder} holds a run: {advice}")
    else:
        changed = differences(load_recipe(note), recipe)
        seed = json.loads(note.read_text(encoding="utf-8"))["seed"]
        if seed != options.seed:
            changed["seed"] = seed, options.seed
        if changed:
            lines = [f"{name} was {old!r}, is {new!r}" for name, (old, new) in changed.items()]
            raise ValueError(f"{folder} holds a run of another recipe: {', '.join(lines)}")


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Inside the block SIGINT and SIGTERM do no more than append their number to the list."""
    caught: list[int] = []
    before = {s: signal.signal(s, lambda number, _: caught.append(number)) for s in STOPPING}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
