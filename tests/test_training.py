"""The loss, the EMA and the training loop against the textbook, written out by hand."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_utils.checks import PREDICTION_TYPES
from course_utils.noise import NoiseSchedule
from course_utils.training import (
    EMA,
    diffusion_loss,
    draw_timesteps,
    learning_rate,
    train,
)


class TinyModel(nn.Module):
    """One convolution, and a shift by time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x_t, timesteps):
        return self.conv(x_t) + timesteps[:, None, None, None] / 1000


def tiny(seed=0):
    torch.manual_seed(seed)
    return TinyModel()


def images(b=8, seed=0):
    return torch.rand(b, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


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


def test_uniform_timesteps_reach_both_ends(generator):
    assert set(draw_timesteps(2000, 7, "uniform", generator).tolist()) == set(range(7))


def test_an_unknown_timestep_sampling_is_named():
    with pytest.raises(ValueError, match="one of uniform, logit_normal; got 'normal'"):
        draw_timesteps(4, 10, "normal")


# --- EMA


@settings(max_examples=25, deadline=None)
@given(decay=st.floats(0, 0.9999), num_updates=st.integers(1, 30), seed=st.integers(0, 9))
def test_the_average_follows_the_formula(decay, num_updates, seed):
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(3, 2)
    ema = EMA(model, decay=decay)
    expected = [weights.detach().clone().double() for weights in model.parameters()]
    for n in range(1, num_updates + 1):
        with torch.no_grad():
            for weights in model.parameters():
                weights.copy_(torch.randn(weights.shape, generator=g))
        ema.update(model)
        d = min(decay, (1 + n) / (10 + n))
        expected = [
            d * old + (1 - d) * new for old, new in zip(expected, model.parameters(), strict=True)
        ]
    for shadow, value in zip(ema.shadow, expected, strict=True):
        torch.testing.assert_close(shadow.double(), value, rtol=1e-4, atol=1e-5)


def test_applied_swaps_the_average_in_and_the_weights_back_even_after_an_error():
    model = tiny()
    ema = EMA(model, decay=0.5)
    with torch.no_grad():
        model.conv.weight.fill_(1.0)
    own = copy.deepcopy(model.state_dict())
    average = ema.shadow[0].clone()
    assert not torch.equal(average, own["conv.weight"])

    def leave_with_an_error():
        with ema.applied(model) as inside:
            assert inside is model
            assert torch.equal(model.conv.weight, average)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        leave_with_an_error()
    assert all(torch.equal(model.state_dict()[name], own[name]) for name in own)
    assert torch.equal(ema.shadow[0], average)


def test_the_average_is_a_copy_and_takes_buffers_along():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, decay=0.0)
    model(torch.randn(16, 2) + 5)
    assert ema.shadow[-1] == 0
    ema.update(model)
    other = nn.BatchNorm1d(2)
    ema.copy_to(other)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_bad_decay_is_named(decay):
    with pytest.raises(ValueError, match=rf"decay must lie in \[0, 1\), got {decay}"):
        EMA(nn.Linear(1, 1), decay=decay)


# --- the loop


def test_updates_equal_the_textbook_loop():
    schedule, x0, num_steps = NoiseSchedule.linear(100), images(), 6
    ours, theirs = tiny(), tiny()
    ema, ema_theirs = EMA(ours, decay=0.3), [w.detach().clone() for w in theirs.parameters()]
    steps = list(
        train(
            ours,
            [x0],
            schedule,
            num_steps=num_steps,
            lr=0.05,
            prediction_type="v_prediction",
            ema=ema,
            generator=torch.Generator().manual_seed(2),
        )
    )
    g = torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(theirs.parameters())
    for i, step in enumerate(steps):
        timesteps = torch.randint(100, (8,), generator=g)
        noise = torch.randn(x0.shape, generator=g)
        x_t = schedule.add_noise(x0, noise, timesteps)
        loss = F.mse_loss(theirs(x_t, timesteps), schedule.velocity(x0, noise, timesteps))
        optimizer.param_groups[0]["lr"] = learning_rate(i, num_steps, 0.05)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        d = min(0.3, (2 + i) / (11 + i))
        ema_theirs = [
            d * a + (1 - d) * w.detach()
            for a, w in zip(ema_theirs, theirs.parameters(), strict=True)
        ]
        assert step.step == i + 1
        assert step.loss == loss.item()
        assert step.lr == optimizer.param_groups[0]["lr"]
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(ema.shadow, ema_theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_each_step_is_yielded_after_its_update():
    model = tiny()
    before = model.conv.weight.detach().clone()
    steps = train(model, [images()], NoiseSchedule.linear(10), num_steps=3, lr=0.1)
    assert torch.equal(model.conv.weight, before)
    next(steps)
    assert not torch.equal(model.conv.weight, before)


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(i, 100, 2.0) for i in range(100)]
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert max(rates) == 2.0
    assert rates[52] == pytest.approx(1.0, abs=0.04)
    assert rates[-1] < 0.001
    assert all(a >= b for a, b in pairwise(rates[5:]))
    assert learning_rate(0, 1, 0.5) == 0.5


def test_training_goes_round_the_loader_and_lowers_the_loss():
    loader = [images(4, seed=1), images(4, seed=2), images(2, seed=3)]
    losses = [
        s.loss
        for s in train(
            tiny(),
            loader,
            NoiseSchedule.linear(100),
            num_steps=200,
            lr=0.05,
            generator=torch.Generator().manual_seed(0),
        )
    ]
    assert len(losses) == 200
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_training_repeats_bit_for_bit():
    def run():
        model = tiny()
        list(
            train(
                model,
                [images()],
                NoiseSchedule.linear(10),
                num_steps=5,
                lr=0.1,
                generator=torch.Generator().manual_seed(0),
            )
        )
        return model.conv.weight

    assert torch.equal(run(), run())


def test_the_model_trains_in_training_mode_whatever_happened_between_steps():
    model = tiny()
    for _ in train(model, [images()], NoiseSchedule.linear(10), num_steps=3, lr=0.1):
        assert model.training
        model.eval()


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights():
    model = tiny()
    before = model.conv.weight.detach().clone()
    x0 = images()
    x0[0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 1: try a lower lr"):
        list(train(model, [x0], NoiseSchedule.linear(10), num_steps=3, lr=0.1))
    assert torch.equal(model.conv.weight, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0, "lr": 0.1}, "num_steps must be at least 1, got 0"),
        ({"num_steps": 1, "lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"num_steps": 1, "lr": float("nan")}, "lr must be above 0, got nan"),
    ],
)
def test_bad_settings_are_named_before_the_first_step(options, message):
    with pytest.raises(ValueError, match=message):
        train(tiny(), [images()], NoiseSchedule.linear(10), **options)


def test_an_empty_loader_is_an_error_not_an_endless_loop():
    with pytest.raises(ValueError, match="the loader gave no batch"):
        list(train(tiny(), [], NoiseSchedule.linear(10), num_steps=1, lr=0.1))
