"""Shapes: how much of two masks is the same."""

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_overlap(a, b):
    """Masks (B, 1, H, W), true or false → intersection over union of each pair, (B,)."""
    both = (a & b).flatten(1).sum(dim=1)
    either = (a | b).flatten(1).sum(dim=1)
    return both / either


def _masks(draw):
    rows = ([1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 0, 0]), ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0])
    yield tuple(draw.tensor(*pair).reshape(2, 1, 2, 3) > 0 for pair in zip(*rows, strict=True))
    for shape in ((3, 1, 6, 6), (5, 1, 4, 7)):
        yield draw.uniform(*shape) < 0.6, draw.uniform(*shape) < 0.5


def _compared(score):
    """A slip: of masks (B, N), another number for each pair."""
    return lambda a, b: score(a.flatten(1), b.flatten(1))


overlap = Exercise(
    name="overlap",
    answer=my_overlap,
    cases=_masks,
    slips=(
        Slip(
            _compared(lambda a, b: (a & b).sum(1) / (a.sum(1) + b.sum(1))),
            N_(
                "The sum of both areas counts what they share twice, so that two equal masks get "
                "1/2. The union is `a | b`."
            ),
        ),
        Slip(
            lambda a, b: (a & b).sum() / (a | b).sum(),
            N_("The whole batch as one: each pair of pictures should have a number of its own."),
        ),
        Slip(
            _compared(lambda a, b: (a == b).float().mean(1)),
            N_(
                "The share of pixels that agree: with small shapes, two that never touch agree on "
                "most of the empty paper. Divide by the union instead of all pixels."
            ),
        ),
        Slip(
            _compared(lambda a, b: 2 * (a & b).sum(1) / (a.sum(1) + b.sum(1))),
            N_("That is Dice's number, a relative which is always larger. Divide by the union."),
        ),
        Slip(
            _compared(lambda a, b: (a & b).sum(1) / a.sum(1)),
            N_("Divided by the first mask: then a second one that is all true would be perfect."),
        ),
    ),
    hints=(
        N_("Both at once is `a & b`, at least one of them `a | b`."),
        N_("Count them for each picture: `.flatten(1).sum(dim=1)`."),
        N_("Divide the first by the second."),
    ),
    why=N_(
        "Inside both, divided by inside any: too large a shape is punished as much as too small a "
        "one. The empty paper around does not count at all."
    ),
    notice=N_(
        "1 is the same shape, 0 none in common. Always say what chance gives: two butterflies that "
        "have nothing to do with each other overlap as well."
    ),
)
