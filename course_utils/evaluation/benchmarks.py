"""Results that ship with the course: what the benchmarks measured, for the notebooks to show."""

import json
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"
DESIGN_CHOICES, SAMPLERS = RESULTS / "design_choices.json", RESULTS / "samplers.json"
LADDER = RESULTS / "ladder.json"
FACTORS = ("schedule", "target", "weighting", "timesteps")


def design_choices():
    """Each network of the laboratory and each way to draw from it, one row (a pandas DataFrame).

    Written by tests/bench/design_choices.py, whose machine and floor are in `.attrs`.
    """
    return _table(DESIGN_CHOICES)


def sampler_distances():
    """Each sampler with each number of network calls, one row (a pandas DataFrame).

    Written by tests/bench/samplers.py, whose machine, sample count and floor are in `.attrs`.
    """
    return _table(SAMPLERS)


def ladder():
    """Each rung of notebook 02's ladder with each seed, one row (a pandas DataFrame).

    Written by tests/bench/ladder.py, whose machine, sample count and floor are in `.attrs`.
    """
    return _table(LADDER)


def _table(file: Path):
    import pandas

    result = json.loads(file.read_text(encoding="utf-8"))
    table = pandas.DataFrame(result.pop("rows"))
    table.attrs = result
    return table


def summary(table):
    """For each choice the median and the best Fréchet distance of all networks that made it.

    Choices of training are compared with the average of the weights, order 2 and 20 calls;
    samplers, and the weights without their average, over the same networks. Only seed 0 counts.
    """
    import pandas

    table = table[table.seed == 0]
    usual = table[(table.sampler == "order 2") & (table.calls == 20)]
    tried_both = (
        usual[usual.ema].groupby(list(FACTORS)).filter(lambda part: part.optimizer.nunique() > 1)
    )
    rows = _rows("optimizer", tried_both, "optimizer")
    table, usual = (part[part.optimizer == "muon"] for part in (table, usual))
    for factor in FACTORS:
        rows += _rows(factor, usual[usual.ema], factor)
    rows += _rows("EMA", usual, "ema")
    for calls, part in table[table.ema].groupby("calls"):
        rows += _rows(f"sampler, {calls} calls", part, "sampler")
    return pandas.DataFrame(rows)


def _rows(factor: str, table, column: str) -> list[dict]:
    return [
        {
            "factor": factor,
            "choice": choice,
            "median": part.frechet.median().round(1),
            "best": part.frechet.min().round(1),
            "networks": len(part),
        }
        for choice, part in table.groupby(column)
    ]
