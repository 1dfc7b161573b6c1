"""What the distances leave open: precision and recall, illnesses, copies."""

import torch

import course_utils as cu
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def my_recall(samples, real, k):
    """Features (N, D), (M, D) → the share of real ones that some sample's ball covers."""
    radii = torch.cdist(samples, samples).kthvalue(k + 1, dim=1).values
    covered = torch.cdist(real, samples) <= radii
    return covered.any(dim=1).double().mean().item()


def _points(draw):
    samples, real = (
        draw.tensor([4, 4], [0, 5], [3, 7], [2, 2]),
        draw.tensor([3, 4], [7, 3], [1, 0], [4, 6], [7, 6], [3, 2]),
    )
    yield samples, real, 1
    for n, m, k in ((30, 40, 3), (25, 20, 2)):
        yield draw.normal(n, 3), 1.5 * draw.normal(m, 3) + 0.4, k


def _share(samples, real, k, centres=None, own=1, cover=torch.any):
    """A slip: balls of other radii, or another way to be covered."""
    centres = samples if centres is None else centres
    radii = torch.cdist(samples, centres).kthvalue(k + own, dim=1).values
    return cover(torch.cdist(real, samples) <= radii, dim=1).double().mean().item()


recall = Exercise(
    name="recall",
    answer=my_recall,
    cases=_points,
    slips=(
        Slip(
            lambda samples, real, k: my_recall(real, samples, k),
            N_(
                "Swapped: that is precision, the share of *samples* inside the balls of the real "
                "ones. Recall asks how much of the real world the samples cover."
            ),
        ),
        Slip(
            lambda samples, real, k: _share(samples, real, k, own=0),
            N_(
                "Each point is its own nearest neighbour, at distance 0: so the k-th neighbour is "
                "the (k + 1)-th smallest of its distances."
            ),
        ),
        Slip(
            lambda samples, real, k: _share(samples, real, k, centres=real, own=0),
            N_(
                "The radius of a sample reaches to its k-th neighbour among the *samples*, not to "
                "the k-th real one: else each ball would reach a real one by construction."
            ),
        ),
        Slip(
            lambda samples, real, k: _share(samples, real, k, cover=torch.all),
            N_("Inside of *all* balls: one is enough, `any`."),
        ),
        Slip(
            lambda samples, real, k: (
                (torch.cdist(real, samples) <= torch.cdist(samples, samples).kthvalue(k + 1)[0])
                .double()
                .mean()
                .item()
            ),
            N_("The share of *pairs*: first ask of each real one whether `any` ball covers it."),
        ),
    ),
    hints=(
        N_("Take `precision` of the cell above: which of the two sets has the balls there?"),
        N_("Now the balls stand around the samples: radii from `torch.cdist(samples, samples)`."),
        N_("Then ask of each real one whether any ball covers it, and take the mean."),
    ),
    why=N_(
        "Precision and recall are one function with the two sets swapped. "
        "Precision asks whether samples look real, recall whether real pictures could be samples."
    ),
    notice=N_("A single number mixes these two faults; this pair tells them apart."),
)


def find_the_blind():
    """Of 50 digits, ten times each, which number stays as it is for 500 different ones?"""
    digits = cu.load_digits("train", source="offline").images
    real = cu.load_digits("test", source="offline").images
    few = digits[:50].repeat(10, 1, 1, 1)
    ratio = {}
    for name in ("frechet", "kernel"):
        distance = getattr(cu, f"{name}_distance")
        ratio[name] = (distance(few, real) + 5) / (distance(digits[:500], real) + 5)
    sick, healthy = (cu.precision_recall(x, real) for x in (few, digits[:500]))
    for name in ("precision", "recall"):
        ratio[name] = (getattr(sick, name) + 0.1) / (getattr(healthy, name) + 0.1)
    return min(ratio, key=lambda name: abs(ratio[name] - 1))


illness = Prediction(
    name="illness",
    answer=find_the_blind,
    choices=("frechet", "kernel", "precision", "recall"),
    slips=(
        Slip(
            "frechet",
            N_(
                "The Fréchet distance notices: mean and covariance of 50 digits are not those of "
                "all digits, however often each comes."
            ),
        ),
        Slip(
            "kernel",
            N_(
                "The kernel distance notices: within the set there are many pairs of equals, which "
                "look more alike than two real digits do."
            ),
        ),
        Slip(
            "recall",
            N_(
                "Recall notices most of all: ten equals in one place have balls without a radius, "
                "and what lies between the 50 places is not covered."
            ),
        ),
    ),
    hints=(
        N_("Each of the 50 is a real digit. Who asks only whether each one looks real?"),
        N_("Three of the four compare the sets as a whole."),
        N_("Precision looks at one sample after the other. Recall looks at the real ones."),
    ),
    why=N_(
        "Precision judges each sample by itself, and all of these are real. "
        "A model that drew one perfect digit for ever would have a precision of 1."
    ),
    notice=N_("The field calls this illness *mode collapse*. GANs were prone to it."),
)


def my_copy_rate(samples, training, limit):
    """Pictures (N, C, H, W), (M, C, H, W) → the share of samples nearer than limit to one."""
    known = torch.cat([training, training.flip(-1)]).flatten(1)
    differences = torch.cdist(samples.flatten(1), known) / known.shape[1] ** 0.5
    return (differences.amin(dim=1) < limit).double().mean().item()


def _pictures(draw):
    """Of eight samples two are copies, one is mirrored, two stand on their heads; two are near."""
    training = draw.normal(6, 1, 6, 6)
    near = draw.normal(8, 1, 6, 6)
    near *= 6 / near.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)  # a root mean square of 1
    size = draw.tensor(0.3, 0.3, 0.3, 0.3, 0.3, 0.6, 0.6, 3).reshape(-1, 1, 1, 1)
    mirrored, upside_down = training[2:3].flip(-1), training[3:5].flip(-2)
    chosen = torch.cat([training[:2], mirrored, upside_down, training[[5, 0, 1]]])
    samples = chosen + size * near
    yield samples, training, 0.5
    yield samples[1:4], training, 0.5
    yield samples[5:], training, 0.5


def _rate(samples, known, limit, power=0.5, nearest=torch.amin):
    """A slip: among other pictures, or by another difference."""
    known = known.flatten(1)
    differences = torch.cdist(samples.flatten(1), known) / known.shape[1] ** 0.5
    return (nearest(differences ** (2 * power), dim=1) < limit).double().mean().item()


copy_rate = Exercise(
    name="copy_rate",
    answer=my_copy_rate,
    cases=_pictures,
    slips=(
        Slip(
            _rate,
            N_(
                "The mirror images are missing. Who trains with mirrored pictures learns these by "
                "heart, too, and no pixel of a mirrored copy gives it away."
            ),
        ),
        Slip(
            lambda samples, training, limit: _rate(
                samples, torch.cat([training, training.flip(-2)]), limit
            ),
            N_("Upside down: left and right are the last dimension, `flip(-1)`."),
        ),
        Slip(
            lambda samples, training, limit: _rate(
                samples, torch.cat([training, training.flip(-1)]), limit, power=1
            ),
            N_("The root is missing: that is the mean *square* difference."),
        ),
        Slip(
            lambda samples, training, limit: _rate(
                samples, torch.cat([training, training.flip(-1)]), limit, nearest=torch.mean
            ),
            N_("A copy is near to *one* training picture, not to all of them on average."),
        ),
        Slip(
            lambda samples, training, limit: (
                my_copy_rate(samples, training, limit) * float(len(samples))
            ),
            N_("That is how many they are. A share is between 0 and 1."),
        ),
    ),
    hints=(
        N_("Mirror images first: `training.flip(-1)`, and `torch.cat` puts both together."),
        N_("`torch.cdist` of the flattened pictures, divided by the root of the pixels' number."),
        N_("The nearest, `amin(dim=1)`; is it below the limit? The mean of that is the share."),
    ),
    why=N_(
        "A copy is a sample with one training picture much nearer than chance would have it. "
        "What was shown mirrored in training counts as a training picture."
    ),
    notice=N_(
        "`cu.find_copies(…, flip=True)` does the same, but with a limit for each picture: half of "
        "the distance to the next *real* one, since some digits look alike anyway."
    ),
)
