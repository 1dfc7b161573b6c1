"""The mini-CLIP: its loss against a loop, its search, and a training that learns six pairs."""

import math

import pytest
import tiny_parts
import torch
from torch.nn import functional as F

from course_utils.images import to_model_range
from course_utils.text_to_image import (
    Matcher,
    PictureTower,
    contrastive_loss,
    encode_texts,
    make_text_encoder,
    train_matcher,
)
from course_utils.text_to_image.matching import small
from course_utils.training import TrainStep

NAMES = {"en": tiny_parts.TEXTS[:3], "ko": tiny_parts.TEXTS[3:]}


@pytest.fixture(scope="module")
def matcher():
    return tiny_parts.matcher()


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


def test_the_loss_is_that_of_a_loop(generator):
    texts, pictures = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    total = 0
    for n in range(5):
        by_text = [math.exp(9 * cosine(texts[n], other)) for other in pictures]
        by_picture = [math.exp(9 * cosine(other, pictures[n])) for other in texts]
        total -= math.log(by_text[n] / sum(by_text)) + math.log(by_picture[n] / sum(by_picture))
    loss = contrastive_loss(texts, pictures, torch.tensor(9.0, dtype=torch.float64))
    assert loss.item() == pytest.approx(total / 10)
    assert contrastive_loss(pictures, 3 * texts, 9).item() == pytest.approx(total / 10)


def test_who_knows_nothing_guesses():
    same = torch.ones(8, 3)
    assert contrastive_loss(same, same, 20.0).item() == pytest.approx(math.log(8))


def test_the_parts_are_as_large_as_they_were_trained():
    encoder = make_text_encoder(tiny_parts.tokenizer(24))
    without_tokens = sum(p.numel() for p in encoder.parameters())
    without_tokens -= encoder.get_input_embeddings().weight.numel()
    assert without_tokens == 662_016 - 2048 * 128
    assert sum(p.numel() for p in PictureTower().parameters()) == 393_024


def test_encodings_are_each_text_on_its_own_and_without_gradients(matcher):
    tokens, encoder = matcher.tokenizer, matcher.text_encoder
    texts = [*tiny_parts.TEXTS, "", "heart " * 30]
    encodings = encode_texts(encoder, tokens, texts, batch_size=3)
    assert encodings.shape == (8, 10, 16)
    assert not encodings.requires_grad
    for text, encoding in zip(texts, encodings, strict=True):
        ids = tokens(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        hidden = encoder(ids).last_hidden_state[0]
        torch.testing.assert_close(encoding, hidden.detach(), atol=1e-5, rtol=1e-4)


def test_texts_are_unit_vectors_and_padding_does_not_count(matcher):
    vectors = matcher.texts(["red heart", "", "heart " * 30], batch_size=2)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    alone = matcher.texts(["red heart"])
    torch.testing.assert_close(vectors[:1], alone, atol=1e-5, rtol=1e-4)
    ids = matcher.tokenizer("red heart", return_tensors="pt").input_ids
    last = matcher.projection(matcher.text_encoder(ids).last_hidden_state[:, -1])
    torch.testing.assert_close(alone, F.normalize(last, dim=-1).detach(), atol=1e-5, rtol=1e-4)


def test_pictures_of_any_kind_and_size_are_brought_to_32_pixels(matcher):
    images = tiny_parts.colours(3, 64)
    images[0, :, ::2] = 0
    vectors = matcher.pictures(images, batch_size=2)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(matcher.pictures(to_model_range(images)), vectors)
    averages = images.float().view(3, 3, 32, 2, 32, 2).mean((3, 5)) / 127.5 - 1
    torch.testing.assert_close(small(images), averages)
    tower = F.normalize(matcher.tower(averages), dim=-1)
    torch.testing.assert_close(vectors, tower.detach(), atol=1e-5, rtol=1e-4)


def test_the_nearest_are_the_most_similar_first(matcher):
    images = tiny_parts.colours()
    texts, pictures = matcher.texts(NAMES["en"]), matcher.pictures(images)
    for searched in (images, pictures):
        found = matcher.nearest(NAMES["en"], searched, 4)
        for row, text in zip(found.tolist(), texts, strict=True):
            similar = [cosine(text, picture) for picture in pictures]
            assert row == sorted(range(6), key=lambda n: -similar[n])[:4]
    assert matcher.nearest(images, images)[:, 0].tolist() == [*range(6)]
    assert matcher.nearest(images, NAMES["ko"], 3).shape == (6, 3)
    with pytest.raises(ValueError, match="k must be from 1 to 3"):
        matcher.nearest(images, NAMES["ko"], 4)


def test_what_is_saved_is_all_but_the_text_encoder(tmp_path, matcher):
    matcher.save(tmp_path / "matcher.safetensors")
    assert (tmp_path / "matcher.safetensors").stat().st_size < 1_000_000
    again = Matcher.load(tmp_path / "matcher.safetensors", matcher.text_encoder, matcher.tokenizer)
    assert torch.equal(again.texts(NAMES["ko"]), matcher.texts(NAMES["ko"]))
    images = tiny_parts.colours()
    assert torch.equal(again.pictures(images), matcher.pictures(images))
    assert again.scale.item() == matcher.scale.item()
    other = Matcher.load(
        tmp_path / "matcher.safetensors",
        tiny_parts.text_encoder(matcher.tokenizer, seed=1),
        matcher.tokenizer,
    )
    assert not torch.allclose(other.texts(NAMES["ko"]), matcher.texts(NAMES["ko"]))


def test_the_scale_has_a_ceiling():
    matcher = tiny_parts.matcher()
    assert matcher.scale.item() == pytest.approx(math.exp(2.7))
    torch.nn.init.constant_(matcher.log_scale, 9.0)
    assert matcher.scale.item() == 50


def learned(seed):
    matcher, chance = tiny_parts.matcher(), torch.Generator().manual_seed(seed)
    options = {"num_steps": 40, "lr": 5e-3, "generator": chance}
    return matcher, [*train_matcher(matcher, tiny_parts.colours(3), NAMES, **options)]


def test_training_learns_which_picture_is_meant_in_both_languages():
    matcher, steps = learned(0)
    assert isinstance(steps[0], TrainStep)
    assert [step.step for step in steps] == [*range(1, 41)]
    assert max(step.lr for step in steps) == 5e-3
    assert steps[-1].loss < steps[0].loss / 2
    for names in NAMES.values():
        assert matcher.nearest(names, tiny_parts.colours(3))[:, 0].tolist() == [0, 1, 2]


def test_the_same_seed_trains_alike():
    losses = [[step.loss for step in learned(seed)[1][:3]] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_settings_out_of_range_are_refused_before_the_first_step(matcher):
    images = tiny_parts.colours(3)
    for changes in ({"num_steps": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            train_matcher(matcher, images, NAMES, **{"num_steps": 1} | changes)
    with pytest.raises(ValueError, match="captions must be 2"):
        train_matcher(matcher, images[:2], NAMES, num_steps=1)
