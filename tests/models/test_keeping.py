"""Keeping a part: a model that knows it, whichever view it answers in."""

from itertools import pairwise

import pytest
import torch
from test_guidance import SCHEDULES, T, awake, noisy

from course_utils import Guidance, Kept, NoiseSchedule, UNet, sample

KINDS = ("epsilon", "sample", "v_prediction")
TIMES = torch.tensor([10, 35])


@pytest.fixture(scope="module")
def unet():
    return awake(UNet(1, channels=(8, 16)))


@pytest.fixture(scope="module")
def mask():
    known = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    return known


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_x0_pred_is_the_known_part_and_elsewhere_the_models(unet, mask, name, kind):
    schedule, x_t, x0 = SCHEDULES[name](T), noisy(), noisy(seed=2)
    answer = Kept(unet, x0, mask, schedule, kind)(x_t, TIMES)
    found = schedule.predict_x0(answer, x_t, TIMES, kind)
    own = schedule.predict_x0(unet(x_t, TIMES), x_t, TIMES, kind)
    torch.testing.assert_close(found, torch.where(mask, x0, own), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_any_sampler_ends_with_the_known_part(unet, mask, order):
    schedule, x0 = NoiseSchedule.cosine(T), noisy(seed=2)
    options = {"num_steps": 7, "prediction_type": "v_prediction", "order": order}
    *_, end = sample(Kept(unet, x0, mask, schedule, "v_prediction"), schedule, noisy(), **options)
    torch.testing.assert_close(end.x_t[..., :4], x0[..., :4], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(end.x_t[..., 4:], x0[..., 4:], atol=0.1)


def test_by_ddim_the_known_part_stays_at_its_level_with_one_noise(unet, mask):
    """alpha * x0 + sigma * noise at each level, written out."""
    schedule, x0, x_T = NoiseSchedule.straight(T), noisy(seed=2), noisy()
    kept = Kept(unet, x0, mask, schedule, "v_prediction")
    steps = [*sample(kept, schedule, x_T, num_steps=5, prediction_type="v_prediction")]
    for step, after in pairwise(steps):
        wanted = schedule.point(after.timestep, x0).mix(x0, x_T)
        torch.testing.assert_close(step.x_t[..., :4], wanted[..., :4], rtol=1e-4, atol=1e-4)


def test_one_picture_and_one_mask_do_for_many(unet, mask):
    schedule, x0 = NoiseSchedule.cosine(T), noisy(b=1, seed=2)
    kept = Kept(unet, x0, mask, schedule, "sample")
    found = kept(noisy(b=5), torch.full((5,), 20))
    torch.testing.assert_close(found[..., :4], x0[..., :4].expand(5, -1, -1, -1))


def test_labels_are_passed_on(mask):
    """Kept and guided, in whichever order, is one thing."""
    unet, labels = awake(UNet(1, channels=(8,), num_classes=3)), {"class_labels": TIMES % 3}
    schedule, x0 = NoiseSchedule.cosine(T), noisy(seed=2)
    inside = Guidance(Kept(unet, x0, mask, schedule, "sample"), labels, scale=2)
    outside = Kept(Guidance(unet, labels, scale=2), x0, mask, schedule, "sample")
    torch.testing.assert_close(inside(noisy(), TIMES), outside(noisy(), TIMES))


def test_masks_of_other_kinds_are_refused(unet, mask, no_shape_checks):
    for wrong in (mask.float(), mask[..., :4]):
        with pytest.raises(ValueError, match="mask must be bool, as high and wide as x0, got"):
            Kept(unet, noisy(), wrong, NoiseSchedule.cosine(T), "sample")
