"""Holding out: combinations that training has not seen, of parts that it has."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.exercises.judge.trials import Trial
from course_utils.language import N_, _

FEWEST, MOST = 0.05, 0.3  # of the rows
NONE = N_("Nothing is held out, so nothing can be tested.")
ALL = N_("Everything is held out, and nothing is left to learn from.")
LEAK = N_(
    "Siblings leak: the same kind, gender and tone stands on both sides, so that the test asks for "
    "what was learned by heart. Decide for each *combination*, not for each picture."
)
MISSING = N_(
    "A kind, a gender or a tone is held out altogether, so that nobody could know it. Hold a "
    "combination out only where each of its three is left in another one."
)
TOO_FEW = N_("Less than 5% is held out: about 1 in 7 was asked for.")
TOO_MANY = N_("More than 30% is held out: about 1 in 7 was asked for.")
INVERTED = N_("The wrong way round: true are those that are held *out*.")


def broken_rule(people: Tensor, held: Tensor) -> str:
    """What is wrong with a mask (N,) of the rows of people (N, 3); "" where nothing is."""
    if not held.any() or held.all():
        return ALL if held.any() else NONE
    tests, training = (people[rows].unique(dim=0) for rows in (held, ~held))
    if len(torch.cat([tests, training]).unique(dim=0)) < len(tests) + len(training):
        return LEAK
    if not all((training[:, factor] == tests[:, factor, None]).any(1).all() for factor in range(3)):
        return MISSING
    share = held.double().mean().item()
    return TOO_FEW if share < FEWEST else TOO_MANY if share > MOST else ""


@dataclass(eq=False, kw_only=True)
class Split(Exercise):
    """A function `(people (N, 3), generator) → (N,)`: many masks are right, all keep the rules."""

    def expect(self, arguments: tuple) -> Trial:
        """The people stand for what is expected."""
        return Trial(arguments[0])

    def difference(self, expected: Tensor, got: Any) -> str:
        """Which rule the mask breaks, in words; "" where it keeps them all."""
        some = expected[:, 0] > 0
        if not isinstance(got, Tensor) or not _of_one_kind(some, got):
            return super().difference(some, got)
        broken = broken_rule(expected, got)
        if broken and not broken_rule(expected, ~got):
            return _(INVERTED)
        return _(broken) if broken else ""

    def describe_expected(self, value: Tensor) -> str:
        """Of what shape it is."""
        return _("a mask, shape {shape}, true for about 1 in 7").format(shape=(len(value),))


def _of_one_kind(x, y):
    return (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device)


def my_split(people, generator):
    """people (N, 3): kind, gender, tone → bool (N,): new combinations of known parts, 1 in 7."""
    combinations, which = people.unique(dim=0, return_inverse=True)
    held = torch.zeros(len(combinations), dtype=torch.bool, device=people.device)
    order = torch.randperm(len(held), generator=generator, device=people.device)
    for i in order.tolist():
        held[i] = True
        known = (combinations[~held] == combinations[i]).any(dim=0).all()
        held[i] = known and held.sum() <= len(held) / 7
    return held[which]


def _crowds(draw):
    """All combinations and some kinds that exist in one only; half of them in two pictures."""
    for kinds in (20, 30):
        sizes = (kinds, 2, 5)
        full = torch.cartesian_prod(*(torch.arange(size, device=draw.device) for size in sizes))
        rare = torch.stack([draw.integers(0, size, 8) for size in sizes], dim=1)
        rare[:, 0] = kinds + torch.arange(8, device=draw.device)
        once = torch.cat([full, rare])
        people = torch.cat([once, once[draw.uniform(len(once)) < 0.5]])
        yield people[draw.uniform(len(people)).argsort()], draw.generator()


def _random_pictures(people, generator):
    return torch.rand(len(people), generator=generator, device=people.device) < 1 / 7


def _one_combination(people, generator):
    return (people == people.mode(dim=0).values).all(dim=1)


fair_split = Split(
    name="fair_split",
    answer=my_split,
    cases=_crowds,
    slips=(
        Slip(_random_pictures, LEAK),
        Slip(lambda people, generator: people[:, 0] == people[0, 0], MISSING),
        Slip(lambda people, generator: people[:, 0] < 0, NONE),
        Slip(lambda people, generator: people[:, 0] >= 0, ALL),
        Slip(_one_combination, TOO_FEW),
        Slip(lambda people, generator: ~my_split(people, generator), INVERTED),
    ),
    hints=(
        N_(
            "`people.unique(dim=0, return_inverse=True)`: the combinations, and which each row has."
        ),
        N_("Walk through the combinations in random order, `torch.randperm`, and hold one out."),
        N_(
            "Put it back if one of its three values is left nowhere else, or if it is one too many."
        ),
    ),
    why=N_(
        "The whole combination goes, with all of its pictures, so what is tested has never been "
        "seen. Each of its parts stays, so that a model that composes can know what to draw."
    ),
    notice=N_(
        "Who splits picture by picture measures memory. The held-out people of the emoji keep the "
        "same rules."
    ),
)
