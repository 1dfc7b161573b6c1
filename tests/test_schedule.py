"""The schedule against diffusers, closed forms and round trips."""

import dataclasses
import math

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.checks import PREDICTION_TYPES
from course_utils.models import call_model
from course_utils.schedule import (
    NoiseSchedule,
    corrupt,
    expand_like,
)

SCHEDULES = {
    "linear": NoiseSchedule.linear,
    "cosine": NoiseSchedule.cosine,
    "straight": NoiseSchedule.straight,
}
DIFFUSERS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def batch(T, dtype=torch.float32, b=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    x0 = torch.rand(b, 2, 4, 5, generator=g, dtype=dtype) * 2 - 1
    noise = torch.randn(x0.shape, generator=g, dtype=dtype)
    return x0, noise, torch.randint(T, (b,), generator=g)


# --- corrupt


def test_corrupt_mixes_each_image_by_its_own_amount():
    x = torch.full((3, 1, 2, 2), 0.5)
    noise = torch.ones_like(x)
    mixed = corrupt(x, torch.tensor([0.0, 0.25, 1.0]), noise)
    assert torch.equal(mixed[:, 0, 0, 0], torch.tensor([0.5, 0.625, 1.0]))


def test_corrupt_draws_uniform_noise_and_leaves_x_alone():
    torch.manual_seed(0)
    x = torch.zeros(4, 1, 32, 32)
    mixed = corrupt(x, torch.ones(4))
    assert torch.equal(x, torch.zeros_like(x))
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    assert mixed.mean() == pytest.approx(0.5, abs=0.02)
    assert mixed.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (torch.tensor([0.5, 0.5, 0.5]), r"one value for each of the 2 images.*\(3,\)"),
        (torch.tensor([[0.5], [0.5]]), r"got shape \(2, 1\)"),
        (torch.tensor([0.5, 1.5]), r"amount must lie in \[0, 1\].*1.5"),
        (torch.tensor([float("nan"), 0.5]), "amount must lie in"),
    ],
)
def test_corrupt_names_a_bad_amount(no_shape_checks, amount, message):
    with pytest.raises(ValueError, match=message):
        corrupt(torch.rand(2, 1, 4, 4), amount)


def test_corrupt_refuses_noise_of_another_shape(no_shape_checks):
    with pytest.raises(ValueError, match=r"noise must have the shape of x.*got \(1, 1, 4, 4\)"):
        corrupt(torch.rand(2, 1, 4, 4), torch.rand(2), torch.rand(1, 1, 4, 4))


def test_expand_like_adds_axes():
    assert expand_like(torch.arange(3.0), torch.rand(3, 1, 4, 4)).shape == (3, 1, 1, 1)
    assert expand_like(torch.arange(3.0), torch.rand(3, 7)).shape == (3, 1)


# --- tables


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 2000), name=st.sampled_from(["linear", "cosine"]))
def test_tables_equal_diffusers_bit_for_bit(T, name):
    ours = SCHEDULES[name](T)
    theirs = DDPMScheduler(num_train_timesteps=T, beta_schedule=DIFFUSERS[name])
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert torch.equal(ours.alphas, theirs.alphas_cumprod**0.5)
    assert torch.equal(ours.sigmas, (1 - theirs.alphas_cumprod) ** 0.5)
    assert torch.equal(ours.snr, compute_snr(theirs, torch.arange(T)))
    assert len(ours) == T


def test_linear_takes_other_betas():
    theirs = DDPMScheduler(num_train_timesteps=300, beta_start=0.001, beta_end=0.004)
    ours = NoiseSchedule.linear(300, beta_start=0.001, beta_end=0.004)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


def test_linear_is_the_running_product_up_to_t():
    betas = torch.tensor([0.1, 0.2, 0.3])
    expected = torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7])
    assert torch.allclose(NoiseSchedule.from_betas(betas).alphas_cumprod, expected)


def test_cosine_offset_matters():
    assert not torch.equal(
        NoiseSchedule.cosine(100, offset=0.1).levels, NoiseSchedule.cosine(100).levels
    )


def test_straight_runs_from_one_over_T_to_one():
    schedule = NoiseSchedule.straight(4)
    assert torch.equal(schedule.sigmas, torch.tensor([0.25, 0.5, 0.75, 1.0]))
    assert torch.equal(schedule.alphas, torch.tensor([0.75, 0.5, 0.25, 0.0]))
    assert torch.equal(schedule.alphas_cumprod, schedule.alphas**2)
    assert torch.allclose(schedule.snr, torch.tensor([9.0, 1.0, 1 / 9, 0.0]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_more_noise_and_less_signal_with_every_step(name):
    schedule = SCHEDULES[name](1000)
    assert (schedule.sigmas.diff() >= 0).all()
    assert (schedule.alphas.diff() < 0).all()
    assert schedule.sigmas[-1] > 0.999
    assert schedule.alphas[0] > 0.99


def test_the_schedule_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NoiseSchedule.linear(10).levels = torch.zeros(10)


def test_to_moves_the_table_and_keeps_the_curve():
    moved = NoiseSchedule.straight(10).to("meta")
    assert moved.levels.device.type == "meta"
    assert moved.curve is NoiseSchedule.straight(10).curve


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("T", "error"), [(0, ValueError), (-5, ValueError), (2.5, TypeError)])
def test_a_bad_T_is_named(no_shape_checks, name, T, error):
    with pytest.raises(error, match=f"T must be .*{T}"):
        SCHEDULES[name](T)


def test_bad_betas_are_named(no_shape_checks):
    with pytest.raises(ValueError, match=r"betas must lie in \(0, 1\)"):
        NoiseSchedule.linear(10, beta_start=0.0)


# --- adding noise and reading answers


@settings(max_examples=25, deadline=None)
@given(
    T=st.integers(1, 1200),
    name=st.sampled_from(["linear", "cosine"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_add_noise_and_velocity_equal_diffusers_bit_for_bit(T, name, dtype, seed):
    ours = SCHEDULES[name](T)
    theirs = DDPMScheduler(num_train_timesteps=T, beta_schedule=DIFFUSERS[name])
    x0, noise, timesteps = batch(T, dtype, seed=seed)
    assert torch.equal(ours.add_noise(x0, noise, timesteps), theirs.add_noise(x0, noise, timesteps))
    assert torch.equal(
        ours.velocity(x0, noise, timesteps), theirs.get_velocity(x0, noise, timesteps)
    )


def test_straight_is_the_toys_mix_and_its_velocity_points_from_image_to_noise():
    schedule = NoiseSchedule.straight(10)
    x0, noise, timesteps = batch(10)
    amount = (timesteps + 1) / 10
    assert torch.equal(schedule.add_noise(x0, noise, timesteps), corrupt(x0, amount, noise))
    assert torch.equal(schedule.velocity(x0, noise, timesteps), noise - x0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_velocity_is_the_tangent_of_the_path(name):
    """Against a finite difference: the angle turns on the circle, sigma grows on the line."""
    schedule = SCHEDULES[name](1000)
    x0, noise, timesteps = batch(998, torch.float64)
    step = schedule.add_noise(x0, noise, timesteps + 1) - schedule.add_noise(x0, noise, timesteps)
    velocity = schedule.velocity(x0, noise, timesteps)
    cosine = torch.cosine_similarity(step.flatten(1), velocity.flatten(1))
    assert (cosine > 0.999).all()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_a_perfect_answer_gives_back_image_and_noise(name, prediction_type):
    schedule = SCHEDULES[name](1000)
    x0, noise, timesteps = batch(999, torch.float64, b=64)
    x_t = schedule.add_noise(x0, noise, timesteps)
    answer = schedule.target(x0, noise, timesteps, prediction_type)
    assert torch.allclose(
        schedule.predict_x0(answer, x_t, timesteps, prediction_type), x0, atol=1e-10
    )
    assert torch.allclose(
        schedule.predict_noise(answer, x_t, timesteps, prediction_type), noise, atol=1e-10
    )


def test_targets_are_what_their_names_say():
    schedule = NoiseSchedule.cosine(50)
    x0, noise, timesteps = batch(50)
    assert schedule.target(x0, noise, timesteps, "epsilon") is noise
    assert schedule.target(x0, noise, timesteps, "sample") is x0
    velocity = schedule.velocity(x0, noise, timesteps)
    assert torch.equal(schedule.target(x0, noise, timesteps, "v_prediction"), velocity)


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
def test_pure_noise_can_be_read_where_that_makes_sense(prediction_type):
    schedule = NoiseSchedule.straight(10)
    x0, noise, _ = batch(10, torch.float64)
    last = torch.full((6,), 9)
    answer = schedule.target(x0, noise, last, prediction_type)
    assert torch.allclose(schedule.predict_x0(answer, noise, last, prediction_type), x0)


def test_epsilon_at_pure_noise_is_refused():
    schedule = NoiseSchedule.straight(10)
    _, noise, _ = batch(10)
    with pytest.raises(ValueError, match=r"tells nothing of x0 where alpha_t is 0.*v_prediction"):
        schedule.predict_x0(noise, noise, torch.full((6,), 9), "epsilon")


@pytest.mark.parametrize("method", ["predict_x0", "predict_noise", "target"])
def test_an_unknown_prediction_type_is_named(method):
    schedule = NoiseSchedule.linear(10)
    x0, noise, timesteps = batch(10)
    with pytest.raises(ValueError, match="must be one of epsilon, sample, v_prediction; got 'eps'"):
        getattr(schedule, method)(x0, noise, timesteps, "eps")


@pytest.mark.parametrize(
    ("timesteps", "error", "message"),
    [
        (torch.tensor([0, 10]), ValueError, r"timesteps must lie in \[0, 10\), got \[0, 10\]"),
        (torch.tensor([-1, 0]), ValueError, r"timesteps must lie in \[0, 10\)"),
        (torch.tensor([0.0, 1.0]), TypeError, "timesteps must be integers"),
        (torch.tensor([1]), ValueError, r"one integer for each of the 2 images.*\(1,\)"),
        (torch.tensor(1), ValueError, r"got shape \(\)"),
    ],
)
def test_bad_timesteps_are_named(no_shape_checks, timesteps, error, message):
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(error, match=message):
        NoiseSchedule.linear(10).add_noise(x, x, timesteps)


def test_bytes_and_other_shapes_are_refused(no_shape_checks):
    schedule, timesteps = NoiseSchedule.linear(10), torch.tensor([1, 2])
    x = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"uint8: call to_model_range first"):
        schedule.add_noise(x, x, timesteps)
    with pytest.raises(ValueError, match="noise must have the shape of x0"):
        schedule.add_noise(x.float(), torch.rand(2, 1, 4), timesteps)
    with pytest.raises(ValueError, match="model_output must have the shape of x_t"):
        schedule.predict_x0(torch.rand(2, 3, 4, 4), x.float(), timesteps, "sample")


def test_call_model_unwraps_diffusers_and_checks_the_shape(no_shape_checks):
    class Output:
        sample = torch.ones(2, 1, 4, 4)

    x, timesteps = torch.zeros(2, 1, 4, 4), torch.tensor([0, 0])
    assert call_model(lambda x, t: Output, x, timesteps) is Output.sample
    assert torch.equal(call_model(lambda x, t: x + t[0], x, timesteps), x)
    with pytest.raises(ValueError, match="the model's output must have the shape of its input"):
        call_model(lambda x, t: x[:, :, :2], x, timesteps)
