"""Steering: a loss' slope, found by finite differences, in whichever view the model answers."""

import pytest
import torch
from test_guidance import SCHEDULES, T, awake, noisy

from course_utils import Guidance, NoiseSchedule, Steered, UNet, sample
from course_utils.evaluation.features import FeatureNetwork

KINDS = ("epsilon", "sample", "v_prediction")
TIMES = torch.tensor([10, 35])


def double(name):
    schedule = SCHEDULES[name](T)
    return NoiseSchedule(schedule.levels.double(), schedule.curve)


@pytest.fixture(scope="module")
def unet():
    return awake(UNet(1, channels=(8, 16))).double().requires_grad_(False)


def loss(x0):
    return (x0**3).mean((1, 2, 3)) + (x0 - x0.flip(-1)).square().sum((1, 2, 3))


def guess(model, schedule, x_t, kind, timesteps=TIMES):
    with torch.no_grad():
        return schedule.predict_x0(model(x_t, timesteps), x_t, timesteps, kind)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_grows_by_the_slope_of_the_loss(unet, name, kind):
    """Along random directions, by central differences."""
    schedule, x_t = double(name), noisy(dtype=torch.float64)
    steered = Steered(unet, loss, schedule, kind, scale=0.7)(x_t, TIMES)
    noise = schedule.predict_noise(unet(x_t, TIMES), x_t, TIMES, kind)
    more = schedule.predict_noise(steered, x_t, TIMES, kind) - noise
    sigma, step = schedule.sigmas[TIMES], 1e-6
    for seed in range(3):
        way = noisy(dtype=torch.float64, seed=seed)
        up, down = (loss(guess(unet, schedule, x_t + s * way, kind)) for s in (step, -step))
        wanted = 0.7 * sigma * (up - down) / (2 * step)
        torch.testing.assert_close((more * way).sum((1, 2, 3)), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_past_the_network_it_is_the_slope_over_x0_pred(unet, name, kind):
    schedule, x_t = double(name), noisy(dtype=torch.float64)
    x0_pred = guess(unet, schedule, x_t, kind)
    steered = Steered(unet, lambda x0: x0.square().sum((1, 2, 3)), schedule, kind, 0.3, False)
    alpha, sigma = (t[TIMES].view(-1, 1, 1, 1) for t in (schedule.alphas, schedule.sigmas))
    found = schedule.predict_x0(steered(x_t, TIMES), x_t, TIMES, kind)
    wanted = x0_pred - 0.3 * sigma**2 / (alpha**2 + sigma**2) * 2 * x0_pred
    torch.testing.assert_close(found, wanted)


def gaussian(std):
    """The perfect denoiser of pixels from a normal distribution around 0, on the circle."""

    def answer(x_t, timesteps):
        point = SCHEDULE.at(timesteps, x_t)
        return point.alpha * std**2 * x_t / (point.alpha**2 * std**2 + point.sigma**2)

    return answer


SCHEDULE = double("cosine")


@pytest.mark.parametrize("through", [True, False])
def test_of_gaussian_pixels_both_ways_steer_the_posterior_mean_by_its_variance(through):
    """x0_pred moves by -scale * Var(x0 | x_t) * slope; past the network, the width is 1."""
    std = 0.5 if through else 1.0
    x_t, t = noisy(dtype=torch.float64), TIMES
    steered = Steered(gaussian(std), lambda x0: x0.sum((1, 2, 3)), SCHEDULE, "sample", 2.0, through)
    point = SCHEDULE.at(t, x_t)
    variance = std**2 * point.sigma**2 / (point.alpha**2 * std**2 + point.sigma**2)
    moved = gaussian(std)(x_t, t) - 2 * variance.expand_as(x_t)
    torch.testing.assert_close(steered(x_t, t), moved)


def test_scale_0_is_the_model_and_pure_noise_is_left_alone(unet):
    x_t, schedule = noisy(dtype=torch.float64), double("straight")
    for scale, t in ((0.0, TIMES), (5.0, torch.tensor([T - 1, T - 1]))):
        steered = Steered(unet, loss, schedule, "v_prediction", scale)
        assert torch.equal(steered(x_t, t), unet(x_t, t))


def test_it_is_drawn_with_as_with_any_model_and_the_weights_get_no_gradient():
    unet = awake(UNet(1, channels=(8, 16)))
    target = torch.full((2,), 0.4)

    def pale(x0):
        return (x0.mean((1, 2, 3)) - target).square()

    schedule, ends = NoiseSchedule.cosine(T), {}
    for scale in (0.0, 30.0):
        steered = Steered(unet, pale, schedule, "v_prediction", scale)
        options = {"num_steps": 8, "prediction_type": "v_prediction", "order": 2}
        *_, end = sample(steered, schedule, noisy(), **options)
        assert not end.x_t.requires_grad
        ends[scale] = pale(end.x_t).mean()
    assert ends[30.0] < ends[0.0] / 2
    assert all(weights.grad is None and weights.requires_grad for weights in unet.parameters())


def test_labels_are_passed_on():
    """Of a loss whose slope is the same everywhere, the pushes add up to one."""
    unet, labels = awake(UNet(1, channels=(8,), num_classes=3)), {"class_labels": TIMES % 3}
    schedule, x_t = NoiseSchedule.cosine(T), noisy()
    settings = (lambda x0: x0.sum((1, 2, 3)), schedule, "sample", 0.2, False)
    inside = Guidance(Steered(unet, *settings), labels, scale=2)
    outside = Steered(Guidance(unet, labels, scale=2), *settings)
    torch.testing.assert_close(inside(x_t, TIMES), outside(x_t, TIMES))


def test_a_shipped_classifier_can_steer():
    network = FeatureNetwork.shipped("butterflies")

    def unlike(x0):
        return -network.head(network.features(x0)).log_softmax(1)[:, 2]

    schedule, x_t, t = NoiseSchedule.cosine(T), torch.randn(2, 3, 32, 32), TIMES
    steered = Steered(lambda x_t, timesteps: x_t / 2, unlike, schedule, "sample")(x_t, t)
    assert unlike(steered).mean() < unlike(x_t / 2).mean()


def test_what_is_no_loss_is_refused(unet, no_shape_checks):
    x_t, schedule = noisy(dtype=torch.float64), double("cosine")

    def steer(loss):
        return Steered(unet, loss, schedule, "epsilon")(x_t, TIMES)

    with pytest.raises(ValueError, match=r"one number for each of the 2 pictures, got \(\)"):
        steer(lambda x0: x0.mean())
    with pytest.raises(ValueError, match="got float"):
        steer(lambda x0: 1.0)
    with pytest.raises(TypeError, match="must have a gradient"):
        steer(lambda x0: x0.detach().mean((1, 2, 3)))
    with pytest.raises(ValueError, match="prediction_type"):
        Steered(unet, loss, schedule, "noise")
