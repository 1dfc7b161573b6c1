"""Silhouettes found in pictures: near to the exact ones, whatever the species."""

import pytest
import torch

from course_utils import SPECIES, draw_butterflies, draw_silhouettes, find_silhouettes, overlap
from course_utils.images import to_model_range


@pytest.fixture(scope="module")
def tray():
    return *draw_butterflies(240, seed=6), draw_silhouettes(240, seed=6)


def test_of_drawn_butterflies_they_are_nearly_exact(tray):
    images, labels, masks = tray
    found = find_silhouettes(images)
    assert found.shape == masks.shape
    assert found.dtype == torch.bool
    hits = overlap(found, masks)
    assert hits.mean() > 0.97
    assert min(hits[labels == kind].mean() for kind in range(len(SPECIES))) > 0.93


def test_bytes_and_model_range_are_the_same_to_them(tray):
    images = tray[0][:12]
    assert torch.equal(find_silhouettes(images), find_silhouettes(to_model_range(images)))


def test_larger_pictures_get_larger_silhouettes():
    images, masks = draw_butterflies(24, 64, seed=6)[0], draw_silhouettes(24, 64, seed=6)
    assert overlap(find_silhouettes(images), masks).mean() > 0.9


def test_empty_paper_has_none():
    paper = torch.tensor([246, 242, 236], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    assert find_silhouettes(paper).float().mean() < 0.01


def test_overlap_is_intersection_over_union():
    left, middle = torch.zeros(2, 1, 1, 4, 4, dtype=torch.bool)
    left[..., :2], middle[..., 1:3] = True, True
    assert overlap(left, middle).item() == pytest.approx(1 / 3)
    assert overlap(left, left) == 1
    assert overlap(left, ~left) == 0
    assert overlap(left & ~left, left & ~left) == 1
    assert overlap(left.to(torch.uint8) * 255, middle.float() * 0.7).item() == pytest.approx(1 / 3)


def test_other_shapes_are_refused(no_shape_checks):
    with pytest.raises(ValueError, match="others"):
        overlap(torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4))
