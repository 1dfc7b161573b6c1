"""Precision and recall against brute force, and where it is known what they must be."""

import pytest
import torch
from torch import nn

from course_utils import diversity, load_digits, precision_recall
from course_utils.evaluation.neighbours import share_among


def by_hand(x, others, k):
    """Picture by picture, without a matrix of distances."""
    inside = 0
    for point in x:
        for centre in others:
            to_all = sorted(float((centre - other).norm()) for other in others)
            if float((point - centre).norm()) <= to_all[k]:  # the first is itself, at 0
                inside += 1
                break
    return inside / len(x)


@pytest.mark.parametrize("k", [1, 3])
def test_the_share_is_that_of_brute_force(k, generator):
    x = torch.randn(15, 3, generator=generator, dtype=torch.float64)
    others = 1.5 * torch.randn(20, 3, generator=generator, dtype=torch.float64) + 0.5
    assert share_among(x, others, k) == pytest.approx(by_hand(x, others, k))
    assert share_among(others, x, k) == pytest.approx(by_hand(others, x, k))
    assert 0 < share_among(x, others, k) < 1


class Means(nn.Module):
    """A network of one's own: the mean of each row."""

    def forward(self, x):
        return x.float().mean((1, 3))


@pytest.fixture(scope="module")
def digits():
    return load_digits("train", "offline").images, load_digits("test", "offline").images


def test_precision_is_about_the_samples_and_recall_about_the_real_ones(digits):
    train, test = digits
    few = train[:20].repeat(10, 1, 1, 1)
    repeated = precision_recall(few, test)
    assert repeated.precision > 0.8
    assert repeated.recall < 0.05
    white = torch.full((100, 1, 28, 28), 255, dtype=torch.uint8)
    half_white = precision_recall(torch.cat([train[:100], white]), test[:400], Means())
    assert half_white.precision == pytest.approx(0.45, abs=0.05)
    assert half_white.recall > 0.8


def test_real_pictures_among_real_ones_are_near_the_best(digits):
    train, test = digits
    found = precision_recall(train[:1000], test)
    assert min(found) > 0.8
    assert precision_recall(test, test) == (1.0, 1.0)


def test_features_and_k_are_the_callers_and_samples_come_first(digits):
    train, test = digits
    x, y = (part.float().mean((1, 3)).double() for part in (train[:40], test[:60]))
    found = precision_recall(train[:40], test[:60], Means(), k=2)
    assert found == (share_among(x, y, 2), share_among(y, x, 2))
    assert found.precision != found.recall


@pytest.mark.parametrize("k", [0, 5, -1])
def test_too_many_or_no_neighbours_are_named(digits, k):
    train, test = digits
    with pytest.raises(ValueError, match=rf"k must lie in \[1, 4\].* got {k}"):
        precision_recall(train[:5], test[:9], k=k)


def test_diversity_is_the_mean_distance_within_each_class(digits):
    train, _ = digits
    pictures, labels = train[:7], torch.tensor([0, 1, 0, 1, 0, 2, 1])
    seen = pictures.float().mean((1, 3)).double()
    pairs = {c: [] for c in range(3)}
    for i in range(7):
        for j in range(i):
            if labels[i] == labels[j]:
                pairs[int(labels[i])].append(float((seen[i] - seen[j]).norm()))
    by_hand = [sum(found) / len(found) for found in pairs.values() if found]
    assert diversity(pictures, labels, Means()) == pytest.approx(sum(by_hand) / 2)
    assert diversity(pictures[:1].repeat(4, 1, 1, 1), torch.zeros(4).long()) == 0


@pytest.mark.parametrize(("labels", "said"), [([0, 1, 2], "two pictures"), ([0, 0], "3 classes")])
def test_diversity_needs_pairs(digits, labels, said):
    with pytest.raises(ValueError, match=said):
        diversity(digits[0][:3], torch.tensor(labels))
