"""Pictures in memory: what is refused, and what reaches the training loop."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from course_utils.data import Batch, ImageData, make_loader
from course_utils.images import to_model_range


def noise(n=10, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


# --- ImageData ---


def test_image_data_holds_what_it_was_given():
    images, labels = noise(3), torch.tensor([0, 1, 0])
    data = ImageData(images, labels, ("ant", "bee"), "offline")
    assert len(data) == 3
    assert data.images is images
    assert data.labels is labels
    assert repr(data) == "ImageData(3 images 3x4x4, 2 classes, 'offline')"
    with pytest.raises(FrozenInstanceError):
        data.source = "hub"


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (noise().float(), None, TypeError, "images must be a uint8 tensor, got torch.float32"),
        ([1, 2], None, TypeError, "images must be a uint8 tensor, got list"),
        (noise()[0], None, ValueError, r"images must have shape \(N, C, H, W\), got \(3, 4, 4\)"),
        (noise(2), torch.tensor([0.0, 1.0]), TypeError, "labels must be int64, got torch.float32"),
        (noise(2), torch.tensor([0]), ValueError, r"got shape \(1,\), values \[0\]"),
        (noise(2), torch.tensor([0, 2]), ValueError, r"index below 2 .* values \[0, 2\]"),
        (noise(2), torch.tensor([-1, 0]), ValueError, r"index below 2 .* values \[-1, 0\]"),
    ],
)
def test_image_data_rejects(no_shape_checks, images, labels, error, message):
    with pytest.raises(error, match=message):
        ImageData(images, labels, ("ant", "bee"), "offline")


SOME = ImageData(noise(3), None, (), "offline", {"en": ("a", "b", "c"), "ko": ("가", "나", "다")})


@pytest.mark.parametrize(
    ("captions", "error", "message"),
    [
        (
            {"en": ("a",)},
            ValueError,
            r"\['en'\] must hold one text for each of the 3 images, got 1",
        ),
        ({"en": ("a", "b", "c"), "ko": ()}, ValueError, r"captions\['ko'\] must .*, got 0"),
        ({"en": "abc"}, TypeError, r"captions\['en'\] must be a tuple, got 'abc'"),
    ],
)
def test_captions_are_one_for_each_image(no_shape_checks, captions, error, message):
    assert SOME.captions["ko"][2] == "다"
    with pytest.raises(error, match=message):
        ImageData(noise(3), None, (), "offline", captions)


@pytest.mark.parametrize("num_images", [0, 2, 3, 9, None])
def test_the_first_images_keep_what_is_known_of_them(num_images):
    labels = torch.tensor([1, 0, 1])
    first = ImageData(noise(3), labels, ("ant", "bee"), "x", SOME.captions).first(num_images)
    assert torch.equal(first.images, noise(3)[:num_images])
    assert torch.equal(first.labels, labels[:num_images])
    assert first.captions == {k: v[:num_images] for k, v in SOME.captions.items()}
    assert (first.classes, first.source) == (("ant", "bee"), "x")
    assert SOME.first(2).labels is None


# --- make_loader ---


def as_keys(x0):
    """Each image as one hashable thing."""
    return [image.numpy().tobytes() for image in x0]


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_an_epoch_holds_each_image_once_in_model_range(batch_size):
    images = noise(10)
    loader = make_loader(images, batch_size)
    for _ in range(2):
        batches = list(loader)
        assert [len(b) for b in batches[:-1]] == [batch_size] * (len(loader) - 1)
        assert all(b.dtype == torch.float32 and b.shape[1:] == (3, 4, 4) for b in batches)
        assert sorted(as_keys(torch.cat(batches))) == sorted(as_keys(to_model_range(images)))
    assert len(loader) == -(-10 // batch_size)


def test_black_is_minus_one_and_white_is_one():
    images = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(3).reshape(2, 3, 1, 1)
    (batch,) = make_loader(images, 2)
    assert sorted(batch.flatten().tolist()) == [-1] * 3 + [1] * 3


def test_the_generator_rules_the_order_and_the_flips():
    images = noise(50)

    def epoch(seed, flip=True):
        generator = torch.Generator().manual_seed(seed)
        return torch.cat(list(make_loader(images, 8, flip, generator)))

    state = torch.get_rng_state()
    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))
    assert not torch.equal(epoch(0, flip=False), to_model_range(images))
    assert torch.equal(torch.get_rng_state(), state)
    loader = make_loader(images, 50)
    assert not torch.equal(next(iter(loader)), next(iter(loader)))


@pytest.mark.parametrize("flip", [False, True])
def test_the_order_is_one_permutation_and_the_coins_follow_batch_by_batch(flip):
    """What runs of before have seen, they see today."""
    images = noise(10)
    generator = torch.Generator().manual_seed(3)
    batches = list(make_loader(images, 4, flip, torch.Generator().manual_seed(3)))
    order = torch.randperm(10, generator=generator)
    for x0, chosen in zip(batches, order.split(4), strict=True):
        expected = to_model_range(images[chosen])
        if flip:
            heads = torch.rand(len(chosen), 1, 1, 1, generator=generator) < 0.5
            expected = torch.where(heads, expected.flip(-1), expected)
        assert torch.equal(x0, expected)


def test_without_a_generator_the_global_seed_rules():
    loader = make_loader(noise(50), 8, flip=True)
    torch.manual_seed(0)
    first = torch.cat(list(loader))
    torch.manual_seed(0)
    assert torch.equal(first, torch.cat(list(loader)))
    assert not torch.equal(first, torch.cat(list(loader)))


def test_each_image_flips_left_to_right_half_of_the_time():
    images = noise(2000)
    plain, mirrored = to_model_range(images), to_model_range(images.flip(-1))
    known = {key: False for key in as_keys(plain)} | {key: True for key in as_keys(mirrored)}
    (batch,) = make_loader(images, 2000, flip=True, generator=torch.Generator().manual_seed(0))
    flips = [known[key] for key in as_keys(batch)]
    assert 0.45 < np.mean(flips) < 0.55
    (batch,) = make_loader(images, 2000)
    assert not any(known[key] for key in as_keys(batch))


def test_images_stay_uint8_and_are_not_copied():
    data = ImageData(noise(), None, (), "offline")
    loader = make_loader(data, 4, device="cpu")
    assert loader.images.data_ptr() == data.images.data_ptr()
    before = data.images.clone()
    for batch in make_loader(data, 4, flip=True):
        batch.zero_()
    assert torch.equal(data.images, before)


def test_device_is_where_the_images_go():
    assert make_loader(noise(), 4, device="meta").images.device.type == "meta"


@pytest.mark.parametrize(
    ("data", "batch_size", "error", "message"),
    [
        (noise(), 0, ValueError, "batch_size must be at least 1, got 0"),
        (noise(), -3, ValueError, "batch_size must be at least 1, got -3"),
        (noise(), 2.0, TypeError, "batch_size must be an int, got 2.0"),
        (noise(), True, TypeError, "batch_size must be an int, got True"),
        (noise(), "8", TypeError, "batch_size must be an int, got '8'"),
        (noise(0), 4, ValueError, "data must hold at least one image"),
        (noise().float(), 4, TypeError, "must be a uint8 tensor, got torch.float32.*latents=True"),
        (noise()[0], 4, ValueError, "data must have shape"),
        ([1], 4, TypeError, "data must be a uint8 tensor, got list"),
    ],
)
def test_make_loader_rejects(no_shape_checks, data, batch_size, error, message):
    with pytest.raises(error, match=message):
        make_loader(data, batch_size)


# --- what the network is told ---


def test_each_image_comes_with_its_label():
    images, labels = noise(10), torch.arange(10) % 3
    data = ImageData(images, labels, ("ant", "bee", "cat"), "offline")
    truth = dict(zip(as_keys(to_model_range(images)), labels.tolist(), strict=True))
    batches = list(make_loader(data, 4, condition=True))
    assert [type(batch) for batch in batches] == [Batch] * 3
    for x0, condition in batches:
        assert list(condition) == ["class_labels"]
        assert condition["class_labels"].tolist() == [truth[key] for key in as_keys(x0)]


def test_each_image_comes_with_its_rows_of_any_condition():
    images = noise(10)
    texts = torch.arange(10 * 2 * 5).reshape(10, 2, 5)
    told = {"encoder_hidden_states": texts, "class_labels": torch.arange(10)}
    known = {key: index for index, key in enumerate(as_keys(to_model_range(images)))}
    for x0, condition in make_loader(images, 4, condition=told):
        chosen = [known[key] for key in as_keys(x0)]
        assert torch.equal(condition["encoder_hidden_states"], texts[chosen])
        assert condition["class_labels"].tolist() == chosen


def test_a_condition_changes_neither_order_nor_flips():
    def epoch(**more):
        generator = torch.Generator().manual_seed(0)
        return list(make_loader(noise(10), 4, True, generator, **more))

    told = epoch(condition={"class_labels": torch.arange(10)})
    for x0, batch in zip(epoch(), told, strict=True):
        assert torch.equal(x0, batch.x0)


def test_the_condition_goes_where_the_images_go():
    loader = make_loader(noise(), 4, device="meta", condition={"class_labels": torch.arange(10)})
    assert loader.condition["class_labels"].device.type == "meta"


PLAIN = ImageData(noise(), None, (), "hub")
FOLDER = ImageData(noise(), None, (), "photos")


@pytest.mark.parametrize(
    ("data", "condition", "error", "message"),
    [
        (PLAIN, True, ValueError, "data from 'hub' has none: source='offline' gives some"),
        (FOLDER, True, ValueError, "data from 'photos' has none: sort it into subfolders"),
        (noise(), True, ValueError, "condition=True needs ImageData with labels, got a tensor"),
        (noise(), [0], TypeError, "condition must be True, False or a dict of tensors, got list"),
        (noise(), None, TypeError, "condition must be True, False or a dict .*, got NoneType"),
        (noise(), {"a": [0] * 10}, TypeError, r"condition\['a'\] must be a tensor, got list"),
        (noise(), {"a": torch.arange(9)}, ValueError, r"each of the 10 images, got \(9,\)"),
        (noise(), {"a": torch.tensor(10)}, ValueError, r"each of the 10 images, got \(\)"),
    ],
)
def test_a_condition_that_is_not_there_is_named(no_shape_checks, data, condition, error, message):
    with pytest.raises(error, match=message):
        make_loader(data, 4, condition=condition)


# --- latents ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("channels", [1, 4, 16])
def test_latents_come_as_they_are(channels, dtype):
    latents = 7 * torch.randn(10, channels, 4, 4).to(dtype)
    batches = list(make_loader(latents, 4, latents=True))
    assert sorted(as_keys(torch.cat(batches))) == sorted(as_keys(latents))
    assert batches[0].dtype == dtype
    told = {"class_labels": torch.arange(10)}
    for x0, condition in make_loader(latents, 4, latents=True, condition=told):
        assert torch.equal(x0, latents[condition["class_labels"]])


@pytest.mark.parametrize(
    ("data", "flip", "error", "message"),
    [
        (torch.randn(4, 4, 2, 2), True, ValueError, "flip must be False with latents=True"),
        (noise(), False, TypeError, "a float tensor with latents=True, got torch.uint8"),
        (PLAIN, False, TypeError, "a float tensor with latents=True, got torch.uint8"),
        ([1.0], False, TypeError, "a float tensor with latents=True, got list"),
        (torch.randn(4, 2, 2), False, ValueError, "must have shape"),
    ],
)
def test_what_are_no_latents_is_refused(no_shape_checks, data, flip, error, message):
    with pytest.raises(error, match=message):
        make_loader(data, 2, flip, latents=True)
