"""The loss, the EMA and the training loop against the textbook, written out by hand."""

import copy
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TinyModel, images, tiny
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils import Sampler, Trained, UNet
from course_utils.schedule import NoiseSchedule
from course_utils.training import EMA, diffusion_loss, learning_rate, train, update

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
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 1; its batch has pixels"):
        list(train(model, [x0], NoiseSchedule.linear(10), num_steps=3, lr=0.1))
    assert torch.equal(model.conv.weight, before)


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights():
    class Cliff(TinyModel):
        def forward(self, x_t, timesteps):
            return super().forward(x_t, timesteps) + 0 * self.conv.bias.abs().sqrt()

    model = Cliff()
    nn.init.zeros_(model.conv.bias)
    before = model.conv.weight.detach().clone()
    with pytest.raises(FloatingPointError, match=r"gradient's norm is nan at step 1; batch and"):
        list(train(model, [images()], NoiseSchedule.linear(10), num_steps=3, lr=0.1))
    assert torch.equal(model.conv.weight, before)


def test_weights_that_are_not_finite_are_named():
    model = tiny()
    nn.init.constant_(model.conv.weight, float("inf"))
    with pytest.raises(FloatingPointError, match=r"the weights conv\.weight are not finite"):
        list(train(model, [images()], NoiseSchedule.linear(10), num_steps=3, lr=0.1))


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


# --- a condition, and the device


class Batch(NamedTuple):
    x0: torch.Tensor
    condition: dict


def test_training_on_labels_teaches_to_listen():
    """Two classes, black and white: afterwards the label decides which of them is drawn."""
    torch.manual_seed(0)
    x0 = torch.tensor([-0.8, 0.8]).repeat(16).reshape(32, 1, 1, 1).expand(32, 1, 4, 4)
    batch = Batch(x0, {"class_labels": torch.arange(32) % 2})
    model = UNet(1, channels=(8,), num_classes=2)
    options = {"prediction_type": "v_prediction", "drop": 0.2}
    options["generator"] = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule.straight(100)
    list(train(model, [batch], schedule, num_steps=150, lr=2e-2, **options))
    told = Trained(model, schedule, "v_prediction", (1, 4, 4), Sampler(8))
    for label, colour in ((0, -0.8), (1, 0.8)):
        drawn = told.draw(8, condition={"class_labels": torch.tensor([label])})
        assert drawn.mean().item() == pytest.approx(colour, abs=0.3)


class NoLooking(TorchDispatchMode):
    """Raises where a value is taken from a tensor: on a GPU that would wait for all before it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a value was looked at")
        return function(*args, **(kwargs or {}))


def test_an_update_looks_at_no_value_but_the_two_that_decide(monkeypatch):
    model, generator = UNet(1, channels=(8,), num_classes=2), torch.Generator().manual_seed(0)
    condition = {"class_labels": torch.tensor([0, 1])}
    x0, schedule, looks = torch.zeros(2, 1, 4, 4), NoiseSchedule.cosine(10), []
    options = {"condition": condition, "drop": 0.5, "generator": generator}
    options |= {"prediction_type": "v_prediction", "timestep_sampling": "logit_normal"}
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: looks.append(x.shape) or tolist(x))
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    settings = {"step": 0, "max_grad_norm": 1.0, "ema": EMA(model)}
    with NoLooking():
        loss = diffusion_loss(model, schedule, x0, **options)
        update(model, [loss], sgd, 0.1, **settings)
    assert looks == [(2,)]


def test_the_watch_sees_what_it_should():
    with pytest.raises(AssertionError, match="was looked at"), NoLooking():
        bool(torch.ones(1).max() > 0)


def test_parts_of_a_batch_make_the_same_update():
    whole, parts, x0 = tiny(), tiny(), images()
    schedule, timesteps, noise = (
        NoiseSchedule.cosine(50),
        torch.arange(8) * 6,
        torch.randn(x0.shape),
    )
    for model, size in ((whole, 8), (parts, 2)):
        losses = (
            diffusion_loss(
                model,
                schedule,
                x0[i : i + size],
                timesteps=timesteps[i : i + size],
                noise=noise[i : i + size],
            )
            * (size / 8)
            for i in range(0, 8, size)
        )
        sgd = torch.optim.SGD(model.parameters(), 0.1)
        update(model, losses, sgd, 0.1, step=0, max_grad_norm=1.0)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_latents_that_are_not_finite_are_named_as_such():
    x0 = torch.full((2, 4, 4, 4), float("inf"))
    with pytest.raises(FloatingPointError, match="its batch has latents from inf to inf"):
        list(train(UNet(4, channels=(8,)), [x0], NoiseSchedule.cosine(9), num_steps=1, lr=1e-3))


def test_a_long_gradient_is_shortened():
    model = tiny()
    before = [weights.detach().clone() for weights in model.parameters()]
    loss = 1e4 * diffusion_loss(model, NoiseSchedule.cosine(50), images())
    sgd = torch.optim.SGD(model.parameters(), 1.0)
    update(model, [loss], sgd, 1.0, step=0, max_grad_norm=0.5)
    pairs = zip(before, model.parameters(), strict=True)
    moved = torch.cat([(old - new).flatten() for old, new in pairs]).norm()
    assert moved.item() == pytest.approx(0.5, rel=1e-4)
