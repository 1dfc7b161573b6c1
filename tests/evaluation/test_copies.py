"""Copies are found where they are, and only there."""

import pytest
import torch

from course_utils import draw_butterflies, load_digits, to_model_range
from course_utils.evaluation.copies import find_copies


@pytest.fixture(scope="module")
def butterflies():
    return draw_butterflies(600, 32, seed=8)[0]


def test_real_pictures_are_no_copies_of_others(butterflies):
    digits = load_digits("train", "offline").images
    for seen, fresh in ((butterflies[:500], butterflies[500:]), (digits[:2000], digits[2000:2300])):
        copies = find_copies(fresh, seen)
        assert copies.rate < 0.02
        assert not copies.memorised


def test_copies_with_a_little_noise_are_found(butterflies, generator):
    chosen = torch.randint(0, 500, (40,), generator=generator)
    x = to_model_range(butterflies[chosen])
    x = (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
    copies = find_copies(x, butterflies[:500])
    assert torch.equal(copies.nearest, chosen)
    assert copies.rate > 0.9
    assert copies.memorised
    torch.testing.assert_close(copies.distances, torch.full((40,), 0.05), atol=0.02, rtol=0)


def test_the_rate_is_the_share_of_copies(butterflies):
    mixed = torch.cat([butterflies[:10], butterflies[500:540]])
    assert find_copies(mixed, butterflies[:500]).rate == pytest.approx(0.2)


def test_mirrored_copies_are_found_when_asked_for():
    digits = load_digits("train", "offline").images[:300]
    mirrored = digits[:50].flip(-1)
    assert find_copies(mirrored, digits).rate < 0.5
    copies = find_copies(mirrored, digits, flip=True)
    assert copies.rate == 1
    assert torch.equal(copies.nearest, torch.arange(50))


def test_duplicates_among_the_training_pictures_hide_nothing(butterflies):
    twice = torch.cat([butterflies[:20], butterflies[:20]])
    copies = find_copies(butterflies[:20], twice)
    assert copies.rate == 1
    assert copies.closeness.isfinite().all()


def test_a_blurred_picture_is_not_a_copy_because_it_is_blurred():
    """Blur brings every picture nearer to every other: distance alone would accuse it."""
    digits = load_digits("train", "offline").images[:2000]
    fresh = to_model_range(load_digits("test", "offline").images[:200])
    blurred = torch.nn.functional.avg_pool2d(fresh, 3, 1, 1)
    assert find_copies(blurred, digits).rate < 0.1


def test_sets_that_cannot_be_compared_are_named(butterflies, no_shape_checks):
    for samples, training in (
        (butterflies[:4, :, :16], butterflies),
        (butterflies[:0], butterflies),
        (butterflies[:4], butterflies[:1]),
    ):
        with pytest.raises(ValueError, match=r"of one size, got \(\d"):
            find_copies(samples, training)
