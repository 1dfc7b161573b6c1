"""The solutions of notebook 03's exercises against the package, torch, and closed forms."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import course_utils as cu
from course_utils.exercises import guidance_and_fine_tuning as ex
from course_utils.exercises.guidance_and_fine_tuning.labels import LabelledNetwork
from course_utils.models.guidance import drop_condition


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Labelled(nn.Module):
    """The exercises' stand-in, called as the package calls networks."""

    def __init__(self):
        super().__init__()
        self.network, self.num_classes = LabelledNetwork(normal(5)), 4

    def forward(self, x_t, timesteps, class_labels):
        return self.network(x_t, timesteps, class_labels)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.5])
def test_guidance_is_the_packages(scale):
    model, x_t, timesteps = Labelled(), normal(3, 2, 4, 4), torch.tensor([5, 400, 999])
    wanted, avoided, none = torch.tensor([[0, 3, 2], [1, 1, 0], [4, 4, 4]])
    told, untold = (model(x_t, timesteps, labels) for labels in (wanted, none))
    plain = cu.Guidance(model, {"class_labels": wanted}, scale=scale)(x_t, timesteps)
    torch.testing.assert_close(ex.guide.answer(told, untold, scale), plain)
    away = cu.Guidance(model, {"class_labels": wanted}, {"class_labels": avoided}, scale)
    mine = ex.negative.answer(model, x_t, timesteps, wanted, avoided, scale)
    torch.testing.assert_close(mine, away(x_t, timesteps))


def test_dropped_labels_are_the_packages():
    labels, dropped = torch.tensor([3, 0, 7]), torch.tensor([True, True, False])
    without = {"class_labels": torch.full_like(labels, 10)}
    package = drop_condition({"class_labels": labels}, dropped, without)["class_labels"]
    assert torch.equal(ex.drop.answer(labels, dropped, 10), package)


def test_guiding_two_noises_is_guiding_two_pictures():
    x_t, told, untold = normal(3, 2, 3, 4, 4)
    first = ex.views.answer(x_t, told, untold, 4.0, 0.6, 0.8)
    noises = ((x_t - 0.6 * x0_pred) / 0.8 for x0_pred in (told, untold))
    torch.testing.assert_close(first, ex.guide.answer(*noises, 4.0))


@pytest.mark.parametrize(("widths", "scale"), [((0.5, 1), 3), ((0.4, 0.7), 2.5), ((0.8, 0.6), 2)])
def test_the_guided_ode_ends_at_the_width(widths, scale):
    """Heun's steps in float64, from sigma 1,000 down to 0, along the exact scores."""
    h_told, h_untold = (torch.tensor(h, dtype=torch.float64) for h in widths)
    sigmas = torch.cat([torch.logspace(3, -4, 4000, dtype=torch.float64), torch.zeros(1)])

    def slope(x, sigma):
        told, untold = (x * sigma / (h**2 + sigma**2) for h in (h_told, h_untold))
        return untold + scale * (told - untold)

    x = sigmas[0].clone()
    for here, there in pairwise(sigmas):
        first = slope(x, here)
        x = x + (there - here) * (first + slope(x + (there - here) * first, there)) / 2
    torch.testing.assert_close(x, ex.width.answer(h_told, h_untold, scale), rtol=1e-4, atol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_calls_are_counted(scale):
    timesteps, calls = torch.arange(999, 0, -90), []

    def model(x_t, timesteps, class_labels):
        calls.append(timesteps)
        return x_t

    condition, without = ({"class_labels": torch.tensor([label])} for label in (0, 1))
    for t in timesteps:
        inside = 279 <= t < 639
        guided = cu.Guidance(model, condition, without, scale if inside else 1.0)
        guided(torch.zeros(1, 1, 2, 2), t.reshape(1))
    assert ex.interval.answer(timesteps, 279, 639, scale) == len(calls)


def test_steering_is_the_gradient_by_finite_differences():
    x_t, noise = normal(2, 1, 2, 2), normal(2, 1, 2, 2, seed=1)

    def x0_of(x):
        return x.sin()

    def loss(x0):
        return (x0**3).sum(dim=(1, 2, 3))

    steered = ex.steer.answer(noise, x_t, x0_of, loss, 0.5, 2.0)
    for place in range(x_t.numel()):
        step = 1e-6 * torch.eye(x_t.numel(), dtype=x_t.dtype)[place].reshape(x_t.shape)
        change = (loss(x0_of(x_t + step)) - loss(x0_of(x_t - step))).sum() / 2e-6
        torch.testing.assert_close((steered - noise).flatten()[place], change)


def test_lora_is_two_layers_beside_the_old_one_and_can_be_merged():
    x, weight, bias, A, B = normal(4, 6), normal(5, 6), normal(5), normal(2, 6), normal(5, 2)
    merged = nn.functional.linear(x, weight + 3 / 2 * B @ A, bias)
    torch.testing.assert_close(ex.lora.answer(x, weight, bias, A, B, 3.0), merged)


def test_numbers_are_counted_as_torch_counts_them():
    down, up = nn.Conv2d(12, 3, 5, bias=False), nn.Conv2d(3, 20, 1, bias=False)
    numbers = down.weight.numel() + up.weight.numel()
    assert ex.count.answer(12, 20, 5, 3) == numbers


@pytest.mark.parametrize("starts", [(1, 0), (0, 1), (0, 0), (1, 1)])
def test_gradients_are_autograds_and_two_zeros_never_move(starts):
    x, grad_out = normal(4, 6), normal(4, 5, seed=1)
    A = (starts[0] * normal(2, 6)).requires_grad_()
    B = (starts[1] * normal(5, 2)).requires_grad_()
    (x @ A.T @ B.T).backward(grad_out)
    grads = ex.zero_start.answer(x, A.detach(), B.detach(), grad_out)
    torch.testing.assert_close(grads, (A.grad, B.grad))
    assert tuple(bool(g.any()) for g in grads) == (bool(starts[1]), bool(starts[0]))


def test_overlap_is_between_none_and_all():
    masks = normal(4, 1, 8, 8) > 0
    assert ex.overlap.answer(masks, masks).tolist() == [1] * 4
    assert ex.overlap.answer(masks, ~masks).tolist() == [0] * 4
    a, b = torch.zeros(2, 1, 1, 4, 4, dtype=torch.bool)
    a[..., :2, :], b[..., 1:3, :] = True, True  # 4 of 12 pixels
    torch.testing.assert_close(ex.overlap.answer(a, b), torch.tensor([1 / 3]))


def test_a_kept_part_is_as_noisy_as_the_rest():
    schedule, x0 = cu.NoiseSchedule.cosine(1000), normal(2, 3, 4, 4)
    noise, timesteps = normal(2, 3, 4, 4, seed=1), torch.tensor([300, 300])
    x_t, mask = normal(2, 3, 4, 4, seed=2), normal(2, 1, 4, 4, seed=3) > 0
    alpha, sigma = schedule.alphas[300].item(), schedule.sigmas[300].item()
    kept = ex.keep.answer(x_t, x0, mask, alpha, sigma, noise)
    noisy = schedule.add_noise(x0, noise, timesteps)
    everywhere = mask.expand_as(x0)
    torch.testing.assert_close(kept[everywhere], noisy[everywhere], rtol=1e-6, atol=1e-6)
    assert torch.equal(kept[~everywhere], x_t[~everywhere])
