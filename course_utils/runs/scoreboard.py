"""Two tables for people: what recipes will cost, and what came of them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas

from course_utils.recipes import Recipe
from course_utils.runs.cost import make_plan, matmul_rate

SCOREBOARD = Path(__file__).parents[1] / "results" / "scoreboard"
RESULT = "result.json"  # in a run's folder


def plans(recipes: Mapping[str, Recipe]) -> str:
    """A line for each recipe; seconds are estimated for the machine that asks."""
    rate, rows = matmul_rate(), []
    for name, recipe in recipes.items():
        plan = make_plan(recipe, rate)
        rows.append(
            {
                "recipe": name,
                "what": recipe.title,
                "steps": recipe.training.max_steps or "-",
                "batch": recipe.training.batch_size,
                "parameters": f"{plan.num_parameters:,}",
                "GFLOP/step": f"{plan.flops_per_step / 1e9:,.0f}",
                "time here, roughly": _duration(plan.seconds),
            }
        )
    head = f"On this machine, {rate / 1e9:,.0f} GFLOP/s in a large matrix product:"
    return f"{head}\n{pandas.DataFrame(rows).to_string(index=False)}"


def scoreboard(runs: Iterable[Path] = ()) -> str:
    """The results that ship and those of `runs` (folders or files), the best use of compute first.

    Quality is the floor over the Fréchet distance: 1 is as near to real pictures as real ones.
    Raises FileNotFoundError where a run has no result, ValueError where it is none.
    """
    files = [*sorted(SCOREBOARD.glob("*.json")), *map(_result_file, runs)]
    if not files:
        return "No results yet: train by a recipe, and pass its folder"
    table = pandas.DataFrame([_row(path) for path in files])
    table = table.sort_values("quality/PFLOP", ascending=False, na_position="last")
    return table.to_string(index=False, float_format=lambda number: f"{number:.3g}")


def _result_file(run: Path) -> Path:
    path = run / RESULT if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {RESULT}: only a finished run does")
    return path


def _row(path: Path) -> dict:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        distance, floor = result.get("frechet"), result.get("frechet_floor")
        quality, work = (floor / distance if distance else None), result["flops"] / 1e15
        return {
            "recipe": result["recipe"],
            "pictures": f"{result['num_pictures']:,} {result['data']}",
            "steps": result["steps"],
            "seconds": result["seconds"],
            "PFLOP": work,
            "Fréchet": distance,
            "floor": floor,
            "samples": result.get("num_samples"),
            "copies": result.get("copies"),
            "quality/PFLOP": quality / work if quality else None,
            "hardware": result["hardware"],
        }
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{path} is no result of a run ({error!r})") from error


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"
