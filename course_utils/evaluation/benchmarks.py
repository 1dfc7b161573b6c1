"""Results that ship with the course: what the benchmarks measured, for the notebooks to show."""

import json
from pathlib import Path

from course_utils.language import N_, _

RESULTS = Path(__file__).parents[1] / "results"
DESIGN_CHOICES, SAMPLERS = RESULTS / "design_choices.json", RESULTS / "samplers.json"
LADDER, FRESH_NOISE = RESULTS / "ladder.json", RESULTS / "fresh_noise.json"
GUIDANCE = RESULTS / "guidance.json"
SILHOUETTES, STEERING = RESULTS / "silhouettes.json", RESULTS / "steering.json"
FINETUNING, COMPOSING = RESULTS / "finetuning.json", RESULTS / "composing.json"
RUNGS = (
    *(N_("the toy"), N_("pixels from -1 to 1"), N_("Gaussian noise, as wide")),
    *(N_("Gaussian noise, width 1"), N_("told the time"), N_("average of the weights")),
    *(N_("falling learning rate"), N_("target: velocity"), N_("target: noise")),
    *(N_("target: noise, from 98 %"), N_("circle (cosine)"), N_("a better UNet"), N_("Muon")),
    *(N_("logit-normal timesteps"), N_("five times the steps"), N_("the best recipe")),
    *(N_("pixels from 0 to 1"), N_("uniform noise, as wide"), N_("half the noise")),
    *(N_("not told the time"), N_("no average of the weights"), N_("constant learning rate")),
    *(N_("target: clean picture"), N_("the toy's network"), N_("AdamW")),
    *(N_("uniform timesteps"), N_("a fifth of the steps")),
)
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
    """Each change to the toy, or away from the best recipe, with each seed, one row (a DataFrame).

    `half` is "added" or "taken", `rung` what was changed, in the learner's language. Written by
    tests/bench/ladder.py, whose machine, sample count and floor are in `.attrs`.
    """
    table = _table(LADDER)
    table["rung"] = table["rung"].map(_)
    return table


def fresh_noise():
    """Each network with each number of calls, with fresh noise (eta 1) and without, by seed.

    Written by tests/bench/fresh_noise.py, whose machine, sample count and floor are in `.attrs`.
    """
    return _table(FRESH_NOISE)


def guidance():
    """Digits and butterflies by class, guided in each way with each scale, by seed, one row each.

    `way` is "all levels", "interval" or "twin". Written by tests/bench/guidance.py, whose machine,
    sample count, interval and floors are in `.attrs`.
    """
    return _table(GUIDANCE)


def finetuning():
    """Butterflies that learn smileys: each method, seed and number of steps, one row (a DataFrame).

    `method` is "full", "lora", "lora off" (the same at strength 0) or "scratch"; `frechet` and
    `kernel` are distances to held-out smileys, `butterflies` the Fréchet distance to those. Written
    by tests/bench/finetuning.py, whose machine, sample count, floor and the distances before the
    first step are in `.attrs`.
    """
    return _table(FINETUNING)


def silhouettes():
    """How far drawn shapes overlap with the silhouettes asked for, each network and seed a row.

    Written by tests/bench/silhouettes.py, whose machine, sample count and floor are in `.attrs`.
    """
    return _table(SILHOUETTES)


def steering():
    """How near to a colour, or to symmetry, a loss steers at each scale, by seed (a DataFrame).

    Written by tests/bench/steering.py, whose machine, sample count and floor are in `.attrs`.
    """
    return _table(STEERING)


def composing():
    """What emoji the Stable Diffusion draws that were asked for, one row a task, judge and seed.

    `part` is "remembered", "wording" or "steps", single emoji, whose own picture is the nearest of
    all or among the five nearest; or a held-out part of the people, of whom the nearest one's kind,
    gender, tone and all three are right. Numbers are shares, those that a row has not are NaN.
    Written by tests/bench/composing.py, whose machine, sample counts, `ceiling` (true pictures
    through the autoencoder and back), `chance` and `twins` (identical pictures) are in `.attrs`.
    """
    return _table(COMPOSING)


def _table(file: Path):
    import pandas

    result = json.loads(file.read_text(encoding="utf-8"))
    table = pandas.DataFrame(result.pop("rows"))
    table.attrs = result
    return table


def summary(table):
    """For each choice the Fréchet distances of all networks that made it, their median and best.

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
        factor = _("sampler, {calls} calls").format(calls=calls)
        rows += _rows(factor, part, "sampler")
    return pandas.DataFrame(rows)


def _rows(factor: str, table, column: str) -> list[dict]:
    return [
        {
            "factor": factor,
            "choice": choice,
            "median": part.frechet.median().round(1),
            "best": part.frechet.min().round(1),
            "networks": len(part),
            "distances": sorted(part.frechet),
        }
        for choice, part in table.groupby(column)
    ]
