"""The digit distance against its closed form and common sense."""

import numpy as np
import pytest
import torch
from scipy import linalg

from course_utils import load_digits
from course_utils.metrics import DIGIT_FEATURES, DigitFeatures, digit_distance


@pytest.fixture(scope="module")
def digits():
    return load_digits("train", "offline").images, load_digits("test", "offline")


def test_it_equals_the_closed_form(digits):
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), with scipy's matrix root."""
    train, test = digits
    network = DigitFeatures.pretrained()
    a, b = (network(x).double().numpy() for x in (train[:400], test.images[:300]))
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c1 @ c2).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root)
    assert digit_distance(train[:400], test.images[:300]) == pytest.approx(expected, abs=1e-3)


def test_more_noise_is_farther_away(digits, generator):
    train, test = digits
    x = train[:300].float() / 127.5 - 1
    noise = torch.randn(x.shape, generator=generator)
    distances = [digit_distance((x + s * noise).clamp(-1, 1), test.images) for s in (0, 0.3, 1)]
    assert distances[0] < 4
    assert distances[0] < distances[1] < distances[2]


def test_bytes_and_floats_are_the_same_pictures(digits):
    train, test = digits
    floats = train[:200].float() / 127.5 - 1
    as_bytes = digit_distance(train[:200], test.images[:200])
    assert digit_distance(floats, test.images[:200]) == pytest.approx(as_bytes, abs=1e-4)


def test_the_features_know_their_digits(digits):
    _, test = digits
    network = DigitFeatures.pretrained()
    right = network.classify(test.images).argmax(1) == test.labels
    assert right.float().mean() > 0.98
    assert DIGIT_FEATURES.stat().st_size < 1_000_000


def test_too_few_pictures_are_named(digits):
    train, _ = digits
    with pytest.raises(ValueError, match="samples must hold at least 2 pictures, got 1"):
        digit_distance(train[:1], train[:5])
