"""Drawing: from a picture instead of noise, how often to ask, what lies between two noises."""

import torch

import course_utils as cu
from course_utils.exercises.introduction.network import TinyNetwork
from course_utils.exercises.judge.exercise import Exercise, Prediction, Slip
from course_utils.language import N_


def my_halfway(model, scheduler, x0, noise, num_steps):
    """Add noise to x0 for the middle timestep, and sample the second half from there."""
    scheduler.set_timesteps(num_steps)
    timesteps = scheduler.timesteps[num_steps // 2 :]
    x_t = scheduler.add_noise(x0, noise, timesteps[:1])
    for t in timesteps:
        with torch.no_grad():
            model_output = model(x_t, t).sample
        x_t = scheduler.step(model_output, t, x_t).prev_sample
    return x_t


def _walks(draw):
    from diffusers import DDIMScheduler

    settings = {"prediction_type": "v_prediction", "clip_sample": False}
    scheduler = DDIMScheduler(timestep_spacing="trailing", **settings)
    x0, noise = draw.tensor(1, -1).reshape(1, 1, 1, 2), draw.tensor(0.5, 2).reshape(1, 1, 1, 2)
    yield TinyNetwork(draw.tensor(0.5)), scheduler, x0, noise, 4
    for shape, num_steps in (((3, 3, 4, 4), 10), ((2, 1, 6, 5), 6)):
        network = TinyNetwork(draw.uniform(1))
        yield network, scheduler, draw.normal(*shape), draw.normal(*shape), num_steps


def _walk(start, begin=lambda timesteps, n: n // 2, end=lambda timesteps, n: n):
    """A slip: another beginning x_t, or another part of the timesteps."""

    def wrong(model, scheduler, x0, noise, num_steps):
        scheduler.set_timesteps(num_steps)
        all_timesteps = scheduler.timesteps
        timesteps = all_timesteps[begin(all_timesteps, num_steps) : end(all_timesteps, num_steps)]
        x_t = start(scheduler, x0, noise, timesteps, all_timesteps)
        for t in timesteps:
            x_t = scheduler.step(model(x_t, t).sample, t, x_t).prev_sample
        return x_t.detach()

    return wrong


def _noised(scheduler, x0, noise, timesteps, all_timesteps):
    return scheduler.add_noise(x0, noise, timesteps[:1])


def _too_noisy(scheduler, x0, noise, timesteps, all_timesteps):
    return scheduler.add_noise(x0, noise, all_timesteps[:1])


halfway = Exercise(
    name="halfway",
    answer=my_halfway,
    cases=_walks,
    slips=(
        Slip(
            _walk(_noised, begin=lambda timesteps, n: 0),
            N_(
                "The whole walk: it begins at the noisiest timestep, where nothing of x0 is left. "
                "Begin in the middle of `scheduler.timesteps`."
            ),
        ),
        Slip(
            _walk(_noised, begin=lambda timesteps, n: 0, end=lambda timesteps, n: n // 2),
            N_("The first half of the walk: it ends with a picture that is still half noise."),
        ),
        Slip(
            _walk(lambda scheduler, x0, *rest: x0),
            N_("No noise was added: the network expects x_t as noisy as the timestep says."),
        ),
        Slip(
            _walk(lambda scheduler, x0, noise, *rest: noise),
            N_("It began with noise alone: then x0 has no say in what is drawn."),
        ),
        Slip(
            _walk(_too_noisy),
            N_(
                "Noise for another timestep: x_t is as noisy as the whole walk's first timestep, "
                "but the network is told the middle one."
            ),
        ),
    ),
    hints=(
        N_("It is the loop above with another beginning: which timesteps, and which x_t?"),
        N_("`scheduler.timesteps[num_steps // 2:]` is the second half, from the middle on."),
        N_("x_t is `scheduler.add_noise(x0, noise, timesteps[:1])`; from there on, the loop."),
    ),
    why=N_(
        "At the middle timestep a training picture would look just like this, so the network can "
        "go on from here as if the walk had begun with noise. What the noise has not drowned, "
        "such as the pose and the large shapes, stays."
    ),
    notice=N_(
        "The later you begin, the more of the picture stays. People draw a sketch and let the "
        "model finish it: the paper is called SDEdit (Meng et al. 2022)."
    ),
)


def count_calls():
    """How often `sample` calls a network that only counts."""
    calls = []

    def network(x_t, timesteps):
        calls.append(timesteps)
        return torch.zeros_like(x_t)

    x_T = torch.zeros(8, 3, 4, 4)
    list(cu.sample(network, cu.NoiseSchedule.cosine(1000), x_T, num_steps=15, order=2))
    return len(calls)


calls = Prediction(
    name="calls",
    answer=count_calls,
    slips=(
        Slip(
            30,
            N_(
                "Twice in each step: some second-order methods do. This one looks back instead: "
                "it keeps the answer of the step before."
            ),
        ),
        Slip(
            120,
            N_("Once for each picture: but one call answers for the whole batch of eight."),
        ),
        Slip(240, N_("Twice in each step, and for each picture: neither is so.")),
        Slip(
            16,
            N_("One more for the noise at the beginning: but that is drawn, not asked for."),
        ),
    ),
    hints=(
        N_("What does the network get in one call: a picture, or a batch?"),
        N_("The text above says how DPM-Solver++ sees where the path bends."),
        N_("It remembers the answer before, so each step asks once."),
    ),
    why=N_(
        "Each step asks once, for the whole batch. The second order comes from the answer before, "
        "which is still there and costs nothing."
    ),
    notice=N_(
        "Nearly all the time of sampling goes into these calls, so a solver that needs half as "
        "many is twice as fast."
    ),
)


def my_between(a, b, share):
    """Noises a, b (C, H, W); share from 0 (a) to 1 (b): a turn by share times 90 degrees."""
    angle = torch.tensor(share * torch.pi / 2)
    return angle.cos() * a + angle.sin() * b


def _turns(draw):
    yield draw.tensor(1, 0).reshape(1, 1, 2), draw.tensor(0, 1).reshape(1, 1, 2), 0.25
    for shape in ((3, 4, 4), (1, 3, 5)):
        yield draw.normal(*shape), draw.normal(*shape), draw.uniform(1).item()
    yield draw.normal(1, 2, 2), draw.normal(1, 2, 2), 0.0


def _degrees(a, b, share):
    angle = torch.tensor(share * 90.0)
    return angle.cos() * a + angle.sin() * b


def _slerp(a, b, share):
    """The same turn by the angle that really lies between the two noises (Shoemake 1985)."""
    angle = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


between = Exercise(
    name="between",
    answer=my_between,
    cases=_turns,
    accepts=(_slerp,),
    slips=(
        Slip(
            lambda a, b, share: (1 - share) * a + share * b,
            N_(
                "A straight mix: half of each noise is a noise with too small a spread, and the "
                "network has never seen so calm a beginning."
            ),
        ),
        Slip(
            lambda a, b, share: my_between(b, a, share),
            N_("The ends are swapped: at share = 0 it should be `a`."),
        ),
        Slip(
            _degrees,
            N_("Degrees instead of radians: for `cos` and `sin`, 90 degrees are pi / 2."),
        ),
        Slip(
            lambda a, b, share: (1 - share) ** 0.5 * a + share**0.5 * b,
            N_(
                "Roots instead of a turn: these squares add up to 1 as well, so the spread is "
                "right, but it hurries at both ends. Use the cosine and the sine."
            ),
        ),
    ),
    hints=(
        N_("Think of a quarter of a circle with `a` at its beginning and `b` at its end."),
        N_("At the angle `share * pi / 2`, the cosine belongs to `a` and the sine to `b`."),
        N_("`torch.cos` wants a tensor: `angle = torch.tensor(share * torch.pi / 2)`."),
    ),
    why=N_(
        "The squares of cosine and sine add up to 1, so the mix of two noises is again noise "
        "with the same spread. And the same share of the way is always the same angle."
    ),
    notice=N_("Every point of the way is a beginning that the network knows: draw from it."),
)
