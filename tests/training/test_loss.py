"""The loss against the textbook: its target, its noise, its timesteps, its weights."""

from functools import partial

import pytest
import torch
from tiny import images, tiny
from torch import nn

from course_utils.checks import PREDICTION_TYPES
from course_utils.schedule import NoiseSchedule
from course_utils.training.loss import (
    diffusion_loss,
    draw_timesteps,
    logit_normal,
    loss_per_level,
    loss_weights,
)

SCHEDULES = {
    "linear": NoiseSchedule.linear(40),
    "cosine": NoiseSchedule.cosine(40),
    "straight": NoiseSchedule.straight(40),
}
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


# --- the loss


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_loss_is_the_mean_squared_error_against_the_target(prediction_type):
    model, schedule, x0 = tiny(), NoiseSchedule.cosine(50), images()
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    timesteps = torch.arange(8) * 6
    target = {
        "epsilon": noise,
        "sample": x0,
        "v_prediction": schedule.velocity(x0, noise, timesteps),
    }[prediction_type]
    x_t = schedule.add_noise(x0, noise, timesteps)
    expected = ((model(x_t, timesteps) - target) ** 2).mean()
    loss = diffusion_loss(
        model, schedule, x0, prediction_type=prediction_type, timesteps=timesteps, noise=noise
    )
    torch.testing.assert_close(loss, expected)
    assert loss.requires_grad


def test_the_loss_draws_normal_noise_and_every_timestep():
    """A model that answers 0 has, for epsilon, the noise's variance as its loss."""
    seen = []

    def silent(x_t, timesteps):
        seen.append(timesteps)
        return torch.zeros_like(x_t)

    x0 = torch.zeros(20_000, 1, 2, 2)
    loss = diffusion_loss(silent, NoiseSchedule.linear(10), x0)
    assert loss.item() == pytest.approx(1, abs=0.03)
    assert torch.bincount(seen[0], minlength=10).float().div(2000).sub(1).abs().max() < 0.15


def test_noise_is_drawn_anew_for_every_image_and_pixel():
    inputs = []
    diffusion_loss(
        lambda x, t: inputs.append(x) or x,
        NoiseSchedule.linear(10),
        torch.zeros(64, 1, 8, 8),
        timesteps=torch.full((64,), 9),
    )
    assert len(inputs[0].unique()) > 4000


def test_the_same_generator_gives_the_same_loss():
    model, schedule, x0 = tiny(), NoiseSchedule.linear(100), images()
    losses = [
        diffusion_loss(model, schedule, x0, generator=torch.Generator().manual_seed(seed)).item()
        for seed in (3, 3, 4)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_an_answer_of_another_shape_is_an_error_not_a_broadcast(no_shape_checks):
    with pytest.raises(ValueError, match="the model's output must have the shape of its input"):
        diffusion_loss(lambda x, t: x[:, :, :1], NoiseSchedule.linear(10), images())


def test_logit_normal_timesteps_crowd_the_middle(generator):
    timesteps = draw_timesteps(20_000, 1000, "logit_normal", generator)
    where = (timesteps + 0.5) / 1000
    normal = torch.log(where / (1 - where))
    assert normal.mean() == pytest.approx(0, abs=0.03)
    assert normal.std() == pytest.approx(1, abs=0.03)
    assert timesteps.min() >= 0
    assert timesteps.max() < 1000


def test_logit_normal_timesteps_move_with_mean_and_std(generator):
    shifted = partial(logit_normal, mean=0.5, std=0.7)
    timesteps = draw_timesteps(20_000, 1000, shifted, generator)
    where = (timesteps + 0.5) / 1000
    normal = torch.log(where / (1 - where))
    assert normal.mean() == pytest.approx(0.5, abs=0.03)
    assert normal.std() == pytest.approx(0.7, abs=0.03)


def test_timesteps_may_come_from_a_function_of_ones_own(generator):
    seen = []

    def last(num_images, T, generator, device):
        return torch.full((num_images,), T - 1, device=device)

    diffusion_loss(
        lambda x, t: seen.append(t) or x,
        NoiseSchedule.linear(10),
        images(),
        timestep_sampling=last,
    )
    assert seen[0].tolist() == [9] * 8


def test_uniform_timesteps_reach_both_ends(generator):
    assert set(draw_timesteps(2000, 7, "uniform", generator).tolist()) == set(range(7))


def test_an_unknown_timestep_sampling_is_named():
    with pytest.raises(ValueError, match="one of uniform, logit_normal; got 'normal'"):
        draw_timesteps(4, 10, "normal")


# --- the weights


@each_schedule
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_an_error_in_x0_alike_whatever_the_target(schedule, gamma):
    """The weighted error of every target is min(SNR, gamma) times the error in x0."""
    T = len(schedule)
    x0, noise = torch.randn(2, T - 1, 1, 2, 2, dtype=torch.float64)
    timesteps = torch.arange(T - 1)  # without the last level, where epsilon tells nothing of x0
    x_t = schedule.add_noise(x0, noise, timesteps)
    expected = schedule.snr.clamp(max=gamma)[: T - 1].double()
    for prediction_type in PREDICTION_TYPES:
        target = schedule.target(x0, noise, timesteps, prediction_type)
        answer = target + 0.01
        x0_error = schedule.predict_x0(answer, x_t, timesteps, prediction_type) - x0
        weights = loss_weights(schedule, prediction_type, "min_snr", gamma)[: T - 1].double()
        weighted = weights * (answer - target).square().mean((1, 2, 3))
        torch.testing.assert_close(
            weighted, expected * x0_error.square().mean((1, 2, 3)), rtol=1e-3, atol=1e-9
        )


@each_schedule
def test_min_snr_in_closed_form(schedule):
    snr, sigma = schedule.snr, schedule.sigmas
    five = torch.full_like(snr, 5)
    least = torch.minimum(snr, five)
    torch.testing.assert_close(loss_weights(schedule, "sample"), least)
    noisy = snr > 0
    torch.testing.assert_close(loss_weights(schedule, "epsilon")[noisy], (least / snr)[noisy])
    torch.testing.assert_close(loss_weights(schedule, "v_prediction"), least * sigma**2)
    if schedule is not SCHEDULES["straight"]:  # on the circle 1 / sigma² is SNR + 1
        torch.testing.assert_close(
            loss_weights(schedule, "v_prediction"), least / (snr + 1), rtol=1e-4, atol=1e-6
        )


def test_min_snr_is_not_reversed():
    """What is nearly clean counts no more than gamma in x0, and less and less in the noise."""
    schedule = SCHEDULES["linear"]
    assert loss_weights(schedule, "sample")[0] == 5
    assert loss_weights(schedule, "epsilon")[0] < 0.01
    assert loss_weights(schedule, "epsilon")[-1] == 1


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_no_weighting_counts_every_level_once(prediction_type):
    assert loss_weights(SCHEDULES["cosine"], prediction_type, "none").eq(1).all()


def test_the_loss_uses_the_weights_of_its_timesteps():
    model, schedule, x0 = tiny(), SCHEDULES["cosine"], images(2)
    timesteps, noise = torch.tensor([3, 30]), torch.randn(x0.shape)
    options = {"timesteps": timesteps, "noise": noise, "prediction_type": "v_prediction"}
    target = schedule.velocity(x0, noise, timesteps)
    errors = (model(schedule.add_noise(x0, noise, timesteps), timesteps) - target) ** 2
    expected = (errors.mean((1, 2, 3)) * loss_weights(schedule, "v_prediction")[timesteps]).mean()
    loss = diffusion_loss(model, schedule, x0, weighting="min_snr", **options)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "snr"}, "weighting must be one of none, min_snr; got 'snr'"),
        ({"gamma": 0.0}, "gamma must be above 0, got 0.0"),
        ({"prediction_type": "noise"}, "prediction_type must be one of .* got 'noise'"),
    ],
)
def test_bad_weightings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        loss_weights(SCHEDULES["cosine"], **{"prediction_type": "epsilon"} | options)


# --- level by level


def test_the_loss_per_level_is_the_loss_at_that_level():
    schedule, x0 = SCHEDULES["cosine"], images(200)
    levels = [0, 20, 39]
    losses = loss_per_level(lambda x, t: torch.zeros_like(x), schedule, x0, levels)
    torch.testing.assert_close(losses, torch.ones(3), atol=0.1, rtol=0)  # the noise's variance
    of_x0 = loss_per_level(
        lambda x, t: torch.zeros_like(x), schedule, x0, levels, prediction_type="sample"
    )
    torch.testing.assert_close(of_x0, x0.square().mean().expand(3))


def test_two_looks_at_the_levels_use_the_same_noise():
    model, schedule, x0 = tiny(), SCHEDULES["linear"], images()
    first, second, other = (
        loss_per_level(model, schedule, x0, range(0, 40, 10), seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not first.requires_grad


# --- a condition


class Listener(nn.Module):
    """Answers what it was told, and remembers it; 5 is "no label"."""

    num_classes = 5

    def __init__(self):
        super().__init__()
        self.heard = []

    def forward(self, x_t, timesteps, class_labels=None, encoder_hidden_states=None):
        self.heard.append((x_t, timesteps, class_labels, encoder_hidden_states))
        return x_t * 0 + (0 if class_labels is None else class_labels[:, None, None, None])


def labels(b=8):
    return {"class_labels": torch.arange(b) % 5}


def test_the_condition_reaches_the_network():
    model, text = Listener(), torch.randn(8, 2, 3)
    condition = labels() | {"encoder_hidden_states": text}
    diffusion_loss(model, NoiseSchedule.cosine(50), images(), condition=condition)
    assert model.heard[0][2].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert torch.equal(model.heard[0][3], text)


def test_without_a_condition_nothing_is_said():
    model = Listener()
    diffusion_loss(model, NoiseSchedule.cosine(50), images())
    assert model.heard[0][2:] == (None, None)


def test_a_share_of_the_rows_is_told_nothing():
    model, x0 = Listener(), torch.zeros(20_000, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    options = {"condition": labels(20_000), "drop": 0.1, "generator": generator}
    diffusion_loss(model, NoiseSchedule.cosine(50), x0, **options)
    heard = model.heard[0][2]
    dropped = heard == 5
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(heard[~dropped], labels(20_000)["class_labels"][~dropped])


def test_which_rows_is_the_generators_choice_and_nothing_else_moves():
    state = torch.get_rng_state()
    heard = []
    for drop, seed in ((0.5, 0), (0.5, 0), (0.5, 1), (0.0, 0)):
        model, generator = Listener(), torch.Generator().manual_seed(seed)
        options = {"condition": labels(), "drop": drop, "generator": generator}
        diffusion_loss(model, NoiseSchedule.cosine(50), images(), **options)
        heard += model.heard
    (x, t, first, _), (_, _, again, _), (_, _, other, _), (same_x, same_t, whole, _) = heard
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert whole.tolist() == labels()["class_labels"].tolist()
    assert torch.equal(x, same_x)
    assert torch.equal(t, same_t)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_rows_may_be_given():
    model, mask = Listener(), torch.arange(8) % 2 == 0
    diffusion_loss(model, NoiseSchedule.cosine(50), images(), condition=labels(), drop=mask)
    assert model.heard[0][2].tolist() == [5, 1, 5, 3, 5, 0, 5, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": labels(), "drop": 1.5}, r"drop must lie in \[0, 1\], got 1.5"),
        ({"condition": labels(), "drop": -0.1}, r"drop must lie in \[0, 1\], got -0.1"),
        ({"drop": 0.1}, "there is none: pass condition"),
    ],
)
def test_a_drop_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        diffusion_loss(Listener(), NoiseSchedule.cosine(50), images(), **options)


def test_the_levels_are_measured_with_the_condition():
    model = Listener()
    loss_per_level(model, NoiseSchedule.cosine(50), images(), [3, 30], condition=labels())
    assert [heard[2].tolist() for heard in model.heard] == [labels()["class_labels"].tolist()] * 2


@pytest.mark.parametrize("wrong", [-1, 50])
def test_a_timestep_out_of_range_is_named(wrong):
    timesteps = torch.tensor([0, 1, 2, 3, 4, 5, 6, wrong])
    with pytest.raises(ValueError, match=rf"timesteps must lie in \[0, 50\), got .*{wrong}"):
        diffusion_loss(tiny(), NoiseSchedule.cosine(50), images(), timesteps=timesteps)
