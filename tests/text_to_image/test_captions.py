"""Wordings: which texts a picture may have, and how often each."""

import pytest
import torch

from course_utils import NoiseSchedule, text_to_image, train
from course_utils.text_to_image import CaptionedLatents, pick, wordings

NAMES = {"en": ("heart", "apple"), "ko": ("하트", "사과")}
ALIASES = {"en": (("love", "red heart", "like"), ())}


def shares(words, place):
    """How often each text is chosen for a picture."""
    row = words.choices[place].tolist()
    return {words.texts[text]: row.count(text) / len(row) for text in row}


def test_languages_are_equally_likely_and_half_of_one_are_aliases():
    words = wordings(NAMES, ALIASES)
    parts = {"love": 1 / 12, "red heart": 1 / 12, "like": 1 / 12}
    assert shares(words, 0) == {"heart": 0.25, "하트": 0.5} | parts
    assert shares(words, 1) == {"apple": 0.5, "사과": 0.5}


def test_each_text_is_there_once():
    assert wordings(NAMES).texts == ("heart", "하트", "apple", "사과")
    both = wordings({"en": ("OK", "OK"), "ko": ("OK", "오케이")})
    assert both.texts == ("OK", "오케이")


def test_picking_follows_the_shares(generator):
    words = wordings(NAMES, ALIASES)
    picked = pick(words.choices, torch.tensor([0, 1] * 4000), generator)
    for place, texts in enumerate((picked[::2], picked[1::2])):
        for text, share in shares(words, place).items():
            found = (texts == words.texts.index(text)).float().mean().item()
            assert found == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("names", "aliases", "named"),
    [
        ({}, None, "captions"),
        ({"en": ()}, None, "captions"),
        ({"en": ("a",), "ko": ()}, None, "captions"),
        ({"en": ("a", "b")}, {"en": ((),)}, "aliases"),
        ({"en": ("a",)}, {"ko": ((),)}, "aliases"),
    ],
)
def test_names_that_do_not_fit_together_are_refused(names, aliases, named):
    with pytest.raises(ValueError, match=named):
        wordings(names, aliases)


def latents_and_texts():
    """Latent n is all n, text m is all m; text 9 says nothing."""
    latents = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 2, 4, 4)
    texts = torch.arange(10.0).view(10, 1, 1).expand(10, 3, 6)
    choices = torch.tensor([[n, n + 4] for n in range(5)])
    return latents, texts[:9], choices, texts[9:]


def test_each_latent_comes_once_with_a_text_of_its_own(generator):
    loader = CaptionedLatents(*latents_and_texts(), 2, generator, drop=0)
    batches = [*loader]
    assert [len(batch.x0) for batch in batches] == [2, 2, 1]
    assert len(loader) == 3
    told = {}
    for _ in range(20):
        for x0, condition in loader:
            for latent, text in zip(x0, condition["encoder_hidden_states"], strict=True):
                assert len(text.unique()) == 1
                told.setdefault(latent.unique().item(), set()).add(text[0, 0].item())
    assert told == {n: {n, n + 4} for n in range(5)}


def test_a_share_is_told_nothing_and_the_texts_stay_as_they_are(generator):
    latents, texts, choices, nothing = latents_and_texts()
    texts = texts.contiguous()
    loader = CaptionedLatents(latents, texts, choices, nothing, 5, generator, drop=0.3)
    told = [c["encoder_hidden_states"][:, 0, 0] for _ in range(400) for _, c in loader]
    assert (torch.cat(told) == 9).float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(texts, latents_and_texts()[1])
    everything = CaptionedLatents(latents, texts, choices, nothing, 5, generator, drop=1)
    assert (next(iter(everything)).condition["encoder_hidden_states"] == nothing).all()


def test_the_same_seed_gives_the_same_batches():
    def batches():
        seed = torch.Generator().manual_seed(3)
        return [*CaptionedLatents(*latents_and_texts(), 2, seed)]

    for (x0, told), (again, told_again) in zip(batches(), batches(), strict=True):
        assert torch.equal(x0, again)
        assert torch.equal(told["encoder_hidden_states"], told_again["encoder_hidden_states"])


class Teller(torch.nn.Module):
    """Answers with a number for each text."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 1)

    def forward(self, x_t, timesteps, encoder_hidden_states):
        return x_t * 0 + self.layer(encoder_hidden_states).mean(1)[..., None, None]


def test_train_takes_the_loader(generator):
    torch.manual_seed(0)
    latents, texts, choices, nothing = latents_and_texts()
    loader = CaptionedLatents(latents, texts, choices[:, :1], nothing, 5, generator, drop=0)
    model, schedule = Teller(), NoiseSchedule.cosine(10)
    options = {"prediction_type": "sample", "generator": generator}
    steps = [*train(model, loader, schedule, num_steps=60, lr=0.05, **options)]
    assert steps[-1].loss < steps[0].loss / 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"drop": 1.5}, "drop"),
        ({"latents": torch.zeros(4, 2, 4, 4)}, "choices"),
        ({"choices": torch.full((5, 1), 9)}, "choices"),
        ({"choices": torch.full((5, 1), -1)}, "choices"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, named, no_shape_checks):
    latents, encodings, choices, nothing = latents_and_texts()
    parts = {"latents": latents, "encodings": encodings, "choices": choices, "nothing": nothing}
    with pytest.raises(ValueError, match=named):
        CaptionedLatents(**parts | {"batch_size": 2} | changes)


def test_the_wing_offers_them():
    assert text_to_image.CaptionedLatents is CaptionedLatents
