"""Pictures: steered by a loss, and kept in part."""

import torch

from course_utils.exercises.judge.exercise import Exercise, Slip
from course_utils.language import N_


def my_steer(noise_pred, x_t, x0_of, loss, sigma, scale):
    """noise_pred + scale * sigma * the gradient over x_t of loss(x0_of(x_t)), which is (B,)."""
    with torch.enable_grad():
        x_t = x_t.detach().requires_grad_()
        losses = loss(x0_of(x_t))
        (gradient,) = torch.autograd.grad(losses.sum(), x_t)
    return noise_pred + scale * sigma * gradient


def _darkness(x0):
    """A loss for each picture: how far it is from black."""
    return ((x0 + 1) ** 2).mean(dim=(1, 2, 3))


def _redness(x0):
    """Another: how far it is from red."""
    red = torch.tensor([1.0, -1.0, -1.0]).to(x0).reshape(3, 1, 1)
    return ((x0 - red) ** 2).mean(dim=(1, 2, 3))


def _steps(draw):
    x_t, noise = draw.tensor(1, -1).reshape(2, 1, 1, 1), draw.tensor(0, 0.5).reshape(2, 1, 1, 1)
    yield noise, x_t, lambda x: x / 2, _darkness, 0.25, 2.0
    for shape in ((3, 3, 4, 4), (4, 3, 2, 2)):
        gain, sigma = draw.uniform(3, 1, 1, low=0.5, high=2.0), draw.uniform(1, low=0.2).item()
        noise, x_t = draw.normal(*shape), draw.normal(*shape)
        yield noise, x_t, lambda x, gain=gain: (gain * x).tanh(), _redness, sigma, 3.0


def _steered(push=lambda gradient, sigma, scale: scale * sigma * gradient, total=torch.sum):
    """A slip: another step along the gradient, or that of another number."""

    def wrong(noise_pred, x_t, x0_of, loss, sigma, scale):
        x_t = x_t.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(total(loss(x0_of(x_t))), x_t)
        return noise_pred + push(gradient, sigma, scale)

    return wrong


def _past(noise_pred, x_t, x0_of, loss, sigma, scale):
    x0_pred = x0_of(x_t).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x0_pred).sum(), x0_pred)
    return noise_pred + scale * sigma * gradient


def _detached(noise_pred, x_t, x0_of, loss, sigma, scale):
    return torch.autograd.grad(loss(x0_of(x_t.detach())).sum(), x_t)


def _cut_in_between(noise_pred, x_t, x0_of, loss, sigma, scale):
    x0_pred = x0_of(x_t).detach().requires_grad_()
    return torch.autograd.grad(loss(x0_pred).sum(), x_t.requires_grad_())


def _losses_not_summed(noise_pred, x_t, x0_of, loss, sigma, scale):
    x_t = x_t.detach().requires_grad_()
    return torch.autograd.grad(loss(x0_of(x_t)), x_t)


steer = Exercise(
    name="steer",
    answer=my_steer,
    cases=_steps,
    slips=(
        Slip(
            _steered(push=lambda gradient, sigma, scale: -scale * sigma * gradient),
            N_(
                "A wrong sign: noise is taken *away* from x_t, so what should fall has to be added "
                "to the noise. Yours makes the loss larger."
            ),
        ),
        Slip(
            _steered(total=torch.mean),
            N_(
                "The mean over the batch: in a batch of eight each picture would be steered an "
                "eighth as much. Summed, each gets the gradient of its own loss."
            ),
        ),
        Slip(
            _detached,
            N_(
                "No path leads from the loss back to x_t. It needs `requires_grad_()` *before* it "
                "goes into `x0_of`, and no `torch.no_grad()` and no `detach()` on the way."
            ),
        ),
        Slip(
            _cut_in_between,
            N_(
                "The path is cut between x_t and the loss: has x0 been detached, or another tensor "
                "than the one that went into `x0_of` been asked for its gradient?"
            ),
        ),
        Slip(
            _losses_not_summed,
            N_("A gradient belongs to one number: take the sum of the losses first."),
        ),
        Slip(
            _past,
            N_(
                "That is the gradient over x0. The one over x_t goes on through `x0_of`, through "
                "the network: ask `torch.autograd.grad` for x_t."
            ),
        ),
        Slip(
            _steered(push=lambda gradient, sigma, scale: scale * gradient),
            N_("sigma is missing: the noise is minus sigma times the score, and so is its change."),
        ),
    ),
    hints=(
        N_("Make a leaf of x_t that records: `x_t = x_t.detach().requires_grad_()`."),
        N_("`torch.autograd.grad(loss(x0_of(x_t)).sum(), x_t)` gives a tuple of one gradient."),
        N_("Add `scale * sigma` times it to `noise_pred`."),
    ),
    why=N_(
        "To draw from p(x) times exp(-loss), the score gets the loss's gradient with a minus. The "
        "noise is minus sigma times the score, which turns the minus into a plus."
    ),
    notice=N_(
        "The loss can be anything that has a gradient. It sees x0_pred instead of the finished "
        "picture, which is a guess at high noise: so too large a scale breaks the picture."
    ),
)


def my_keep(x_t, known_x0, mask, alpha, sigma, noise):
    """x_t as drawn (B, C, H, W); where mask (B, 1, H, W) is true, the known picture, as noisy."""
    return torch.where(mask, alpha * known_x0 + sigma * noise, x_t)


def _halves(draw):
    mask = torch.tensor([True, False], device=draw.device).reshape(1, 1, 1, 2)
    pictures = (draw.tensor(*p).reshape(1, 1, 1, 2) for p in ((3, 4), (1, -1), (-1, 2)))
    x_t, known_x0, noise = pictures
    yield x_t, known_x0, mask, 0.8, 0.6, noise
    for shape in ((3, 3, 4, 4), (2, 1, 5, 3)):
        mask = draw.uniform(shape[0], 1, *shape[2:]) < 0.5
        alpha = draw.uniform(1, low=0.2, high=0.9).item()
        x_t, known_x0, noise = (draw.normal(*shape) for _ in range(3))
        yield x_t, known_x0, mask, alpha, (1 - alpha**2) ** 0.5, noise


keep = Exercise(
    name="keep",
    answer=my_keep,
    cases=_halves,
    slips=(
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: torch.where(mask, known_x0, x_t),
            N_(
                "A clean paste: one half without noise beside one with noise is nothing that the "
                "network has seen, and the halves will not fit. Bring the known part to this level."
            ),
        ),
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: torch.where(
                mask, x_t, alpha * known_x0 + sigma * noise
            ),
            N_("The mask is inverted: where it is true the picture is *known*."),
        ),
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: torch.where(
                mask, known_x0 + sigma * noise, x_t
            ),
            N_("The picture was not weakened: at this level it has the factor alpha."),
        ),
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: torch.where(
                mask, sigma * known_x0 + alpha * noise, x_t
            ),
            N_("alpha and sigma are swapped: that is another noise level."),
        ),
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: torch.where(
                mask, alpha * known_x0 + sigma * noise, alpha * x_t + sigma * noise
            ),
            N_("What was drawn is at this level already: it must not get noise once more."),
        ),
        Slip(
            lambda x_t, known_x0, mask, alpha, sigma, noise: (
                mask * (alpha * known_x0 + sigma * noise) + (1 - mask) * x_t
            ),
            N_("`1 - mask` does not exist for true and false: `~mask`, or `torch.where`."),
        ),
    ),
    hints=(
        N_("How does the known picture look at this noise level? It is the line of training."),
        N_("`alpha * known_x0 + sigma * noise`; and where is it taken, where is x_t?"),
        N_("`torch.where(mask, …, x_t)` takes the first where the mask is true."),
    ),
    why=N_(
        "At each level x_t should look like a training picture at that level, in all of its parts. "
        "So the known part gets just as much noise as the drawn part still has."
    ),
    notice=N_(
        "Nothing was trained for it: the network only ever sees noisy pictures, and fills the gap "
        "so that both parts fit."
    ),
)
