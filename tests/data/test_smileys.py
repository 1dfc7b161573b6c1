"""Smileys: the same for the same seed, different from each other, and no butterflies."""

import pytest
import torch

from course_utils import draw_butterflies, draw_smileys, kernel_distance


def test_the_same_seed_gives_the_same_faces_however_many_follow():
    faces = draw_smileys(20, 32, seed=3)
    assert faces.shape == (20, 3, 32, 32)
    assert faces.dtype == torch.uint8
    assert torch.equal(draw_smileys(20, seed=3), faces)
    assert torch.equal(draw_smileys(5, seed=3), faces[:5])
    assert not torch.equal(draw_smileys(20, seed=4), faces)


def test_a_larger_face_is_the_same_face():
    small, large = (draw_smileys(6, size, seed=1).float() for size in (32, 128))
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert (shrunk - small).abs().mean() < 4


def test_no_two_faces_are_alike():
    faces = draw_smileys(100, seed=0).float().flatten(1)
    apart = torch.cdist(faces, faces) + 1e9 * torch.eye(100)
    assert apart.min() > 100  # of bytes, over 3,072 numbers


def test_each_face_is_round_and_the_paper_around_it_is_pale():
    faces = draw_smileys(100, seed=0)
    corners = torch.stack([faces[..., y, x] for y in (0, -1) for x in (0, -1)])
    assert corners.min() > 200
    colours = faces[..., 15:17, 15:17].float().mean((2, 3)).round()
    assert len(colours.unique(dim=0)) > 6


def test_they_are_far_from_butterflies_and_near_to_each_other():
    faces, others = draw_smileys(200, seed=0), draw_smileys(200, seed=1)
    assert abs(kernel_distance(faces, others)) < 1
    assert kernel_distance(faces, draw_butterflies(200, 32)[0]) > 10


def test_bad_input_is_named(no_shape_checks):
    with pytest.raises(ValueError, match=r"num_images must be .* got 0"):
        draw_smileys(0)
    with pytest.raises(ValueError, match=r"size must be .* got 8"):
        draw_smileys(2, 8)
    with pytest.raises(TypeError, match="seed must be "):
        draw_smileys(2, seed="a")
