"""How sure: the bootstrap, the paired comparison; and a weight for each noise level."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_bootstrap(values, num, generator):
    """values (N,), one for each picture → (num,): means of N values drawn with replacement."""
    N, device = len(values), values.device
    places = torch.randint(N, (num, N), generator=generator, device=device)
    return values[places].mean(dim=1)


def _values(draw):
    for n, num in ((5, 3), (12, 20), (30, 7)):
        yield draw.normal(n), num, draw.generator()


def _places(values, *shape, generator):
    return torch.randint(len(values), shape, generator=generator, device=values.device)


def _drawn(values, num, generator):
    return values[_places(values, num, len(values), generator=generator)]


bootstrap = Exercise(
    name="bootstrap",
    answer=my_bootstrap,
    cases=_values,
    accepts=(
        lambda values, num, generator: torch.stack(
            [values[_places(values, len(values), generator=generator)].mean() for _ in range(num)]
        ),
        lambda values, num, generator: values[
            _places(values, len(values), num, generator=generator)
        ].mean(dim=0),
    ),
    slips=(
        Slip(
            lambda values, num, generator: values.mean().repeat(num),
            N_(
                "Without replacement each draw is the same set in another order, and has the same "
                "mean: nothing would vary. `torch.randint` may draw a place twice."
            ),
        ),
        Slip(
            lambda values, num, generator: _drawn(values, num, generator).mean(dim=0),
            N_("The mean over the wrong dimension: one for each of the `num` draws is wanted."),
        ),
        Slip(
            lambda values, num, generator: _drawn(values, num, generator).std(dim=1),
            N_("Standard deviations: return the means. How much *they* vary is looked at later."),
        ),
        Slip(
            lambda values, num, generator: _drawn(values, num, generator).mean(),
            N_("One mean of all draws together: it hardly varies. Keep one for each draw."),
        ),
        Slip(
            lambda values, num, generator: _drawn(values, num, generator).sum(dim=1),
            N_("Sums: divide by the number of values, or take `mean`."),
        ),
    ),
    hints=(
        N_("`torch.randint(N, (num, N), generator=generator)` draws places, some of them twice."),
        N_("`values[places]` has the shape (num, N): a row for each draw."),
        N_("And the mean of each row: `.mean(dim=1)`."),
    ),
    why=N_(
        "Another set of pictures would have given other values; the best stand-in for the world "
        "that they come from is the set at hand. So draw from it, as often as you like, and see "
        "how much the mean varies."
    ),
    notice=N_(
        "The standard deviation of what came back is the standard error of the mean. For a mean "
        "there is a formula, the values' standard deviation / √N; the bootstrap needs none."
    ),
)


def my_lead(a, b):
    """Distances (S,), (S,) with the same S seeds → the mean of b - a, in its standard errors."""
    ahead = b - a
    return ahead.mean() / (ahead.std() / len(ahead) ** 0.5)


def _scores(draw):
    yield draw.tensor(10, 14, 12), draw.tensor(11, 15.5, 12.5)
    for n in (5, 8):
        a = 10 + 3 * draw.normal(n)
        yield a, a + 1 + 0.5 * draw.normal(n)


lead = Exercise(
    name="lead",
    answer=my_lead,
    cases=_scores,
    slips=(
        Slip(
            lambda a, b: (b.mean() - a.mean()) / ((a.var() + b.var()) / len(a)) ** 0.5,
            N_(
                "As if the seeds were different ones: what both have in common, an easy or a hard "
                "seed, is counted as chance. Subtract seed by seed first, then look how much the "
                "*difference* varies."
            ),
        ),
        Slip(
            lambda a, b: (b - a).mean() / (b - a).std(),
            N_("Divided by the standard deviation: that of a *mean* is smaller by the root of S."),
        ),
        Slip(
            lambda a, b: my_lead(b, a),
            N_("The sign: a distance is better when it is small, so a is ahead where b - a > 0."),
        ),
        Slip(
            lambda a, b: (b - a).mean() / ((b - a).std() / len(a)),
            N_("Divided by S: the standard error falls with its root, `len(a) ** 0.5`."),
        ),
        Slip(
            lambda a, b: (b - a).mean(),
            N_("Only the mean: whether it is much or little depends on how much it varies."),
        ),
    ),
    hints=(
        N_("Subtract seed by seed: `b - a`."),
        N_("Its mean is the lead; its `.std()` over the root of the number is the error of that."),
        N_("Divide the first by the second."),
    ),
    why=N_(
        "The same seed gives both the same start, and so the same luck; the difference of each "
        "pair is free of it. What is left of chance is how much the differences vary."
    ),
    notice=N_(
        "With few seeds ask for much: with eight, beyond 3 or so is hard to get by chance; with "
        "three, not even 4 is. And two intervals that overlap say little about a paired lead."
    ),
)


def my_weights(alphas, sigmas, gamma, target):
    """alphas, sigmas (T,); target "sample", "epsilon" or "v_prediction" → min-SNR weights (T,)."""
    snr = (alphas / sigmas) ** 2
    per_error = {"sample": 1, "epsilon": 1 / snr, "v_prediction": sigmas**2}
    return snr.clamp(max=gamma) * per_error[target]


def _curves(draw):
    for target in ("v_prediction", "epsilon", "sample"):
        yield draw.tensor(0.9, 0.6, 0.1), draw.tensor(0.1, 0.8, 0.9), 5.0, target
        sigmas = draw.uniform(20, low=0.05, high=0.95).sort().values
        yield 1 - sigmas, sigmas, 2.0, target


min_snr = Exercise(
    name="min_snr",
    answer=my_weights,
    cases=_curves,
    slips=(
        Slip(
            lambda alphas, sigmas, gamma, target: ((alphas / sigmas) ** 2).clamp(max=gamma),
            N_(
                "That is the weight of an error in the clean picture, whatever the target. An "
                "error in the noise or in the velocity has to be counted in these units first."
            ),
        ),
        Slip(
            lambda alphas, sigmas, gamma, target: (
                my_weights(alphas, sigmas, gamma, target)
                / ((alphas / sigmas) ** 2).clamp(max=gamma)
                * ((alphas / sigmas) ** 2).clamp(min=gamma)
            ),
            N_("At *least* gamma: `clamp(min=…)` lifts the small ones. Cut off the large ones."),
        ),
        Slip(
            lambda alphas, sigmas, gamma, target: (
                my_weights(alphas, sigmas, gamma, target)
                / ((alphas / sigmas) ** 2).clamp(max=gamma)
                * (alphas / sigmas).clamp(max=gamma)
            ),
            N_("The square is missing: the ratio compares variances, as (alpha / sigma)²."),
        ),
        Slip(
            lambda alphas, sigmas, gamma, target: my_weights(alphas, sigmas, torch.inf, target),
            N_("Without a limit: nearly clean pictures would outweigh all others together."),
        ),
        Slip(
            lambda alphas, sigmas, gamma, target: (
                ((alphas / sigmas) ** 2).clamp(max=gamma) ** 2
                / my_weights(alphas, sigmas, gamma, target)
            ),
            N_(
                "Divided where it should be multiplied: an error in the noise counts 1 / SNR times "
                "in the picture, one in the velocity sigma² times."
            ),
        ),
    ),
    hints=(
        N_("First the ratio, `(alphas / sigmas) ** 2`, and cut off what lies above gamma."),
        N_('That is all for "sample". For "epsilon" divide by the ratio.'),
        N_('For "v_prediction" multiply by `sigmas ** 2`.'),
    ),
    why=N_(
        "One rule, counted in the picture: each level by its SNR, but at most gamma times. "
        "What the network answers is in other units, and the factor changes one into the other."
    ),
    notice=N_(
        "The figure's three curves come from these lines; `cu.loss_weights` holds the same ones."
    ),
)
