"""Three views of one answer: the clean picture from the noise, and from the velocity."""

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_predict_x0(x_t, noise_pred, alpha_t, sigma_t):
    """x_t, noise_pred (B, C, H, W); alpha_t, sigma_t (B,) → the clean picture that follows."""
    alpha_t, sigma_t = alpha_t.reshape(-1, 1, 1, 1), sigma_t.reshape(-1, 1, 1, 1)
    return (x_t - sigma_t * noise_pred) / alpha_t


def answers(draw):
    """Two pictures or so, and levels on the circle."""
    x_t = draw.tensor(1, 2, 0, -1).reshape(2, 1, 1, 2)
    noise_pred = draw.tensor(0.5, 1, -1, 1).reshape(2, 1, 1, 2)
    yield x_t, noise_pred, draw.tensor(0.8, 0.6), draw.tensor(0.6, 0.8)
    for shape in ((3, 1, 2, 4), (4, 3, 4, 4)):
        alpha_t = draw.uniform(shape[0], low=0.2, high=0.6)
        yield draw.normal(*shape), draw.normal(*shape), alpha_t, (1 - alpha_t**2) ** 0.5


def stretched(formula):
    """A slip: another formula, with alpha_t and sigma_t stretched as they should be."""

    def wrong(x_t, noise_pred, alpha_t, sigma_t):
        stretched = alpha_t.reshape(-1, 1, 1, 1), sigma_t.reshape(-1, 1, 1, 1)
        return formula(x_t, noise_pred, *stretched)

    return wrong


predict_x0 = Exercise(
    name="predict_x0",
    answer=my_predict_x0,
    cases=answers,
    slips=(
        Slip(
            stretched(lambda x_t, noise_pred, alpha_t, sigma_t: x_t - sigma_t * noise_pred),
            N_("Not divided by alpha: what is left without the noise is a *weakened* picture."),
        ),
        Slip(
            stretched(lambda x_t, noise_pred, alpha_t, sigma_t: (x_t - noise_pred) / alpha_t),
            N_("All of the noise was taken away, but only the share sigma of it is in x_t."),
        ),
        Slip(
            stretched(
                lambda x_t, noise_pred, alpha_t, sigma_t: (x_t - alpha_t * noise_pred) / sigma_t
            ),
            N_("alpha and sigma are swapped: alpha belongs to the picture, sigma to the noise."),
        ),
        Slip(
            stretched(
                lambda x_t, noise_pred, alpha_t, sigma_t: (x_t + sigma_t * noise_pred) / alpha_t
            ),
            N_("A wrong sign: the noise was added a second time instead of being taken away."),
        ),
        Slip(
            lambda x_t, noise_pred, alpha_t, sigma_t: (x_t - sigma_t * noise_pred) / alpha_t,
            N_(
                "Wrong broadcast: alpha and sigma are one for each picture, but yours met the "
                "columns of pixels. Stretch (B,) to (B, 1, 1, 1)."
            ),
        ),
    ),
    hints=(
        N_("Solve x_t = alpha_t * x0 + sigma_t * noise for x0, on paper."),
        N_("First take the noise away, `x_t - sigma_t * noise_pred`: alpha_t * x0 is left."),
        N_("Divide by alpha_t; and stretch both with `reshape(-1, 1, 1, 1)`."),
    ),
    why=N_(
        "It is the one line of mathematics, solved for x0. "
        "Any two of x_t, x0 and the noise give the third."
    ),
    notice=N_(
        "At the end there stands a division by alpha. Where alpha is 0.01, an error of the network "
        "becomes a hundred times as large: that is the trouble with `epsilon`."
    ),
)


def my_x0_from_velocity(x_t, velocity, sigma_t):
    """x_t, velocity (B, C, H, W); sigma_t (B,), on the straight line → the clean picture."""
    return x_t - sigma_t.reshape(-1, 1, 1, 1) * velocity


def _directions(draw):
    x_t = draw.tensor(1, 2, 0, -1).reshape(2, 1, 1, 2)
    yield x_t, draw.tensor(1, -1, 2, 0.5).reshape(2, 1, 1, 2), draw.tensor(0.25, 0.6)
    for shape in ((3, 1, 2, 4), (4, 3, 4, 4)):
        yield draw.normal(*shape), draw.normal(*shape), draw.uniform(shape[0])


velocity = Exercise(
    name="velocity",
    answer=my_x0_from_velocity,
    cases=_directions,
    slips=(
        Slip(
            lambda x_t, velocity, sigma_t: x_t - velocity,
            N_("Too far: that is the whole way from noise to picture, but x_t is already closer."),
        ),
        Slip(
            lambda x_t, velocity, sigma_t: x_t + sigma_t.reshape(-1, 1, 1, 1) * velocity,
            N_("A wrong sign: the velocity points to the noise, and you want to go back."),
        ),
        Slip(
            lambda x_t, velocity, sigma_t: x_t - (1 - sigma_t.reshape(-1, 1, 1, 1)) * velocity,
            N_(
                "The rest of the way instead of the way so far: from x0 to x_t it is the share "
                "sigma, from x_t to the noise 1 - sigma."
            ),
        ),
        Slip(
            lambda x_t, velocity, sigma_t: x_t - sigma_t * velocity,
            N_(
                "Wrong broadcast: each picture has its own sigma, but yours met the columns of "
                "pixels. Stretch (B,) to (B, 1, 1, 1)."
            ),
        ),
    ),
    hints=(
        N_("Put noise = velocity + x0 into x_t = (1 - sigma) * x0 + sigma * noise."),
        N_("Most cancels: x_t = x0 + sigma * velocity. The velocity leads from x0 to x_t."),
        N_("So go back: subtract the velocity times sigma, which is stretched to (B, 1, 1, 1)."),
    ),
    why=N_(
        "On the straight line x_t = x0 + sigma * velocity: a start, a time and a speed. "
        "To get back to the start, subtract."
    ),
    notice=N_(
        "Not a single division. So an error of the network is never made larger: at most it "
        "counts once, where sigma is 1."
    ),
)
