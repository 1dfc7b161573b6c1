"""A run's folder: nobody else writes to it, and what is in it fits. And how a run is stopped."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils.recipes import Options, Recipe, differences, load_recipe
from course_utils.runs.checkpoints import write_file
from course_utils.runs.scoreboard import RESULT
from course_utils.trained import RECIPE

CHECKPOINTS = "checkpoints"
STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make and lock the folder. Raises OSError where it can't be, or another run has locked it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise OSError(f"another run is training in {folder}: choose another folder") from None
    except OSError as error:
        raise OSError(f"can't write to {folder} ({error}): choose another --output-dir") from error
    with lock:
        yield


def check_folder(recipe: Recipe, options: Options) -> None:
    """Whether this run can begin in the folder, or go on there; a start that saved nothing does
    not count.

    Raises FileExistsError where something else is there, ValueError for another recipe.
    """
    folder, note = options.output_dir, options.output_dir / RECIPE
    if not note.exists():
        if found := [path.name for path in folder.iterdir() if not path.name.startswith(".")]:
            raise FileExistsError(f"{folder} holds {found[0]!r}, no run: choose an empty folder")
    elif not any((folder / CHECKPOINTS).glob("step-*")) and not (folder / RESULT).exists():
        return
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


def leave_recipe(recipe: Recipe, options: Options) -> None:
    """Write into the folder what is trained there; a run that goes on has it already."""
    table = {"seed": options.seed, "recipe": asdict(recipe)}
    write_file(options.output_dir / RECIPE, json.dumps(table, indent=1).encode())


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
