"""One sampler against diffusers' schedulers, flow matching, the toy, and exact answers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import Guidance, UNet
from course_utils.checks import PREDICTION_TYPES
from course_utils.sampling import sample, trailing_timesteps
from course_utils.schedule import NoiseSchedule

BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
SCHEDULES = {"linear": NoiseSchedule.linear, "cosine": NoiseSchedule.cosine}
EVEN_STEPS = st.sampled_from([(1000, 1), (1000, 10), (1000, 50), (60, 60), (64, 16), (12, 3)])


def toy_model(x, timesteps):
    """Any smooth function of image and time will do as a network."""
    return torch.sin(x) * 0.7 + (timesteps / 500).cos().to(x.dtype)[:, None, None, None] * 0.3


def start(b=3, dtype=torch.float32, seed=1):
    return torch.randn(b, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def walk(model, schedule, x_T, **options):
    return [step.x_t for step in sample(model, schedule, x_T, **options)]


def diffusers_walk(scheduler, model, x, num_steps, **options):
    scheduler.set_timesteps(num_steps)
    path = []
    for t in scheduler.timesteps:
        output = model(x, torch.full((len(x),), int(t)))
        x = scheduler.step(output, t, x, **options).prev_sample
        path.append(x)
    return path


def gaussian_denoiser(schedule, std):
    """The exact E[x0 | x_t] for data N(0, std²): the one network we know in closed form."""

    def model(x_t, timesteps):
        point = schedule.at(timesteps, x_t)
        return point.alpha * std**2 / (point.alpha**2 * std**2 + point.sigma**2) * x_t

    return model


def exact_end(schedule, x_T, std):
    """Where the probability flow carries x_T: each value keeps its quantile."""
    alpha, sigma = schedule.alphas[-1].double(), schedule.sigmas[-1].double()
    return x_T * std / (alpha**2 * std**2 + sigma**2).sqrt()


@settings(max_examples=200, deadline=None)
@given(T=st.integers(1, 1500), share=st.floats(0.0005, 1))
def test_timesteps_are_diffusers_trailing_ones(T, share):
    num_steps = max(1, round(share * T))
    theirs = DDIMScheduler(num_train_timesteps=T, timestep_spacing="trailing")
    theirs.set_timesteps(num_steps)
    ours = trailing_timesteps(T, num_steps)
    assert ours == theirs.timesteps[:num_steps].tolist()
    assert len(ours) == num_steps
    assert ours[0] == T - 1
    assert min(ours) >= 0


@settings(max_examples=30, deadline=None)
@given(
    steps=EVEN_STEPS,
    name=st.sampled_from(list(BETAS)),
    prediction_type=st.sampled_from(PREDICTION_TYPES),
    seed=st.integers(0, 99),
)
def test_eta_0_is_ddim_bit_for_bit(steps, name, prediction_type, seed):
    T, num_steps = steps
    theirs = DDIMScheduler(
        T,
        beta_schedule=BETAS[name],
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    x_T = start(seed=seed)
    expected = diffusers_walk(theirs, toy_model, x_T, num_steps)
    ours = walk(
        toy_model, SCHEDULES[name](T), x_T, num_steps=num_steps, prediction_type=prediction_type
    )
    # The last step adds 0 * noise there, and nothing here: equal but for the sign of zero.
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


@settings(max_examples=20, deadline=None)
@given(
    steps=EVEN_STEPS,
    name=st.sampled_from(list(BETAS)),
    eta=st.sampled_from([0.3, 1.0]),
    prediction_type=st.sampled_from(PREDICTION_TYPES),
)
def test_eta_above_0_is_stochastic_ddim(steps, name, eta, prediction_type):
    T, num_steps = steps
    theirs = DDIMScheduler(
        T,
        beta_schedule=BETAS[name],
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    x_T = start(dtype=torch.float64)
    expected = diffusers_walk(
        theirs, toy_model, x_T, num_steps, eta=eta, generator=torch.Generator().manual_seed(5)
    )
    ours = walk(
        toy_model,
        SCHEDULES[name](T),
        x_T,
        num_steps=num_steps,
        prediction_type=prediction_type,
        eta=eta,
        generator=torch.Generator().manual_seed(5),
    )
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", BETAS)
def test_eta_1_is_ancestral_ddpm(name, clip):
    theirs = DDPMScheduler(
        1000, beta_schedule=BETAS[name], timestep_spacing="trailing", clip_sample=clip
    )
    theirs.set_timesteps(50)
    schedule = SCHEDULES[name](1000)
    x, g = start(dtype=torch.float64), torch.Generator().manual_seed(5)
    steps = sample(
        toy_model,
        schedule,
        x,
        num_steps=50,
        eta=1.0,
        clip=clip,
        generator=torch.Generator().manual_seed(5),
    )
    for t, ours in zip(theirs.timesteps, steps, strict=True):
        output = toy_model(x, torch.full((3,), int(t)))
        expected = theirs.step(output, t, x, generator=g)
        torch.testing.assert_close(
            ours.x0_pred, expected.pred_original_sample, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(ours.x_t, expected.prev_sample, rtol=1e-3, atol=1e-4)
        x = ours.x_t


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("num_steps", [4, 20, 50])
def test_order_2_is_dpm_solver(num_steps, prediction_type):
    theirs = DPMSolverMultistepScheduler(
        1000, prediction_type=prediction_type, timestep_spacing="trailing"
    )
    x_T = start(dtype=torch.float64)
    expected = diffusers_walk(theirs, toy_model, x_T, num_steps)
    ours = walk(
        toy_model,
        NoiseSchedule.linear(1000),
        x_T,
        num_steps=num_steps,
        prediction_type=prediction_type,
        order=2,
    )
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_steps", [1, 7, 25])
def test_straight_with_velocity_is_flow_matchings_euler_step(num_steps):
    theirs = FlowMatchEulerDiscreteScheduler(1000)
    T = 1000 if 1000 % num_steps == 0 else 7 * 100
    sigmas = np.linspace(1, 1 / num_steps, num_steps)
    theirs.set_timesteps(sigmas=sigmas)
    x = x_T = start(dtype=torch.float64)
    ours = walk(
        toy_model,
        NoiseSchedule.straight(T),
        x_T,
        num_steps=num_steps,
        prediction_type="v_prediction",
    )
    timesteps = trailing_timesteps(T, num_steps)
    for t, t_theirs, x_ours in zip(timesteps, theirs.timesteps, ours, strict=True):
        x = theirs.step(toy_model(x, torch.full((3,), t)), t_theirs, x).prev_sample
        torch.testing.assert_close(x_ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 5, 40])
def test_straight_with_sample_is_the_toys_walk(num_steps):
    x = x_T = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    T = 5 * 40
    ours = walk(
        toy_model, NoiseSchedule.straight(T), x_T, num_steps=num_steps, prediction_type="sample"
    )
    for i, t in enumerate(trailing_timesteps(T, num_steps)):
        prediction = toy_model(x, torch.full((3,), t))
        x = x + (prediction - x) / (num_steps - i)
        torch.testing.assert_close(ours[i], x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "cosine", "straight"])
def test_all_targets_walk_the_same_path(name):
    """A denoiser dressed up as any of the three predictions ends in the same picture."""
    schedule = {**SCHEDULES, "straight": NoiseSchedule.straight}[name](1000)
    denoise = gaussian_denoiser(schedule, std=0.4)

    def velocity(x_t, timesteps):
        x0 = denoise(x_t, timesteps)
        noise = schedule.predict_noise(x0, x_t, timesteps, "sample")
        return schedule.velocity(x0, noise, timesteps)

    x_T = start(dtype=torch.float64)
    by_sample = walk(denoise, schedule, x_T, num_steps=20, prediction_type="sample")
    by_velocity = walk(velocity, schedule, x_T, num_steps=20, prediction_type="v_prediction")
    torch.testing.assert_close(by_sample, by_velocity)


@pytest.mark.parametrize("name", ["linear", "straight"])
@pytest.mark.parametrize("order", [1, 2])
def test_more_steps_come_closer_at_the_order_promised(name, order):
    schedule = {**SCHEDULES, "straight": NoiseSchedule.straight}[name](4096)
    model, x_T = gaussian_denoiser(schedule, std=0.5), start(dtype=torch.float64)
    errors = [
        (
            walk(model, schedule, x_T, num_steps=n, prediction_type="sample", order=order)[-1]
            - exact_end(schedule, x_T, 0.5)
        )
        .abs()
        .max()
        for n in (64, 128, 256)
    ]
    for coarse, fine in pairwise(errors):
        assert coarse / fine > (1.8 if order == 1 else 2.5)


def test_ancestral_steps_keep_the_datas_spread():
    """With the exact denoiser, eta = 1 must draw N(0, std²) on every curve."""
    for schedule in (NoiseSchedule.linear(1000), NoiseSchedule.straight(1000)):
        g = torch.Generator().manual_seed(0)
        x_T = torch.randn(4000, 1, 1, 1, generator=g)
        model = gaussian_denoiser(schedule, std=0.5)
        last = walk(
            model, schedule, x_T, num_steps=200, prediction_type="sample", eta=1.0, generator=g
        )[-1]
        assert last.std() == pytest.approx(0.5, abs=0.03)
        assert abs(torch.corrcoef(torch.stack([last.flatten(), x_T.flatten()]))[0, 1]) < 0.1


def test_the_last_step_lands_on_x0_pred_and_nothing_is_clipped():
    steps = list(
        sample(
            lambda x, t: x * 9,
            NoiseSchedule.linear(10),
            start(),
            num_steps=3,
            prediction_type="sample",
        )
    )
    assert [step.timestep for step in steps] == trailing_timesteps(10, 3)
    assert torch.equal(steps[-1].x_t, steps[-1].x0_pred)
    assert steps[-1].x_t.abs().max() > 1


def test_clip_clamps_every_prediction():
    steps = sample(
        lambda x, t: x * 9,
        NoiseSchedule.linear(10),
        start(),
        num_steps=3,
        prediction_type="sample",
        clip=True,
    )
    assert all(step.x0_pred.abs().max() <= 1 for step in steps)


def test_the_network_sees_each_timestep_once_as_a_batch_of_integers():
    seen = []

    def model(x, timesteps):
        seen.append(timesteps)
        return x

    list(sample(model, NoiseSchedule.cosine(100), start(), num_steps=4, order=2))
    assert [t.tolist() for t in seen] == [[99] * 3, [74] * 3, [49] * 3, [24] * 3]
    assert not seen[0].is_floating_point()


def test_no_graph_is_built_through_the_networks_weights():
    weight = torch.ones((), requires_grad=True)
    steps = list(sample(lambda x, t: x * weight, NoiseSchedule.linear(10), start(), num_steps=3))
    assert not any(step.x_t.requires_grad or step.x0_pred.requires_grad for step in steps)


def test_x_T_stays_and_the_caller_keeps_gradients_and_mode():
    model = nn.Sequential(nn.Dropout(0.9))
    model.forward = lambda x, t: x if not model.training else x * float("nan")
    x_T = start()
    before = x_T.clone()
    walker = sample(model, NoiseSchedule.linear(10), x_T, num_steps=2)
    step = next(walker)
    assert torch.is_grad_enabled()
    assert model.training
    assert step.x_t.isfinite().all()
    assert not step.x_t.requires_grad
    assert torch.equal(x_T, before)


def test_the_same_seed_repeats_bit_for_bit():
    def draw(seed):
        return walk(
            toy_model,
            NoiseSchedule.linear(100),
            start(),
            num_steps=10,
            eta=1.0,
            generator=torch.Generator().manual_seed(seed),
        )[-1]

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_steps": 0}, ValueError, "num_steps must be from 1 to 10, got 0"),
        ({"num_steps": 11}, ValueError, "num_steps must be from 1 to 10, got 11"),
        ({"num_steps": 2.5}, TypeError, "num_steps must be an int, got 2.5"),
        ({"num_steps": 5, "eta": -0.1}, ValueError, r"eta must lie in \[0, 1\], got -0.1"),
        ({"num_steps": 5, "eta": 1.1}, ValueError, r"eta must lie in \[0, 1\], got 1.1"),
        ({"num_steps": 5, "order": 3}, ValueError, "order must be 1, or 2 .*order=3"),
        ({"num_steps": 5, "order": 2, "eta": 0.5}, ValueError, "order=2, eta=0.5"),
        ({"num_steps": 5, "prediction_type": "x0"}, ValueError, "prediction_type must be one of"),
    ],
)
def test_bad_settings_are_named_before_the_first_step(no_shape_checks, options, error, message):
    with pytest.raises(error, match=message):
        sample(toy_model, NoiseSchedule.linear(10), start(), **options)


def test_what_cannot_start_says_so(no_shape_checks):
    with pytest.raises(ValueError, match="'epsilon' cannot start where alpha is 0"):
        sample(toy_model, NoiseSchedule.straight(10), start(), num_steps=2)
    with pytest.raises(TypeError, match=r"x_T must be float noise, got torch\.int64"):
        sample(toy_model, NoiseSchedule.linear(10), torch.zeros(1, 1, 2, 2).long(), num_steps=2)


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"eta": 1.0}, {"clip": True}])
def test_nothing_waits_for_the_device(options):
    """On the device "meta" there are shapes, and no values that could be waited for."""
    generator = torch.Generator().manual_seed(0)
    model = UNet(1, channels=(8,), num_classes=3).to("meta")
    guided = Guidance(model, {"class_labels": torch.tensor([0, 1])}, scale=2.0)
    x_T, options = torch.empty(2, 1, 8, 8, device="meta"), {"generator": generator, **options}
    options |= {"num_steps": 4, "prediction_type": "v_prediction"}
    steps = list(sample(guided, NoiseSchedule.cosine(10), x_T, **options))
    assert [step.x_t.shape for step in steps] == [(2, 1, 8, 8)] * 4
