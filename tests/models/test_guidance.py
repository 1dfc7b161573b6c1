"""Guidance: a model like any other, whichever of the three views it guides."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_unet
from torch import nn

from course_utils import Guidance, NoiseSchedule, UNet, sample
from course_utils.models import drop_condition, num_classes_of, unconditioned

SCHEDULES = {name: getattr(NoiseSchedule, name) for name in ("linear", "cosine", "straight")}
T = 50
LABELS = {"class_labels": torch.tensor([0, 2])}
NOTHING = {"class_labels": torch.tensor([3, 3])}


def awake(network, seed=0):
    """The network with random weights in place of the zeros that it begins with."""
    torch.manual_seed(seed)
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.2)
    return network.eval()


@pytest.fixture(scope="module")
def unet():
    return awake(UNet(1, channels=(8, 16), num_classes=3))


def noisy(b=2, c=1, size=8, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, c, size, size, generator=generator, dtype=dtype)


TIMES = torch.tensor([10, 40])


def test_scale_1_is_the_told_model_bit_for_bit(unet):
    x_t = noisy()
    guided = Guidance(unet, LABELS, scale=1)(x_t, TIMES)
    assert torch.equal(guided, unet(x_t, TIMES, **LABELS))


def test_scale_0_is_the_model_that_was_told_nothing(unet):
    x_t = noisy()
    guided = Guidance(unet, LABELS, scale=0)(x_t, TIMES)
    assert torch.equal(guided, unet(x_t, TIMES))
    assert torch.equal(guided, unet(x_t, TIMES, class_labels=torch.tensor([3, 3])))


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(-3, 9))
def test_the_push_is_linear_in_the_scale(unet, scale):
    x_t = noisy()
    told, untold = unet(x_t, TIMES, **LABELS), unet(x_t, TIMES)
    guided = Guidance(unet, LABELS, None, scale)(x_t, TIMES)
    torch.testing.assert_close(guided, untold + scale * (told - untold), atol=1e-5, rtol=1e-5)


def test_without_may_be_another_condition(unet):
    x_t, other = noisy(), {"class_labels": torch.tensor([1, 1])}
    told, untold = unet(x_t, TIMES, **LABELS), unet(x_t, TIMES, **other)
    guided = Guidance(unet, LABELS, other, 3.0)(x_t, TIMES)
    torch.testing.assert_close(guided, untold + 3 * (told - untold))


def test_a_scale_by_the_timestep_guides_some_levels_only(unet):
    x_t, asked = noisy(), []

    def counted(x, timesteps, class_labels):
        asked.append(int(timesteps[0]))
        return unet(x, timesteps, class_labels)

    model = Guidance(counted, LABELS, NOTHING, lambda t: 3.0 if 20 <= t < 40 else 1.0)
    for t in (10, 20, 39, 40):
        timesteps = torch.full((2,), t)
        scale = 3.0 if t in (20, 39) else 1.0
        wanted = Guidance(unet, LABELS, scale=scale)(x_t, timesteps)
        assert torch.equal(model(x_t, timesteps), wanted)
    assert asked == [10, 20, 20, 39, 39, 40]
    with pytest.raises(ValueError, match="one scale, got"):
        model(x_t, torch.tensor([20, 40]))


def test_a_weak_model_may_be_what_is_led_away_from(unet):
    x_t, weak = noisy(), awake(UNet(1, channels=(8,), num_classes=3), seed=1)
    told, worse = unet(x_t, TIMES, **LABELS), weak(x_t, TIMES, **LABELS)
    guided = Guidance(unet, LABELS, LABELS, 2.0, weak=weak)(x_t, TIMES)
    torch.testing.assert_close(guided, worse + 2 * (told - worse))
    assert torch.equal(Guidance(unet, LABELS, scale=0, weak=weak)(x_t, TIMES), weak(x_t, TIMES))


def views(schedule, kind):
    """Two models, told and untold, that know one clean image each, and answer in this view."""
    pictures = {True: noisy(seed=2, dtype=torch.float64), False: noisy(seed=3, dtype=torch.float64)}

    def answer(x_t, timesteps, told):
        x0 = pictures[bool(told.all())]
        noise = schedule.predict_noise(x0, x_t, timesteps, "sample")
        return schedule.target(x0, noise, timesteps, kind)

    return answer


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("scale", [-1.0, 0.0, 1.0, 2.5, 7.5])
def test_it_does_not_matter_which_view_is_guided(name, scale):
    """The theorem: all three are affine in the answer, so their mixes imply one clean image."""
    schedule = SCHEDULES[name](T)
    schedule = NoiseSchedule(schedule.levels.double(), schedule.curve)
    told, untold = ({"told": torch.tensor(value)} for value in (True, False))
    x_t, timesteps = noisy(dtype=torch.float64), torch.tensor([5, 44])
    found = []
    for kind in ("epsilon", "sample", "v_prediction"):
        guided = Guidance(views(schedule, kind), told, untold, scale)(x_t, timesteps)
        found.append(schedule.predict_x0(guided, x_t, timesteps, kind))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[2], found[1], rtol=1e-9, atol=1e-9)


def test_the_sampler_draws_with_it_as_with_any_model(unet):
    x_T = noisy()
    options = {"num_steps": 4, "prediction_type": "v_prediction", "order": 2}
    schedule = NoiseSchedule.straight(T)
    *_, told = sample(Guidance(unet, LABELS, scale=1), schedule, x_T, **options)
    *_, same = sample(partial(unet, **LABELS), schedule, x_T, **options)
    *_, pushed = sample(Guidance(unet, LABELS, scale=3), schedule, x_T, **options)
    assert torch.equal(told.x_t, same.x_t)
    assert not torch.allclose(pushed.x_t, told.x_t, atol=1e-3)


@pytest.fixture(scope="module")
def theirs():
    return tiny_unet(in_channels=1, out_channels=1, num_class_embeds=4).eval()


def test_diffusers_class_conditioned_unet_is_guided_by_the_same_call(theirs):
    x_t = noisy()
    with torch.no_grad():
        told = theirs(x_t, TIMES, class_labels=LABELS["class_labels"]).sample
        untold = theirs(x_t, TIMES, class_labels=torch.tensor([3, 3])).sample
        assert torch.equal(Guidance(theirs, LABELS, scale=1)(x_t, TIMES), told)
        guided = Guidance(theirs, LABELS, scale=2.0)(x_t, TIMES)
    assert torch.equal(guided, untold + 2 * (told - untold))
    assert not torch.equal(told, untold)


def test_the_number_of_classes_is_found_through_wrappers(unet, theirs):
    assert num_classes_of(theirs) == num_classes_of(unet) == 3
    assert num_classes_of(Guidance(unet, LABELS)) == 3
    assert num_classes_of(partial(unet, **LABELS)) == 3
    assert num_classes_of(torch.compile(unet)) == 3
    assert num_classes_of(UNet(channels=(8,))) is None
    assert num_classes_of(lambda x, t: x) is None


def test_saying_nothing():
    model, text = UNet(channels=(8,), context_width=4), torch.ones(2, 3, 4)
    silent = unconditioned(model, {"encoder_hidden_states": text})
    assert torch.equal(silent["encoder_hidden_states"], torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"got mood: pass `without`"):
        unconditioned(model, {"mood": text})
    with pytest.raises(ValueError, match="no row for `no label`"):
        unconditioned(model, LABELS)


def test_dropped_rows_alone_are_told_nothing():
    condition = {
        "class_labels": torch.tensor([1, 2, 0]),
        "encoder_hidden_states": torch.ones(3, 2, 2),
    }
    without = {
        "class_labels": torch.tensor([9, 9, 9]),
        "encoder_hidden_states": torch.zeros(3, 2, 2),
    }
    left = drop_condition(condition, torch.tensor([False, True, False]), without)
    assert left["class_labels"].tolist() == [1, 9, 0]
    assert left["encoder_hidden_states"].sum(dim=(1, 2)).tolist() == [4, 0, 4]
    assert condition["class_labels"].tolist() == [1, 2, 0]


def test_it_follows_the_model_to_its_dtype_and_is_no_copy(unet):
    guided = Guidance(unet, LABELS, scale=2)
    assert next(guided.parameters()) is next(unet.parameters())
    double = Guidance(copy.deepcopy(unet).double(), LABELS, scale=2)
    assert double(noisy(dtype=torch.float64), TIMES).dtype == torch.float64
