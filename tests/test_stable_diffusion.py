"""Notebook 04: what it builds is what the package and the libraries hold, and what it says of
people, secrets and sizes is so."""

import json
from functools import partial

import diffusers
import lifting
import numpy as np
import pytest
import torch
from torch import nn

import course_utils as cu
from course_utils import text_to_image as t2i
from course_utils.cli import main
from course_utils.runtime import quiet_loading
from course_utils.training.loop import learning_rate, update

pytestmark = pytest.mark.usefixtures("as_the_command_runs")
NAME = "04_your_own_stable_diffusion"
lift = partial(lifting.lift, NAME)
FOLDER = cu.PRETRAINED / "emoji-stable-diffusion"


@pytest.fixture(scope="module")
def pipeline():
    with quiet_loading():
        loaded = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def emoji():
    return cu.load_emoji(size=64)


@pytest.fixture(scope="module")
def encode(pipeline):
    return partial(t2i.encode_texts, pipeline.text_encoder, pipeline.tokenizer)


# --- what is built is what is imported


@pytest.mark.parametrize("prompt", ["octopus", "빨간색 하트"])
def test_the_notebooks_loop_is_the_pipelines_and_the_packages(pipeline, encode, prompt):
    given = {"num_steps": 3, "pipeline": pipeline, "encode": encode, "device": "cpu"}
    draw = lift("loop", **given).stable_diffusion
    start = lambda: torch.Generator().manual_seed(5)  # noqa: E731
    built = draw(prompt, 3.0, start()) / 2 + 0.5
    call = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "pt"}
    assert torch.equal(built, pipeline(prompt, generator=start(), **call).images)
    by_hand = t2i.draw_by_hand(pipeline, [prompt], num_steps=3, generator=start())
    assert torch.equal(built, by_hand)


def test_the_merges_of_the_cell_are_the_packages(emoji):
    assert "== t2i.learn_merges(names, 40)" in lifting.source(NAME, "merges")
    names = [name for texts in emoji.captions.values() for name in texts]
    tokenizer = t2i.make_tokenizer(t2i.learn_merges(names, 40))
    assert tokenizer.tokenize("tone") == ["tone</w>"]
    assert len(tokenizer.tokenize("rocket")) == 6


def test_the_painter_learns_what_it_is_shown_and_hears_nothing_at_times(encode, emoji):
    """On three pictures: the loss falls, and the hidden picture is never asked for."""
    seen = []

    class Listening(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = t2i.make_latent_unet((8, 16))

        def forward(self, x_t, timesteps, encoder_hidden_states):
            seen.append(encoder_hidden_states)
            return self.inner(x_t, timesteps, encoder_hidden_states)

    texts, nothing = encode(["red heart", "green apple", "rocket"]), encode([""])
    given = {"shown": torch.tensor([True, False, True]), "texts": texts, "nothing": nothing}
    given |= {"tiny_latents": torch.randn(3, 8, 8, 8), "schedule": cu.NoiseSchedule.cosine(1000)}
    given |= {"cu": cu, "device": "cpu", "learning_rate": learning_rate, "update": update}
    torch.manual_seed(0)
    losses = [*lift("learn", **given).learn(Listening(), 90, torch.Generator().manual_seed(0))]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    told = torch.cat(seen)
    which = [(told == row).flatten(1).all(1).float().mean().item() for row in (*texts, *nothing)]
    assert which[1] == 0
    assert which[3] == pytest.approx(0.1, abs=0.04)
    assert which[0] == pytest.approx(which[2], abs=0.1)


# --- what is said


def test_the_tiny_worlds_secrets_leave_each_colour_and_shape_to_learn():
    names = {}
    exec(lifting.source(NAME, "tiny-world").partition("chosen =")[0], names)
    world, secret = names["world"], names["secret"]
    assert len(world) == 21
    assert len(secret & set(world)) == 5
    shown = [name.split() for name in world if name not in secret]
    assert {colour for colour, _ in shown} == set(names["colours"])
    assert {shape for _, shape in shown} == {"heart", "circle", "square"}


def test_what_is_said_of_the_people_is_so(emoji):
    text = " ".join(lifting.source(NAME, cell) for cell in ("understand", "imports-text"))
    people = emoji.people[:, 0] >= 0
    for words, number in {
        "2,219 pictures": (emoji.held_out == 0).sum(),
        "900 of them are people": people.sum(),
        "75 kinds": len(emoji.kinds),
        "114 combinations": (emoji.held_out == 1).sum(),
        "2,387 drawings": len(emoji),
    }.items():
        assert words.split()[0].replace(",", "") == str(int(number)), words
        assert words in text
    hard = emoji.people[emoji.held_out == 2]
    assert "nine kinds one gender" in text
    assert len(hard[:, 0].unique()) == 9


def test_the_folder_has_the_size_that_the_text_says(pipeline):
    """The numbers in the text: six million in all, 12 MB."""
    networks = (pipeline.vae, pipeline.text_encoder, pipeline.unet)
    assert 5.5e6 < sum(map(cu.count_parameters, networks)) < 6.5e6
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    assert 11.5e6 < size < 12.5e6


# --- the shipped folder


def test_it_draws_by_a_prompt_in_either_language():
    trained = cu.load_trained(FOLDER)
    told = trained.prompt("red heart", "빨간색 하트")
    x = trained.draw(2, condition=told, guidance=3.0, num_steps=6)
    assert x.shape == (2, 3, 64, 64)
    red, green = x[:, 0].mean(), x[:, 1].mean()
    assert red > green + 0.1


def test_a_negative_prompt_leads_elsewhere():
    trained = cu.load_trained(FOLDER)
    told, other = trained.prompt("heart"), trained.prompt("red heart")
    usual = trained.draw(1, condition=told, guidance=3.0, num_steps=3)
    away = trained.draw(1, condition=told, without=other, guidance=3.0, num_steps=3)
    untold = trained.draw(1, condition=told, without=trained.prompt(""), guidance=3.0, num_steps=3)
    assert torch.equal(usual, untold)
    assert not torch.equal(usual, away)


def test_without_a_prompt_it_draws_what_nothing_says():
    trained = cu.load_trained(FOLDER)
    one = trained.draw(1, num_steps=2)
    assert torch.equal(one, trained.draw(1, condition=trained.prompt(""), num_steps=2))


# --- the command


def sampled(file, *more):
    words = ["sample", "--model", "emoji-stable-diffusion", "--num-images", "2", "--num-steps", "2"]
    words += ["--guidance", "3"]
    return main([*words, "--output", str(file), *more])


def test_the_command_draws_a_prompt_and_keeps_away_from_another(tmp_path):
    drawn = {}
    for name, more in {"a": [], "b": [], "not red": ["--negative-prompt", "red heart"]}.items():
        assert sampled(tmp_path / f"{name}.npz", "--prompt", "heart", *more) == 0
        drawn[name] = np.load(tmp_path / f"{name}.npz")["images"]
    assert drawn["a"].shape == (2, 3, 64, 64)
    assert np.array_equal(drawn["a"], drawn["b"])
    assert not np.array_equal(drawn["a"], drawn["not red"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--label", "3"], "this model knows no classes: draw without the label '3'"),
        (["--model", "digits", "--prompt", "a 3"], "reads no text: draw without the prompt 'a 3'"),
    ],
)
def test_a_prompt_for_who_cannot_read_and_a_label_for_who_knows_none(
    words, error, tmp_path, capsys
):
    assert sampled(tmp_path / "x.npz", *words) == 1
    assert error in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("kind", [["os", "system"], ["my_module", "MyUNet"]])
def test_a_strangers_folder_imports_no_module_of_its_choice(kind, tmp_path):
    index = json.loads((FOLDER / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"unet": kind}))
    with pytest.raises(ValueError, match=f"names {kind[0]}, not diffusers or transformers"):
        cu.load_trained(tmp_path)


# --- what is said of the results


@pytest.fixture(scope="module")
def results():
    table = cu.composing()
    return table[(table.judge == "pixels") & (table.guidance == 3)]


def shares(results, number, **chosen):
    """The mean of each seed."""
    for column, value in chosen.items():
        results = results[results[column] == value]
    return results.groupby("seed")[number].mean()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_single_emoji_are_drawn_as_the_text_says(results, language):
    known = {"part": "remembered", "language": language}
    assert "six or seven names in ten" in lifting.source(NAME, "numbers-after")
    assert shares(results, "nearest", **known).between(0.55, 0.75).all()
    assert (shares(results, "among_five", **known) > 0.8).all()
    assert "150 single emoji" in lifting.source(NAME, "numbers-text")
    assert cu.composing().attrs["samples"]["remembered"] == 150


def test_people_are_put_together_as_the_text_says(results):
    text = lifting.source(NAME, "numbers-after")
    for language in ("en", "ko"):
        easy = shares(results, "all", part="easy", language=language)
        assert easy.between(0.87, 0.95).all()
        hard = {"part": "hard", "language": language}
        assert (shares(results, "all", **hard) < easy).all()
        assert f"{shares(results, 'all', **hard).mean():.0%}".replace("%", " %") in text
    hard = {"part": "hard", "language": "en"}
    for other in ("kind", "tone"):
        assert (shares(results, "gender", **hard) < shares(results, other, **hard)).all()


def test_words_around_a_name_cost_as_the_text_says(results):
    wording = {"part": "wording"}
    for language in ("en", "ko"):
        own = shares(results, "among_five", **wording, language=language, wording="name")
        for words in ("last word", "an emoji of …", "… emoji, drawing on white"):
            found = shares(results, "among_five", **wording, language=language, wording=words)
            assert (found < own).all()
    before = shares(results, "among_five", **wording, language="en", wording="an emoji of …")
    for words in ("an emoji of …", "… emoji, drawing on white"):
        korean = shares(results, "among_five", **wording, language="ko", wording=words)
        assert (korean > before).all()
