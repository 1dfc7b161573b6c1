"""The network's helpers: the average of its weights, and the time as sines and cosines."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_ema(average, weights, decay):
    """average, weights (N,), 0 <= decay < 1 → the new average."""
    return decay * average + (1 - decay) * weights


def _averages(draw):
    yield draw.tensor(1, 0), draw.tensor(0, 2), 0.9
    for decay in (0.99, 0.5):
        yield draw.normal(6), draw.normal(6), decay


ema = Exercise(
    name="ema",
    answer=my_ema,
    cases=_averages,
    slips=(
        Slip(
            lambda average, weights, decay: (1 - decay) * average + decay * weights,
            N_("The shares are swapped: a decay of 0.99 *keeps* 99% of the average."),
        ),
        Slip(
            lambda average, weights, decay: decay * average + weights,
            N_("The new weights count in full, so the average grows without end."),
        ),
        Slip(
            lambda average, weights, decay: (average + weights) / 2,
            N_("Half and half, whatever the decay is."),
        ),
        Slip(
            lambda average, weights, decay: weights,
            N_("The weights themselves: then nothing is averaged, or both are one tensor."),
        ),
    ),
    hints=(
        N_("Keep the share `decay` of the average. What may the new weights have?"),
        N_("The rest: the two shares add up to 1."),
        N_("`decay * average + (1 - decay) * weights`"),
    ),
    why=N_(
        "Each update multiplies the past by the decay, so after n updates it counts decay**n. "
        "With 0.99 that is a half after 69 updates."
    ),
    notice=N_(
        "It averages over about 1 / (1 - decay) steps: choose it to fit the length of training, "
        "or the first, random weights are in it still."
    ),
)


def my_embedding(timesteps, speeds):
    """timesteps (B,), speeds (W,) → (B, 2 W): all cosines of time times speed, then all sines."""
    angles = timesteps[:, None] * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _times(draw):
    yield torch.tensor([0, 3], device=draw.device), draw.tensor(1, 0.1)
    for count, width in ((4, 8), (5, 3), (6, 6)):
        speeds = draw.uniform(width, low=0.01).sort(descending=True).values
        yield draw.integers(0, 100, count), speeds


def _joined(join):
    """A slip: cosines and sines, put together in another way."""

    def wrong(timesteps, speeds):
        angles = timesteps[:, None] * speeds
        return join(angles.cos(), angles.sin())

    return wrong


def _not_crossed(timesteps, speeds):
    angles = timesteps * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


embedding = Exercise(
    name="embedding",
    answer=my_embedding,
    cases=_times,
    slips=(
        Slip(
            _joined(lambda cos, sin: torch.cat([sin, cos], dim=1)),
            N_("The sines came first; the cosines should. (To the network it would be the same.)"),
        ),
        Slip(
            _joined(lambda cos, sin: torch.cat([cos, sin])),
            N_(
                "Stacked below each other: the sines should stand *beside* the cosines, in the "
                "same row. `torch.cat` has a `dim`."
            ),
        ),
        Slip(
            _joined(lambda cos, sin: torch.stack([cos, sin], dim=2).flatten(1)),
            N_("Taken in turn, cosine, sine, cosine, …: first come all cosines, then all sines."),
        ),
        Slip(
            _not_crossed,
            N_(
                "Wrong broadcast: each time should meet each speed, (B, 1) times (W,) is (B, W). "
                "Yours met in pairs."
            ),
        ),
        Slip(
            lambda timesteps, speeds: (timesteps[:, None] * speeds).cos(),
            N_("Only the cosines: a cosine alone cannot tell before from after."),
        ),
    ),
    hints=(
        N_("First a table of angles, (B, W): each timestep times each speed."),
        N_("`timesteps[:, None] * speeds` makes a row for each timestep."),
        N_("Then `torch.cat([…, …], dim=1)` of the table's `.cos()` and `.sin()`."),
    ),
    why=N_(
        "Each speed is the hand of a clock: the fast ones tell neighbours apart, the slow ones "
        "early from late. Cosine and sine together say where a hand points."
    ),
    notice=N_(
        "Two times that are close get similar rows, and no two get the same: a network can "
        "compare such rows much better than a single number."
    ),
)
