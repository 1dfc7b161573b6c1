"""Labels: dropped in training, so that the model can be guided; one to go to, one to avoid."""

import torch
from torch import Tensor

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_drop(labels, dropped, num_classes):
    """labels (B,), whole numbers; dropped (B,), bool → new labels: num_classes means no label."""
    return torch.where(dropped, num_classes, labels)


def _labels(draw):
    dropped = torch.tensor([True, False, True, False], device=draw.device)
    yield torch.tensor([3, 0, 7, 4], device=draw.device), dropped, 10
    for count, num_classes in ((7, 12), (5, 3)):
        dropped = draw.uniform(count) < 0.4
        yield draw.integers(0, num_classes, count), dropped, num_classes


drop = Exercise(
    name="drop",
    answer=my_drop,
    cases=_labels,
    slips=(
        Slip(
            lambda labels, dropped, num_classes: torch.full_like(labels, num_classes),
            N_(
                "The whole batch lost its labels. Only the rows where `dropped` is true should: "
                "so each batch trains both, the told answer and the untold one."
            ),
        ),
        Slip(
            lambda labels, dropped, num_classes: num_classes if dropped else labels,
            N_(
                "`if` wants one truth, and `dropped` has one for each row: `torch.where` and "
                "`masked_fill` choose row by row."
            ),
        ),
        Slip(
            lambda labels, dropped, num_classes: torch.where(dropped, 0, labels),
            N_(
                "0 is a class of its own: on the digits, whoever says nothing would get zeros. "
                "The row *behind* the last class is free, number `num_classes`."
            ),
        ),
        Slip(
            lambda labels, dropped, num_classes: torch.where(dropped, num_classes - 1, labels),
            N_("`num_classes - 1` is the last class, since they are counted from 0. One further."),
        ),
        Slip(
            lambda labels, dropped, num_classes: torch.where(dropped, -1, labels),
            N_("-1 is no row of an embedding: `nn.Embedding` would stop with an error."),
        ),
        Slip(
            lambda labels, dropped, num_classes: torch.where(dropped, labels, num_classes),
            N_(
                "The wrong way round: those that should lose their label are the ones that keep it."
            ),
        ),
    ),
    hints=(
        N_("The table of labels has `num_classes + 1` rows. Which number has the last one?"),
        N_("`torch.where(condition, a, b)` takes `a` where the condition is true, else `b`."),
        N_("`torch.where(dropped, num_classes, labels)`"),
    ),
    why=N_(
        "What is dropped points to one row more, which learns to mean *any picture at all*. "
        "A new tensor comes back, because the caller's labels may be needed again."
    ),
    notice=N_(
        "One network is now two models, the told and the untold one. That is all that training "
        "has to do for guidance."
    ),
)


def my_guidance(told, untold, scale):
    """told, untold (B, C, H, W): answers with and without the label → the guided answer."""
    return untold + scale * (told - untold)


def _answers(draw):
    told, untold = draw.tensor(1, 2).reshape(1, 1, 1, 2), draw.tensor(0.5, 3).reshape(1, 1, 1, 2)
    yield told, untold, 3.0
    for shape, scale in (((3, 1, 2, 4), 1.5), ((2, 3, 4, 4), 0.0), ((2, 3, 4, 4), 1.0)):
        yield draw.normal(*shape), draw.normal(*shape), scale


guide = Exercise(
    name="guide",
    answer=my_guidance,
    cases=_answers,
    slips=(
        Slip(
            lambda told, untold, scale: told + scale * (untold - told),
            N_("Swapped: this leads *away* from what was told. At scale 1 `told` should be left."),
        ),
        Slip(
            lambda told, untold, scale: (1 + scale) * told - scale * untold,
            N_(
                "That is how the paper counts: its w is 0 where nothing is guided, so that "
                "scale = w + 1. Here, as in diffusers, scale 1 is the told answer, unguided."
            ),
        ),
        Slip(
            lambda told, untold, scale: scale * told - untold,
            N_(
                "The scale belongs to the *difference*. Here the shares of told and untold have "
                "to add up to 1, or the answer changes even where both agree."
            ),
        ),
        Slip(
            lambda told, untold, scale: untold + scale * told,
            N_("The untold answer is still in it: scale the difference, `told - untold`."),
        ),
        Slip(
            lambda told, untold, scale: scale * (told - untold),
            N_("Only the push: it starts somewhere, at the untold answer."),
        ),
    ),
    hints=(
        N_("A straight line through two answers: at scale 0 stands `untold`, at 1 `told`."),
        N_("Start at `untold`, and go `scale` times the way to `told`."),
        N_("`untold + scale * (told - untold)`"),
    ),
    why=N_(
        "The difference of the two is what the label adds. Above 1 it is exaggerated, as a "
        "caricature exaggerates what tells a face from the average one."
    ),
    notice=N_(
        "One line, and twice the calls: the price at which most models draw what they are asked."
    ),
)


class LabelledNetwork:
    """A stand-in for a network: a number for each class, and a last row for no label."""

    def __init__(self, table: Tensor):
        self.table = table
        self.num_classes = len(table) - 1

    def __call__(self, x_t: Tensor, timesteps: Tensor, class_labels: Tensor) -> Tensor:
        row = self.table[class_labels].reshape(-1, 1, 1, 1)
        return row * x_t + row**2 * timesteps.reshape(-1, 1, 1, 1) / 1000


def my_negative(model, x_t, timesteps, wanted, avoided, scale):
    """model(x_t, timesteps, class_labels) → the answer, guided from one class to another (B,)."""
    told = model(x_t, timesteps, wanted)
    without = model(x_t, timesteps, avoided)
    return without + scale * (told - without)


def _models(draw):
    table, where = draw.tensor(1, 2, -1, 0.5), draw.device
    x_t, timesteps = draw.tensor(1, -1).reshape(1, 1, 1, 2), torch.tensor([500], device=where)
    wanted, avoided = torch.tensor([0], device=where), torch.tensor([2], device=where)
    yield LabelledNetwork(table), x_t, timesteps, wanted, avoided, 3.0
    for shape, scale in (((3, 1, 4, 4), 2.0), ((2, 3, 2, 4), 1.5)):
        wanted = draw.integers(0, 6, shape[0])
        avoided = (wanted + 1 + draw.integers(0, 5, shape[0])) % 6
        model, timesteps = LabelledNetwork(draw.normal(7)), draw.integers(0, 1000, shape[0])
        yield model, draw.normal(*shape), timesteps, wanted, avoided, scale


def _guided(base):
    """A slip: guided from another place."""

    def wrong(model, x_t, timesteps, wanted, avoided, scale):
        none = torch.full_like(wanted, model.num_classes)
        told, without, untold = (model(x_t, timesteps, c) for c in (wanted, avoided, none))
        return base(told, without, untold, scale)

    return wrong


negative = Exercise(
    name="negative",
    answer=my_negative,
    cases=_models,
    slips=(
        Slip(
            _guided(lambda told, without, untold, scale: untold + scale * (told - untold)),
            N_(
                "Away from *no label*, as in plain guidance: the class to avoid has no say. Put "
                "its answer where the untold one stood."
            ),
        ),
        Slip(
            _guided(lambda told, without, untold, scale: told + scale * (without - told)),
            N_("The two are swapped: this draws what was to be avoided."),
        ),
        Slip(
            _guided(lambda told, without, untold, scale: without + scale * (told + without)),
            N_("A wrong sign: the push is the difference, wanted *minus* avoided."),
        ),
        Slip(
            _guided(lambda told, without, untold, scale: told + scale * (told - without)),
            N_(
                "Begun at the wanted answer: that is one scale more than was asked for. Begin at "
                "the avoided one, so that scale 1 is the wanted answer."
            ),
        ),
        Slip(
            _guided(lambda told, without, untold, scale: untold + scale * (told - without)),
            N_(
                "Three calls where two do: begin at the avoided answer itself, in the place of the "
                "untold one. Then scale 1 is the wanted answer, as ever."
            ),
        ),
    ),
    hints=(
        N_("Call the model twice: with the wanted labels, and with those to avoid."),
        N_("Then it is guidance, with the second answer where the untold one stood."),
        N_("`without + scale * (told - without)`, where `without` is told the class to avoid."),
    ),
    why=N_(
        "Guidance leads from any answer to any other, and the model is the same. "
        "A negative prompt of Stable Diffusion is exactly this, with a text in place of a label."
    ),
    notice=N_(
        "Only the *difference* is exaggerated. Between two classes that look alike it holds what "
        "tells them apart, which plain guidance hardly stresses."
    ),
)
