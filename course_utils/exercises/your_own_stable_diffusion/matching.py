"""Matching: which text belongs to which picture, and which words to which place of it."""

import torch
from torch.nn import functional as F

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_contrast(texts, pictures, scale):
    """texts, pictures (B, D), pairs row by row, not normalised → symmetric InfoNCE, a number."""
    logits = scale * F.normalize(texts, dim=1) @ F.normalize(pictures, dim=1).T
    right = torch.arange(len(texts), device=texts.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def _pairs(draw):
    yield draw.tensor([1, 0], [1, 2]), draw.tensor([2, 1], [0, 3]), 2.0
    for shape, scale in (((4, 3), 5.0), ((6, 8), 3.0)):
        pictures = draw.normal(*shape)
        yield 2 * draw.normal(*shape) + pictures, pictures, scale


def _loss(logits, by_text=0.5, by_picture=0.5):
    right = torch.arange(len(logits), device=logits.device)
    losses = F.cross_entropy(logits, right), F.cross_entropy(logits.T, right)
    return by_text * losses[0] + by_picture * losses[1]


def _contrasted(of=_loss, factor=lambda scale: scale, dim=1):
    """A slip: another loss of the logits, another factor, or vectors normalised elsewhere."""

    def wrong(texts, pictures, scale):
        texts, pictures = F.normalize(texts, dim=dim), F.normalize(pictures, dim=dim)
        return of(factor(scale) * texts @ pictures.T)

    return wrong


contrast = Exercise(
    name="contrast",
    answer=my_contrast,
    cases=_pairs,
    slips=(
        Slip(
            _contrasted(lambda logits: _loss(logits, 1, 0)),
            N_(
                "One direction only: each text chooses among the pictures. Each picture should "
                "choose among the texts as well: the same, with `logits.T`."
            ),
        ),
        Slip(
            _contrasted(lambda logits: _loss(logits, 0, 1)),
            N_(
                "The pictures choose among the texts, and nobody asks the texts. If you take both, "
                "see whether the softmax runs over the same axis both times."
            ),
        ),
        Slip(
            lambda texts, pictures, scale: _loss(scale * texts @ pictures.T),
            N_(
                "Not normalised: a long vector would seem similar to everything. Make each one a "
                "unit vector first, `F.normalize(…, dim=1)`."
            ),
        ),
        Slip(
            _contrasted(dim=0),
            N_("Normalised over the batch: it is each *row* that should have length 1, `dim=1`."),
        ),
        Slip(
            _contrasted(factor=lambda scale: 1),
            N_(
                "The scale is missing. Cosines lie between -1 and 1, so that without it the "
                "softmax could never be sure."
            ),
        ),
        Slip(
            _contrasted(factor=lambda scale: 1 / scale),
            N_("Divided by the scale. By a *temperature* one divides; the scale is one over it."),
        ),
        Slip(
            _contrasted(lambda logits: logits.diag().mean()),
            N_(
                "Only how similar the right pairs are: it is largest when all vectors are the "
                "same. The wrong pairs have to be in it, as what is chosen from."
            ),
        ),
        Slip(
            _contrasted(lambda logits: -logits.diag().mean()),
            N_("The right pairs are pulled together, but nothing pushes the wrong ones apart."),
        ),
        Slip(
            _contrasted(lambda logits: _loss(logits, 1, 1)),
            N_("The sum of both directions: take their mean."),
        ),
    ),
    hints=(
        N_("Cosines of all pairs: unit vectors, then `texts @ pictures.T`; times the scale."),
        N_("Row i chooses among B: `F.cross_entropy(logits, torch.arange(B))`."),
        N_("The same with `logits.T`, and the mean of the two."),
    ),
    why=N_(
        "Each text has to find its picture among all of the batch, and each picture its text. So "
        "right pairs come together, and wrong ones come apart."
    ),
    notice=N_(
        "Where nothing can be told apart yet, it is log(B). The larger the batch, the harder the "
        "choice: CLIP's had 32,768 pairs (Radford et al. 2021)."
    ),
)


def my_attend(queries, keys, values):
    """queries (B, N, d) of places, keys (B, L, d), values (B, L, e) of words → (B, N, e)."""
    scores = queries @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ values


def _places_and_words(draw):
    queries, keys = draw.tensor([1, 0], [2, -1]), draw.tensor([1, 1], [0, 2], [-1, 0])
    yield queries[None], keys[None], draw.tensor([1, 0], [0, 3], [2, 1])[None]
    for b, n, length, d, e in ((2, 4, 3, 6, 5), (3, 5, 7, 4, 2)):
        yield draw.normal(b, n, d), draw.normal(b, length, d), draw.normal(b, length, e)


def _attended(root=lambda d: d**0.5, dim=-1, asked=lambda keys, values: keys):
    """A slip: other scores, or a softmax over another axis of them."""

    def wrong(queries, keys, values):
        scores = queries @ asked(keys, values).transpose(1, 2) / root(keys.shape[-1])
        return scores.softmax(dim=dim) @ values

    return wrong


attend = Exercise(
    name="attend",
    answer=my_attend,
    cases=_places_and_words,
    slips=(
        Slip(
            _attended(dim=1),
            N_(
                "The softmax ran over the places, so that they compete for each word. Each *place* "
                "shares its attention out among the words: the last axis of the scores."
            ),
        ),
        Slip(
            _attended(dim=0),
            N_("The softmax ran over the batch: different pictures have nothing to share."),
        ),
        Slip(
            _attended(root=lambda d: 1),
            N_(
                "√d is missing: a sum of d products grows with √d, and the softmax would soon see "
                "nothing but its largest score."
            ),
        ),
        Slip(
            _attended(root=lambda d: d),
            N_("Divided by d itself: the scores grow with its root only."),
        ),
        Slip(
            _attended(asked=lambda keys, values: values),
            N_("The values were compared with the queries. That is what the keys are for."),
        ),
        Slip(
            lambda queries, keys, values: my_attend(queries, keys, keys),
            N_("The keys say *where* to look. What is brought back from there are the values."),
        ),
        Slip(
            lambda queries, keys, values: my_attend(queries, keys, values).transpose(1, 2),
            N_("Transposed: the places come first, then the numbers that each has got."),
        ),
        Slip(
            lambda queries, keys, values: queries @ keys.transpose(1, 2) @ values,
            N_("Without a softmax these are no shares: they should be positive and add up to 1."),
        ),
    ),
    hints=(
        N_("Each place compares its query with each key: `queries @ keys.transpose(1, 2)`."),
        N_("Divide by the root of d, then `.softmax(dim=-1)`: (B, N, L), each row adds up to 1."),
        N_("With these shares, the mean of the values: `… @ values`."),
    ),
    why=N_(
        "A place asks every word, and takes of each as much as its key fits. So the picture can "
        "have any size, and the prompt any number of words."
    ),
    notice=N_(
        "The shares are the maps of this section: one for each word, over all places. "
        "`F.scaled_dot_product_attention` does the same in one call."
    ),
)
