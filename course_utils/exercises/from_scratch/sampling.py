"""The sampler: one step of DDIM, and the timesteps at which it stops."""

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_ddim_step(x_t, noise_pred, alpha_t, sigma_t, alpha_next, sigma_next):
    """x_t, noise_pred (B, C, H, W); the others are numbers → x at the next level."""
    x0_pred = (x_t - sigma_t * noise_pred) / alpha_t
    return alpha_next * x0_pred + sigma_next * noise_pred


def _levels(draw):
    x_t, noise_pred = draw.tensor(1, 2), draw.tensor(0.5, -1)
    yield x_t.reshape(1, 1, 1, 2), noise_pred.reshape(1, 1, 1, 2), 0.28, 0.96, 0.6, 0.8
    for shape in ((3, 1, 2, 4), (2, 3, 4, 4)):
        alpha_t, more = draw.uniform(2, low=0.2, high=0.4).tolist()
        alpha_next = alpha_t + more
        sigmas = [(1 - alpha**2) ** 0.5 for alpha in (alpha_t, alpha_next)]
        yield draw.normal(*shape), draw.normal(*shape), alpha_t, sigmas[0], alpha_next, sigmas[1]


def _step(formula):
    """A slip: another formula in x_t, x0_pred, noise_pred and the two levels."""

    def wrong(x_t, noise_pred, alpha_t, sigma_t, alpha_next, sigma_next):
        x0_pred = (x_t - sigma_t * noise_pred) / alpha_t
        return formula(x_t, x0_pred, noise_pred, (alpha_t, sigma_t), (alpha_next, sigma_next))

    return wrong


ddim = Exercise(
    name="ddim",
    answer=my_ddim_step,
    cases=_levels,
    slips=(
        Slip(
            _step(lambda x_t, x0_pred, noise_pred, here, there: x0_pred),
            N_("All the way in one step: that is the guess, and you know how blurry it is."),
        ),
        Slip(
            _step(
                lambda x_t, x0_pred, noise_pred, here, there: (
                    there[0] * here[0] * x0_pred + there[1] * noise_pred
                )
            ),
            N_("x0_pred was not divided by alpha_t: without the noise, the picture is weakened."),
        ),
        Slip(
            _step(
                lambda x_t, x0_pred, noise_pred, here, there: (
                    here[0] * x0_pred + here[1] * noise_pred
                )
            ),
            N_("Mixed again with the old shares: so x_t comes back, and nothing has moved."),
        ),
        Slip(
            _step(
                lambda x_t, x0_pred, noise_pred, here, there: (
                    there[1] * x0_pred + there[0] * noise_pred
                )
            ),
            N_("The next alpha and sigma are swapped: alpha belongs to the picture."),
        ),
        Slip(
            _step(
                lambda x_t, x0_pred, noise_pred, here, there: there[0] * x_t + there[1] * noise_pred
            ),
            N_("Noise on top of x_t, which has noise in it: mix it with x0_pred instead."),
        ),
    ),
    hints=(
        N_("Two lines: what does the network think the clean picture is? Then mix again."),
        N_("The first line you know: x0_pred = (x_t - sigma_t * noise_pred) / alpha_t."),
        N_("The second is the formula of this section, with alpha_next and sigma_next."),
    ),
    why=N_(
        "From the noise follows a guess of the clean picture; mixed again with the *same* noise, "
        "at the next level's shares, it is a little cleaner. No fresh noise is drawn, so the "
        "same start always ends in the same picture."
    ),
    notice=N_(
        "You have written the step of DDIM, of flow matching and of the toy. In a loop over "
        "timesteps, these two lines are a complete sampler."
    ),
)


def my_timesteps(T, num_steps):
    """num_steps timesteps, evenly spaced down from T - 1; T is a multiple of num_steps → a list."""
    stride = T // num_steps
    return [T - 1 - i * stride for i in range(num_steps)]


def _lengths(draw):
    yield 1000, 4
    yield 10, 5
    stride, num_steps = draw.integers(2, 30, 2).tolist()
    yield stride * num_steps, num_steps


def _even(T, num_steps):
    """From T - 1 to 0, both included."""
    return [round((T - 1) * (1 - i / (num_steps - 1))) for i in range(num_steps)]


timesteps = Exercise(
    name="timesteps",
    answer=my_timesteps,
    cases=_lengths,
    slips=(
        Slip(
            lambda T, num_steps: [*range(0, T, T // num_steps)][::-1],
            N_(
                "It ends at 0, but begins too late: the first timestep has to be the noisiest, "
                "T - 1, because the picture begins as pure noise."
            ),
        ),
        Slip(
            lambda T, num_steps: my_timesteps(T, num_steps)[::-1],
            N_("Upside down: sampling runs from noisy to clean, from large to small."),
        ),
        Slip(
            lambda T, num_steps: [t + 1 for t in my_timesteps(T, num_steps)],
            N_("One too high: the table has T entries, and the last one's index is T - 1."),
        ),
        Slip(
            _even,
            N_(
                "Stretched down to 0: after the last of these the picture is finished anyway, so "
                "its stride would be wasted on a level with hardly any noise."
            ),
        ),
    ),
    hints=(
        N_("How far apart are they? The whole length, divided by the number of steps."),
        N_("The first is T - 1; each other is one stride lower."),
        N_("`T - 1 - i * (T // num_steps)` for i from 0 on; `range` can do it, too."),
    ),
    why=N_(
        "All strides are equally long, and the walk begins where there is only noise. "
        "The last stride leads from the last timestep to the clean picture."
    ),
    notice=N_(
        "diffusers calls it `trailing`. Its old default, `leading`, begins too late, and pictures "
        "come out too grey (Lin et al. 2023)."
    ),
)
