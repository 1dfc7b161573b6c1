"""The procedural butterflies: the same ones every time, symmetric, whole, and told apart."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from course_utils.data import butterflies
from course_utils.data.butterflies import SPECIES, draw_butterflies, draw_silhouettes

KINDS = len(SPECIES)


@pytest.fixture(scope="module")
def tray():
    return draw_butterflies(120, 64, seed=1)


@pytest.mark.parametrize("size", [16, 33, 128])
def test_images_and_labels_have_the_promised_form(size):
    images, labels = draw_butterflies(5, size)
    assert images.shape == (5, 3, size, size)
    assert images.dtype == torch.uint8
    assert labels.shape == (5,)
    assert labels.dtype == torch.int64


def test_there_are_enough_species_and_each_has_its_own_name():
    assert KINDS >= 8
    assert len(set(SPECIES)) == KINDS


def test_labels_are_balanced_and_shuffled(tray):
    labels = tray[1].view(-1, KINDS)
    assert (labels.sort(1).values == torch.arange(KINDS)).all()
    assert len({tuple(row) for row in labels.tolist()}) == len(labels)


def test_same_seed_same_butterflies_and_other_seed_others():
    first, again, other = (draw_butterflies(12, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("fewer", [1, 13, 125])
def test_fewer_butterflies_are_the_first_of_more(fewer):
    many, many_labels = draw_butterflies(250, 32, seed=5)  # three chunks
    few, few_labels = draw_butterflies(fewer, 32, seed=5)
    assert torch.equal(few, many[:fewer])
    assert torch.equal(few_labels, many_labels[:fewer])


def test_every_size_shows_the_same_individuals(tray):
    images, labels = tray
    small, small_labels = draw_butterflies(120, 32, seed=1)
    assert torch.equal(labels, small_labels)
    shrunk = avg_pool2d(images.float(), 2).flatten(1)
    assert torch.equal(torch.cdist(small.float().flatten(1), shrunk).argmin(1), torch.arange(120))
    assert (small.float().flatten(1) - shrunk).abs().mean() < 6


def test_the_global_random_state_and_the_threads_are_left_alone():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        draw_butterflies(2, 16)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())


def draws(turned: float) -> torch.Tensor:
    """Random individuals that sit upright in the middle, or turned."""
    numbers = torch.rand(KINDS, 40, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    numbers[:, 0], numbers[:, 2:4] = turned, 0
    return numbers


@pytest.mark.parametrize("size", [31, 64])
def test_wings_mirror_each_other(size):
    image = butterflies._render(torch.arange(KINDS), draws(turned=0), size).int()
    assert (image - image.flip(-1)).abs().max() <= 1
    turned = butterflies._render(torch.arange(KINDS), draws(turned=1), size).int()
    assert (turned - turned.flip(-1)).abs().amax((1, 2, 3)).min() > 30


def test_individuals_of_a_species_differ(tray):
    images, labels = tray
    for kind in range(KINDS):
        same = images[labels == kind].float().flatten(1)
        assert torch.pdist(same, p=1).min() / same.shape[1] > 2


@pytest.mark.parametrize(
    "numbers", [[0], [1], [2], [3], [4], range(5, 8), range(8, 10), range(10, 12), range(12, 40)]
)
def test_pose_tint_shape_and_pattern_all_vary(numbers):
    plain, varied = torch.zeros(2, KINDS, 40, 1, 1)
    varied[:, list(numbers)] = 1
    images = [
        butterflies._render(torch.arange(KINDS), draw, 32).float() for draw in (plain, varied)
    ]
    assert (images[0] - images[1]).abs().mean((1, 2, 3)).min() > 0.05


def test_species_are_told_apart_by_their_mean_picture():
    images, labels = draw_butterflies(360, 32, seed=2)
    images = images.float().flatten(1)
    means = torch.stack([images[:240][labels[:240] == kind].mean(0) for kind in range(KINDS)])
    guesses = torch.cdist(images[240:], means).argmin(1)
    assert (guesses == labels[240:]).float().mean() > 0.9


def test_species_are_told_apart_by_silhouette():
    inside = (butterflies._maps()[:, :, 0] > 0).flatten(1).float()
    assert torch.pdist(inside, p=1).min() / inside.sum(1).mean() > 0.01


def test_paper_is_pale_to_the_border_and_the_butterfly_fills_the_frame(tray):
    images = tray[0].int()
    border = torch.cat([images[..., [0, -1], :].flatten(2), images[..., [0, -1]].flatten(2)], 2)
    assert border.min() > 185
    assert (border.amax(1) - border.amin(1)).max() < 30
    ink = (images - images[..., :1, :1]).abs().amax(1) > 60
    spans = torch.stack([ink.any(1).sum(1), ink.any(2).sum(1)]).amax(0) / 64
    assert spans.min() > 0.75
    assert spans.max() < 0.95


def test_distance_maps_hold_the_area_of_the_outlines():
    x, y = butterflies._KNOTS.real, butterflies._KNOTS.imag
    area = (x * y.roll(-1, -1) - y * x.roll(-1, -1)).sum(-1).abs() / 2  # shoelace formula
    maps = butterflies._maps()[:, :, 0]
    cell = (2 * butterflies._REACH / (maps.shape[-1] - 1)) ** 2
    assert torch.allclose((maps > 0).sum((2, 3)) * cell, area, rtol=0.08)


def test_distance_maps_grow_one_to_one_with_distance():
    step = 2 * butterflies._REACH / 71
    maps = butterflies._maps()[:, :, 0]
    assert max(maps.diff(dim=dim).abs().max() for dim in (2, 3)) < 1.001 * step
    slopes = torch.stack(torch.gradient(maps, spacing=step, dim=(2, 3)))
    assert slopes.square().sum(0).sqrt().median() > 0.99


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"num_images": 0}, "num_images must be from 1 to 1000000, got 0"),
        ({"size": 15}, "size must be from 16 to 128, got 15"),
        ({"size": 129}, "size must be from 16 to 128, got 129"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        draw_butterflies(**{"num_images": 1, **bad})


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", ["num_images", "size", "seed"])
@pytest.mark.parametrize("value", [32.0, "32", True, None])
def test_anything_but_whole_numbers_is_refused(name, value):
    with pytest.raises(TypeError, match=f"{name} must be an int, got {value!r}: pass"):
        draw_butterflies(**{"num_images": 1, name: value})


def test_silhouettes_are_the_same_individuals(tray):
    """Inside, the picture is another when only the colours are; outside, it is paper."""
    masks = draw_silhouettes(120, 64, seed=1)
    assert masks.shape == (120, 1, 64, 64)
    assert set(masks.unique().tolist()) == {0, 255}
    paper = tray[0][:, :, :1, :1].int()
    dark = (tray[0].int() - paper).abs().amax(1, keepdim=True) > 110
    inside = masks == 255
    assert (dark & ~inside).sum() / dark.sum() < 0.02  # antennae, mostly
    assert (dark & inside).sum() / inside.sum() > 0.6
    assert torch.equal(masks[:7], draw_silhouettes(7, 64, seed=1))


def test_silhouettes_do_not_depend_on_colours_and_patterns():
    one, other = draws(turned=1), draws(turned=1)
    other[:, 4:8], other[:, 12:] = -other[:, 4:8], -other[:, 12:]
    masks = [butterflies._mask(torch.arange(KINDS), numbers, 32) for numbers in (one, other)]
    assert torch.equal(*masks)
    painted = [butterflies._render(torch.arange(KINDS), numbers, 32) for numbers in (one, other)]
    assert not torch.equal(*painted)


def test_silhouettes_cover_what_changes_with_the_colours_of_a_wing():
    """An oracle without the masks' code: where two individuals of one shape differ in colour."""
    one, other = (draws(turned=0) for _ in range(2))
    one[:, 5:8], other[:, 5:8] = -1, 1
    kinds = torch.arange(KINDS)
    a, b = (butterflies._render(kinds, numbers, 64).int() for numbers in (one, other))
    changed = (a - b).abs().amax(1, keepdim=True) > 0
    inside = butterflies._mask(kinds, one, 64) > 0
    assert (changed & ~inside).float().mean() < 0.06  # half-covered pixels and antennae
    assert (changed & inside).sum() / inside.sum() > 0.9


def test_silhouettes_refuse_what_butterflies_refuse(no_shape_checks):
    with pytest.raises(ValueError, match="size"):
        draw_silhouettes(3, 8)
