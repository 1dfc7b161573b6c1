"""The numbers for quality against closed forms, an independent kernel, and common sense."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from course_utils import draw_butterflies, load_digits
from course_utils.evaluation.distances import (
    classify,
    compare,
    frechet_distance,
    kernel_distance,
    pick_features,
)
from course_utils.evaluation.features import SHIPPED, FeatureNetwork, weights_file


@pytest.fixture(scope="module")
def digits():
    return load_digits("train", "offline").images, load_digits("test", "offline")


@pytest.fixture(scope="module")
def butterflies():
    return draw_butterflies(1200, 32, seed=8)


def numpy_frechet(a, b):
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), with scipy's matrix root."""
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c1 @ c2).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root)


def numpy_kernel(a, b):
    """The unbiased estimate, without the pairs of a picture with itself."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x):
        pairs = kernel(x, x)
        np.fill_diagonal(pairs, 0)
        return pairs.sum() / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * kernel(a, b).mean()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_distances_equal_an_independent_implementation(name, digits, butterflies):
    pictures = digits[0] if name == "digits" else butterflies[0]
    a, b = pictures[:400], pictures[400:700].flip(-1)
    network = FeatureNetwork.shipped(name)
    x, y = (network(part).double().numpy() for part in (a, b))
    assert frechet_distance(a, b) == pytest.approx(numpy_frechet(x, y), abs=1e-3, rel=1e-3)
    assert kernel_distance(a, b) == pytest.approx(numpy_kernel(x, y), abs=1e-3, rel=1e-3)


def test_the_kernel_distance_is_torchmetrics_where_the_sets_are_equally_large(digits):
    a, b = digits[0][:120], digits[1].images[:120]
    network = FeatureNetwork.shipped("digits")
    theirs = KernelInceptionDistance(network, subsets=1, subset_size=120)
    theirs.update(a, real=False)
    theirs.update(b, real=True)
    assert kernel_distance(a, b) == pytest.approx(theirs.compute()[0].item(), abs=1e-3)


def test_more_noise_is_farther_away(digits, generator):
    train, test = digits
    x = train[:300].float() / 127.5 - 1
    noise = torch.randn(x.shape, generator=generator)
    noisy = [(x + s * noise).clamp(-1, 1) for s in (0, 0.3, 1)]
    for distance in (frechet_distance, kernel_distance):
        near, farther, far = (distance(x, test.images) for x in noisy)
        assert near < farther < far


def test_the_kernel_distance_is_unbiased_and_the_frechet_distance_is_not(digits):
    train, test = digits
    real = test.images
    few = [train[i : i + 50] for i in range(0, 1000, 50)]
    kernel = [kernel_distance(x, real[:50]) for x in few]
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / len(kernel) ** 0.5 + abs(
        kernel_distance(train[:1000], real)
    )
    assert np.mean([frechet_distance(x, real) for x in few]) > 2 * frechet_distance(
        train[:1000], real
    )


def test_measuring_leaves_the_global_random_state_alone(digits):
    train, test = digits
    before = torch.get_rng_state()
    kernel_distance(train[:50], test.images[:50])
    frechet_distance(train[:50], test.images[:50])
    assert torch.equal(before, torch.get_rng_state())


def test_bytes_and_floats_are_the_same_pictures(digits):
    train, test = digits
    floats = train[:200].float() / 127.5 - 1
    as_bytes = frechet_distance(train[:200], test.images[:200])
    assert frechet_distance(floats, test.images[:200]) == pytest.approx(as_bytes, abs=1e-4)


def test_the_features_know_their_digits_and_species(digits, butterflies):
    test = digits[1]
    for name, images, labels in (
        ("digits", test.images, test.labels),
        ("butterflies", *butterflies),
    ):
        right = FeatureNetwork.shipped(name).classify(images).argmax(1) == labels
        assert right.float().mean() > 0.98
        assert weights_file(name).stat().st_size < 1_000_000


def test_butterflies_of_any_size_can_be_judged():
    small, large = (draw_butterflies(240, size, seed=9)[0] for size in (32, 64))
    other = draw_butterflies(240, 32, seed=10)[0]
    assert frechet_distance(large, small) < frechet_distance(other.flip(1), small) / 5


def test_the_features_notice_looks_within_a_species(butterflies):
    """Two halves of one species are near, the pale and the dark half of it are not."""
    images, labels = butterflies
    one = images[labels == 3]
    order = one.float().mean((1, 2, 3)).argsort()
    halves = frechet_distance(one[::2], one[1::2])
    assert frechet_distance(one[order[:50]], one[order[50:]]) > 2 * halves


def test_classes_are_counted(digits):
    test = digits[1]
    seen = classify(test.images)
    assert seen.shares.sum() == pytest.approx(1)
    assert seen.coverage_factor < 1.1  # as many of each digit
    assert seen.confident > 0.9
    threes = classify(test.images[test.labels == 3])
    assert threes.coverage_factor == math.inf
    assert threes.shares[3] > 0.9
    twice = test.images[(test.labels != 5) | (torch.arange(1000) % 2 == 0)]
    assert classify(twice).coverage_factor == pytest.approx(1.9, abs=0.15)
    noise = torch.randint(0, 256, (200, 1, 28, 28), dtype=torch.uint8)
    assert classify(noise).confident < 0.8


def test_the_table_has_its_floor_and_its_sample_count(digits):
    train, test = digits
    noisy = (train[:100].float() + 40 * torch.randn(100, 1, 28, 28)).clamp(0, 255).byte()
    table = compare({"noisy": noisy}, test.images, train[100:400])
    assert list(table.index) == ["noisy", "real pictures (floor)"]
    assert all("(100)" in column for column in table.columns)
    assert table["Fréchet (100)"].iloc[0] > table["Fréchet (100)"].iloc[1]
    floor = frechet_distance(train[100:200], test.images)
    assert table["Fréchet (100)"].iloc[1] == pytest.approx(floor)


class Means(nn.Module):
    """A network of one's own: the mean of each channel and each row's mean."""

    num_features = 29

    def forward(self, x):
        x = x.float()
        return torch.cat([x.mean((1, 2, 3))[:, None], x.mean((1, 3))], dim=1)


def test_a_network_of_ones_own_may_take_the_features_place(digits):
    train, test = digits
    a, b = (Means()(x).double().numpy() for x in (train[:200], test.images[:200]))
    got = frechet_distance(train[:200], test.images[:200], Means())
    assert got == pytest.approx(numpy_frechet(a, b), rel=1e-3)
    table = compare({"a": train[:50]}, test.images, train[50:100], Means())
    assert list(table.columns) == ["Fréchet (50)", "kernel (50)"]
    with pytest.raises(TypeError, match="gives features, no classes"):
        classify(train[:50], Means())


def test_bad_sets_are_named(digits, no_shape_checks):
    train, _ = digits
    with pytest.raises(ValueError, match="samples must hold at least 2 pictures"):
        frechet_distance(train[:1], train[:5])
    with pytest.raises(ValueError, match=r"1 channel .* or 3 .*, got 4"):
        frechet_distance(torch.zeros(3, 4, 28, 28), train[:5])
    with pytest.raises(ValueError, match=r"features must be one of .*got 'mnist'"):
        pick_features("mnist", train)
    with pytest.raises(ValueError, match="got 1 for features='butterflies'"):
        frechet_distance(train[:5], train[:5], "butterflies")
    with pytest.raises(ValueError, match=r"equally many pictures.*'a': 5, 'b': 6"):
        compare({"a": train[:5], "b": train[:6]}, train, train)


def test_the_standard_features_see_bytes_of_three_channels(digits, monkeypatch):
    seen = []

    class Fake(nn.Module):
        def __init__(self, name, features_list):
            super().__init__()
            assert features_list == ["2048"]

        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, :2048].float()

    monkeypatch.setattr("torchmetrics.image.fid.NoTrainInceptionV3", Fake)
    train, test = digits
    kernel_distance(train[:20].float() / 127.5 - 1, test.images[:20], "inception")
    assert [tuple(x.shape) for x in seen] == [(20, 3, 28, 28)] * 2
    assert torch.equal(seen[0][:, 1:2], train[:20])


def test_the_standard_features_say_what_they_need(digits):
    if importlib.util.find_spec("torch_fidelity"):
        pytest.skip("torch-fidelity is installed: its weights would be downloaded")
    with pytest.raises(ModuleNotFoundError, match="pip install torch-fidelity"):
        frechet_distance(digits[0][:5], digits[0][:5], "inception")
