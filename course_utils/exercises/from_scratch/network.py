"""The network's helpers: how long an average remembers, and the time as sines and cosines."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def count_updates():
    """After how many updates the first weights count for less than half."""
    share, updates = 1.0, 0
    while share >= 0.5:
        share = 0.99 * share
        updates = updates + 1
    return updates


half_life = Prediction(
    name="half_life",
    answer=count_updates,
    tolerance=1.0,
    slips=(
        Slip(
            50,
            N_("50 times 1%: but each update takes 1% of what is *left*, so it takes longer."),
        ),
        Slip(
            100,
            N_(
                "A common rule, 1 / (1 - decay), but it means something else: after 100 updates "
                "0.99 ** 100, a good third, is left."
            ),
        ),
        Slip(2, N_("So fast it goes with a decay of 0.5 or so, not with 0.99.")),
    ),
    hints=(
        N_("After one update 0.99 of it is left, after two 0.99 * 0.99."),
        N_("After n updates: 0.99 ** n. When is that 0.5?"),
        N_("n = log(0.5) / log(0.99), and log(0.5) is about -0.69, log(0.99) about -0.01."),
    ),
    why=N_(
        "Each update multiplies the share of the first weights by the decay. "
        "So it is halved again and again, every 69 updates."
    ),
    notice=N_(
        "A decay of 0.99 remembers about a hundred steps, 0.999 about a thousand: choose it to "
        "fit the length of the training."
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
