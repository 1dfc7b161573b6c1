"""The board of the speedrun: entries read, checked and ranked, and the table in README."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from course_utils.language import _
from course_utils.recipes import Recipe, parse_recipe
from course_utils.speedrun.tracks import COPIES, RESULTS, SEEDS, TRACKS, Track

NUMBERS = ("seconds", "gflops", "tflop", "parameters", "calls")
JUDGED = ("frechet", "floor", "kernel", "second", "copies")


def read_entries(folder: Path = RESULTS) -> list[dict]:
    """All entries of the board, each checked. Raises ValueError with the name of a bad file."""
    entries = []
    for path in sorted(folder.glob("*.json")):
        try:
            entries.append(check_entry(json.loads(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    return entries


def check_entry(entry: dict) -> dict:
    """The entry itself. Raises ValueError, with the reason, where the rules do not allow it.

    An entry without a recipe is history, from before there were recipes: it is never ranked first.
    """
    try:
        track = TRACKS.get(entry["track"])
        if track is None:
            raise ValueError(f"no track {entry['track']!r}: choose one of {', '.join(TRACKS)}")
        _check_terms(track, entry)
        if entry["recipe"] is not None:
            track.check_recipe(parse_recipe(entry["recipe"]))
        for run in entry["runs"]:
            _check_run(track, run)
        _line(track, entry, "en")  # all that the board shows is there
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"no entry of the speedrun ({error!r}): let the command write it"
        ) from error
    return entry


def _check_terms(track: Track, entry: dict) -> None:
    seeds = [run["seed"] for run in entry["runs"]]
    if seeds != list(SEEDS):
        raise ValueError(f"seeds must be {list(SEEDS)}, got {seeds}: run all of them, and no other")
    terms = {
        "evaluator": track.evaluator,
        "pictures": track.pictures,
        "num_samples": track.num_samples,
    }
    for name, ours in terms.items():
        if entry[name] != ours:
            raise ValueError(f"{name} must be {ours!r}, got {entry[name]!r}: judge anew")


def _check_run(track: Track, run: dict) -> None:
    for name in (*NUMBERS, *JUDGED):
        if not math.isfinite(run[name]) or (run[name] < 0 and name != "kernel"):
            raise ValueError(f"{name} must be a number of at least 0, got {run[name]}")
    work = run["seconds"] * run["gflops"] / 1e3
    if abs(work - run["tflop"]) > 0.01 * work + 0.02:
        raise ValueError(f"tflop must be seconds times gflops, {work:.2f}, got {run['tflop']}")
    track.check_numbers(run["parameters"], run["calls"], run["tflop"])
    if run["copies"] > COPIES:
        raise ValueError(f"{run['copies']:.0%} of the samples are copies, {COPIES:.0%} are allowed")


def average(entry: dict, name: str) -> float:
    """The mean of a number over the entry's runs."""
    return fmean(run[name] for run in entry["runs"])


def arrives(entry: dict) -> bool:
    """Whether the entry is ranked: by a recipe, and at the goal where the track has one."""
    goal = TRACKS[entry["track"]].goal
    return entry["recipe"] is not None and (goal is None or average(entry, "frechet") <= goal)


def ranked(track: Track, entries: Iterable[dict]) -> list[dict]:
    """The track's entries, the best first: by what the machine could have done in the time where
    there is a goal, else by distance; those that do not arrive come last, by distance."""
    number = "tflop" if track.goal is not None else "frechet"

    def place(entry: dict) -> tuple[bool, float]:
        there = arrives(entry)
        return not there, average(entry, number if there else "frechet")

    return sorted((each for each in entries if each["track"] == track.name), key=place)


def best_recipe(track: Track) -> Recipe:
    """The recipe of the track's best entry. Raises ValueError where there is none."""
    for entry in ranked(track, read_entries()):
        if arrives(entry):
            return parse_recipe(entry["recipe"])
    raise ValueError(f"track {track.name!r} has no entry yet: give --recipe")


def board(language: str = "en", entries: Iterable[dict] | None = None) -> str:
    """The tables of all tracks, in markdown."""
    entries = read_entries() if entries is None else list(entries)
    parts = []
    for track in TRACKS.values():
        rows = [_line(track, entry, language) for entry in ranked(track, entries)]
        if not rows:
            continue
        head = [_("Change"), _("TFLOP"), _("seconds"), _("Fréchet distance"), _("second network")]
        head += [_("parameters"), _("calls"), _("date"), _("hardware")]
        lines = [head, ["---"] * len(head), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**`{track.name}`** · {track.about[language]}\n\n{table}")
    return "\n\n".join(parts)


def _line(track: Track, entry: dict, language: str) -> list[str]:
    changed = entry["changed"].get(language) or entry["changed"]["en"]
    there = arrives(entry)
    work = f"{average(entry, 'tflop'):,.1f}"
    return [
        changed,
        f"**{work}**" if there and track.goal is not None else f"{work}{'' if there else ' ✗'}",
        f"{average(entry, 'seconds'):,.0f}",
        _with_spread(entry, "frechet"),
        _with_spread(entry, "second"),
        f"{average(entry, 'parameters'):,.0f}",
        f"{average(entry, 'calls'):,.0f}",
        entry["date"],
        f"{entry['hardware'].split(',')[0]}, {average(entry, 'gflops'):,.0f} GFLOP/s",
    ]


def _with_spread(entry: dict, name: str) -> str:
    """The mean, and the standard deviation over the seeds."""
    values = [run[name] for run in entry["runs"]]
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"
