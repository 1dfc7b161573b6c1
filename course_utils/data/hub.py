"""Columns of a Hub dataset, fetched by a child process that cannot outlive its own silence.

The Hub's clients retry for minutes, and no timeout of theirs covers every way to hang. So they run
in a process of their own, under a watchdog that ends it after SILENCE seconds without progress.
This file is also that process's script, hence only the standard library at the top.
"""

import faulthandler
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SILENCE = 4.0  # seconds without progress until the child is ended
IMPORTING = 60.0  # the same while it imports libraries: a cold disk is slow
LONGEST = 900.0  # seconds for everything: on a slower line, draw offline
BLOCK = 2**16  # bytes downloaded that count as progress
SETTINGS = {
    "HF_HUB_DISABLE_XET": "1",  # plain downloads: they report each block
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "PYTHONSAFEPATH": "1",  # this folder is no place to import from
}


def fetch(repo: str, split: str, columns: list[str], limit: int, progress: bool) -> dict[str, list]:
    """The first `limit` rows of the columns, pictures as encoded bytes; from the cache if it can.

    `progress` shows the Hub's own bars. Raises ConnectionError with the reason in one line.
    """
    command = [sys.executable, __file__, repo, split, ",".join(columns), str(limit)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    pipes["stderr"] = None if progress else subprocess.DEVNULL
    try:
        child = subprocess.run(command, env=os.environ | SETTINGS, timeout=LONGEST, **pipes)
    except subprocess.TimeoutExpired:
        raise ConnectionError(f"not done after {LONGEST:.0f} s") from None
    if child.returncode:
        reason = child.stdout.decode(errors="replace")
        raise ConnectionError(reason or f"no progress for {SILENCE:.0f} s")
    return pickle.loads(child.stdout)


def _find(repo: str) -> None:
    """Make sure that the dataset is cached, and then stay offline, or else that the Hub answers."""
    from huggingface_hub import HfApi, constants

    cache = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")
    ready = Path(cache, repo.replace("/", "___")).glob("*/*/*/dataset_info.json")
    if any(not info.parent.name.endswith(".incomplete") for info in ready):
        constants.HF_HUB_OFFLINE = True
    elif constants.HF_HUB_OFFLINE:
        raise FileNotFoundError("HF_HUB_OFFLINE is set")
    else:
        HfApi().dataset_info(repo, timeout=3)


def _report(alive: Callable[..., object]) -> None:
    """Call `alive` at each answer of the Hub and at each step of a progress bar, shown or not."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session
    from tqdm import std

    def answered(response, *args, **kwargs):
        if response.status_code in (200, 206, 404):
            alive()

    def update(bar, n=1, step=std.tqdm.update):
        alive()
        return step(bar, n)

    session = get_session()  # of httpx, or of requests before version 1.0
    getattr(session, "event_hooks", getattr(session, "hooks", {}))["response"].append(answered)
    std.tqdm.update = update
    constants.DOWNLOAD_CHUNK_SIZE = BLOCK


def _read(repo: str, split: str, columns: list[str], limit: int) -> dict[str, list]:
    """What `fetch` returns."""
    import datasets

    datasets.config.USE_PARQUET_EXPORT = False  # one more server to wait for
    data = datasets.load_dataset(repo, split=split)
    if missing := set(columns) - set(data.column_names):
        raise ValueError(f"the dataset has no column {sorted(missing)}, only {data.column_names}")
    data = data.select_columns(columns).select(range(min(limit, len(data))))
    data = data.cast_column("image", datasets.Image(decode=False))
    rows = {name: list(data[name]) for name in columns}
    return rows | {"image": [cell["bytes"] for cell in rows["image"]]}


def _main(repo: str, split: str, columns: str, limit: str) -> None:
    """The child: the pickled rows on stdout, or one line that says why not and exit status 1."""
    answer, sys.stdout = sys.stdout, sys.stderr
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - the watchdog keeps it

    def alive(seconds: float = SILENCE) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)

    try:
        alive(IMPORTING)
        import huggingface_hub.hf_api  # noqa: F401

        _report(alive)
        alive()
        _find(repo)
        alive(IMPORTING)
        import datasets  # noqa: F401

        alive()
        rows = _read(repo, split, columns.split(","), int(limit))
    except Exception as error:
        name, lines = type(error).__name__, str(error).strip().splitlines()
        answer.write("it does not answer" if "Connect" in name else (lines or [name])[0][:200])
        answer.flush()
        os._exit(1)
    faulthandler.cancel_dump_traceback_later()
    pickle.dump(rows, answer.buffer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
