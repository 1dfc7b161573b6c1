"""The trainings of a small Stable Diffusion: what is left, exact resumption, what is refused."""

import json
import shutil
import socket
from dataclasses import asdict

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from processes import Command
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from course_utils import load_emoji, load_trained, to_model_range
from course_utils.cli import main
from course_utils.recipes import Options, load_recipe, parse_recipe
from course_utils.runs.log import read_log
from course_utils.runs.measuring import evaluate
from course_utils.runs.tasks import Place, task_of
from course_utils.runs.tasks.parts import open_parts
from course_utils.runs.trainer import train_recipe
from course_utils.sharing.upload import files_to_share
from course_utils.text_to_image import Matcher, encode_texts, latents_of

NUM_IMAGES = 20
SMALL = ["--data.num-images", str(NUM_IMAGES), "--data.size", "16", "--training.batch-size", "8"]
SMALL += ["--max-steps", "4", "--checkpoint-every", "2", "--training.lr", "2e-3"]
RECIPES = {  # in the order in which they are made
    "emoji-autoencoder-cpu": ["--model.channels", "8", "16", "--model.latent-channels", "4"],
    "emoji-words-cpu": ["--model.channels", "16", "--model.num-tokens", "600"],
    "emoji-cpu": ["--model.channels", "8", "16", "--sampler.num-steps", "2"],
}
UNET = "diffusion_pytorch_model.safetensors"
each_recipe = pytest.mark.parametrize("recipe", RECIPES)
as_typed = pytest.mark.usefixtures("as_the_command_runs")


def words(recipe, runs, *more, folder=None):
    """The command; the UNet stands between what the other two left in `runs`."""
    parts = ["--start.parts", *(str(runs / name) for name in [*RECIPES][:2])]
    named = [
        "train",
        "--recipe",
        recipe,
        *RECIPES[recipe],
        *(parts if recipe == "emoji-cpu" else []),
    ]
    return [*named, *SMALL, "--output-dir", str(folder or runs / recipe), *more]


@pytest.fixture(scope="module")
def finished(as_the_command_runs, tmp_path_factory):
    """A run of each recipe that nothing disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    for recipe in RECIPES:
        assert main(words(recipe, runs)) == 0
    return runs


def losses(folder):
    return [line["loss"] for line in read_log(folder)]


def saved(folder, file="model", step=4):
    return load_file(folder / "checkpoints" / f"step-{step:09d}" / f"{file}.safetensors")


def task(recipe, runs, **training):
    """As it begins, to look into."""
    table = json.loads((runs / recipe / "recipe.json").read_text())["recipe"]
    table["training"] |= training
    recipe = parse_recipe(table)
    return task_of(recipe)(recipe, 0, Place(torch.device("cpu"), recipe.training.batch_size))


# --- what is left


@as_typed
@each_recipe
def test_what_is_left_is_complete(finished, recipe):
    folder = finished / recipe
    assert len(losses(folder)) == 4
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (result["steps"], result["num_pictures"]) == (4, NUM_IMAGES)
    assert result["parameters"] == sum(weights.numel() for weights in saved(folder).values())
    card = (folder / "README.md").read_text(encoding="utf-8")
    for fact in ("from_pretrained", "Noto", "samples.png", "4 steps", "How good it is"):
        assert fact in card
    shared = {path.name for path in files_to_share(folder)}
    assert {"README.md", "config.json", "samples.png"} <= shared
    assert (folder / "samples" / "step-000000002.png").exists()


@as_typed
def test_the_pipeline_draws_by_diffusers_and_by_the_course(finished, tmp_path):
    folder = finished / "emoji-cpu"
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline("red heart", num_inference_steps=2).images
    assert picture.size == (16, 16)
    trained = load_trained(folder)
    assert (trained.sampler.guidance, trained.sampler.num_steps) == (3, 2)
    files = {"heart": ["--prompt", "red heart"], "apple": ["--prompt", "apple"], "any": []}
    for name, more in files.items():
        output = ["--num-images", "2", "--output", str(tmp_path / f"{name}.npz")]
        assert main(["sample", "--model", str(folder), *output, *more]) == 0
    heart, apple, _ = (np.load(tmp_path / f"{name}.npz")["images"] for name in files)
    assert heart.shape == (2, 3, 16, 16)
    assert not np.array_equal(heart, apple)


@as_typed
def test_the_pipeline_is_the_average_of_the_unet_between_the_parts(finished):
    folder = finished / "emoji-cpu"
    left = StableDiffusionPipeline.from_pretrained(folder)
    average = saved(folder, "ema")
    for number, weights in enumerate(left.unet.parameters()):
        assert torch.equal(weights, average[str(number)].half().float())
    own = AutoencoderKL.from_pretrained(finished / "emoji-autoencoder-cpu", subfolder="vae")
    assert left.vae.config.scaling_factor == own.config.scaling_factor
    for ours, theirs in zip(left.vae.parameters(), own.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())


@as_typed
def test_latents_of_the_training_pictures_are_as_wide_as_the_noise(finished):
    vae = AutoencoderKL.from_pretrained(finished / "emoji-autoencoder-cpu", subfolder="vae")
    images = load_emoji(16).part("training").first(NUM_IMAGES).images
    latents = latents_of(vae, images)
    assert latents.shape == (NUM_IMAGES, 4, 8, 8)
    assert latents.std().item() == pytest.approx(1, abs=1e-4)
    result = json.loads((finished / "emoji-autoencoder-cpu" / "result.json").read_text())
    mse = (vae(to_model_range(images)).sample.clamp(-1, 1) - to_model_range(images)).square()
    by_hand = (10 * (4 / mse.mean((1, 2, 3))).log10()).mean().item()
    assert result["psnr_training"] == pytest.approx(by_hand, abs=0.01)
    assert result["psnr"] != result["psnr_training"]


@as_typed
def test_the_words_are_a_text_encoder_with_its_vocabulary(finished):
    folder = finished / "emoji-words-cpu"
    text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    assert len(tokenizer) == text_encoder.config.vocab_size == 600
    matcher = Matcher.load(folder / "matcher.safetensors", text_encoder, tokenizer)
    data = load_emoji(16).part("training").first(NUM_IMAGES)
    right = matcher.nearest(data.captions["ko"], load_emoji(16).images, 5)
    assert right.shape == (NUM_IMAGES, 5)
    weights = saved(folder)
    assert torch.equal(matcher.projection.weight, weights["projection.weight"])
    trained = [w for name, w in weights.items() if name.endswith("final_layer_norm.weight")]
    assert torch.equal(text_encoder.state_dict()[_last(text_encoder)], trained[0].half().float())


def _last(text_encoder):
    (name,) = [n for n in text_encoder.state_dict() if n.endswith("final_layer_norm.weight")]
    return name


@as_typed
@each_recipe
def test_evaluate_measures_what_the_results_say(finished, recipe, capsys):
    assert main(["evaluate", "--model", str(finished / recipe), "--num-images", "200"]) == 0
    found = dict(line.split() for line in capsys.readouterr().out.splitlines())
    result = json.loads((finished / recipe / "result.json").read_text())
    names = {"emoji-cpu": "own_5_ko", "emoji-autoencoder-cpu": "psnr"}
    name = names.get(recipe, "unseen_top5_en")
    assert float(found[name]) == pytest.approx(result[name], abs=0.06)  # halves of the weights


@as_typed
@pytest.mark.parametrize("recipe", [*RECIPES][:2])
def test_a_part_alone_says_what_it_is_for(finished, recipe):
    with pytest.raises(FileNotFoundError, match=r"a part of one, to be named in start\.parts"):
        load_trained(finished / recipe)


# --- the same result


@as_typed
@each_recipe
def test_resumed_it_ends_at_equal_bits(finished, recipe, tmp_path):
    folder = shutil.copytree(finished / recipe, tmp_path / "broken")
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "step-000000004")
    assert main(words(recipe, finished, "--resume", folder=folder)) == 0
    assert losses(folder) == losses(finished / recipe)
    for file in ("model", "ema", "optimizer"):
        ours, theirs = saved(folder, file), saved(finished / recipe, file)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@as_typed
@pytest.mark.parametrize("recipe", ["emoji-autoencoder-cpu", "emoji-cpu"])
def test_parts_of_a_batch_add_up_to_the_batch(finished, recipe):
    whole = task(recipe, finished)
    chance = whole.draw(3)

    def loss(places):
        return whole.loss(whole.network.train(), whole.batch(3, places, chance)).item()

    halves = [loss(places) for places in torch.arange(8).split(4)]
    assert halves[0] != halves[1]
    assert loss(torch.arange(8)) == pytest.approx(sum(halves) / 2, rel=1e-5)


@pytest.mark.slow
@as_typed
@each_recipe
def test_two_processes_give_the_losses_of_one(finished, recipe, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    place |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = words(recipe, finished, folder=tmp_path / "two")
    both = [
        Command(command, f"{tmp_path}/{rank}.txt", RANK=rank, LOCAL_RANK=rank, **place)
        for rank in "01"
    ]
    for process in both:
        process.join()
    output = "".join(process.output() for process in both)
    assert [process.exitcode for process in both] == [0, 0], output
    assert losses(tmp_path / "two") == pytest.approx(losses(finished / recipe), abs=1e-4)


# --- what a batch is


@as_typed
def test_each_latent_is_told_by_one_of_its_own_texts(finished):
    unet = task("emoji-cpu", finished, drop=0.5)
    data = load_emoji(16).part("training").first(NUM_IMAGES)
    every = latents_of(unet.autoencoder, data.images)
    told = {"nothing": 0, "english": 0, "korean": 0, "alias": 0}
    for step in range(12):
        batch = unet.batch(step, torch.arange(8), unet.draw(step))
        for latent, words_ in zip(batch.x0, batch.words, strict=True):
            (place,) = [
                n for n, each in enumerate(every) if torch.allclose(latent, each, atol=1e-5)
            ]
            names = {"nothing": "", "english": data.captions["en"][place]}
            names |= {"korean": data.captions["ko"][place]}
            names |= {f"alias {n}": text for n, text in enumerate(data.aliases[place])}
            states = encode_texts(unet.parts.text_encoder, unet.parts.tokenizer, [*names.values()])
            right = [
                n
                for n, s in zip(names, states, strict=True)
                if torch.allclose(words_, s, atol=1e-5)
            ]
            told[right[0].split()[0]] += 1
    assert sum(told.values()) == 96
    assert 30 < told["nothing"] < 66
    assert min(told["english"], told["korean"]) > 5


@as_typed
def test_texts_and_pictures_of_a_batch_belong_together(finished):
    matcher = task("emoji-words-cpu", finished)
    data, places = load_emoji(16).part("training").first(NUM_IMAGES), torch.arange(8)
    chance = matcher.draw(5)
    batch = matcher.batch(5, places, chance)
    undisturbed = matcher.batch(
        5, places, chance._replace(shift=chance.shift * 0, noise=chance.noise * 0)
    )
    assert not torch.equal(batch.pictures, undisturbed.pictures)
    for text, picture in zip(batch.texts, undisturbed.pictures, strict=True):
        (place,) = [n for n, seen in enumerate(matcher.seen) if torch.equal(seen, picture)]
        own = data.captions["en"][place], data.captions["ko"][place], *data.aliases[place]
        assert text in own


@as_typed
@each_recipe
def test_chance_is_a_function_of_seed_and_step(finished, recipe):
    one = task(recipe, finished)
    first, again, next_ = one.draw(3), one.draw(3), one.draw(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.noise, next_.noise)
    one.seed = 1
    assert not torch.equal(first.noise, one.draw(3).noise)


# --- what does not fit


REFUSED = [
    ("emoji-words-cpu", ["--data.source", "digits"], "reads captions, and data.source 'digits'"),
    ("emoji-words-cpu", ["--training.batch-size", "32"], "batch_size must be at most 20"),
    ("emoji-words-cpu", ["--model.num-tokens", "2048"], "model.num_tokens must be at most "),
    ("emoji-autoencoder-cpu", ["--data.source", "digits"], "'digits' are grey"),
    ("emoji-autoencoder-cpu", ["--data.size", "15"], "data.size must be a multiple of 2"),
    ("emoji-cpu", ["--data.size", "18"], "data.size must be a multiple of 4"),
    (
        "emoji-cpu",
        ["--data.source", "digits", "--data.size", "28"],
        "data.source 'digits' has none",
    ),
    ("emoji-cpu", ["--start.parts", "digits"], "none of start.parts digits holds 'vae'"),
    ("emoji-cpu", ["--start.parts", "nowhere"], "no folder 'nowhere'"),
]


@as_typed
@pytest.mark.parametrize(("recipe", "more", "error"), REFUSED)
def test_what_does_not_fit_is_one_clear_line(finished, recipe, more, error, tmp_path, capsys):
    assert main(words(recipe, finished, *more, folder=tmp_path / "run")) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert error in line
    assert not (tmp_path / "run" / "recipe.json").exists()


@as_typed
def test_other_parts_than_before_are_refused(finished, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(finished / "emoji-cpu", tmp_path / "run")
    (folder / "result.json").unlink()

    def others(folders):
        parts = open_parts(folders)
        next(parts.autoencoder.parameters()).mul_(1.01)
        return parts

    monkeypatch.setattr("course_utils.runs.tasks.latents.open_parts", others)
    assert main(words("emoji-cpu", finished, "--resume", folder=folder)) == 1
    assert "the parts are not those that this run began with" in capsys.readouterr().err


@each_recipe
def test_a_run_and_its_evaluation_keep_to_the_signatures(recipe, tmp_path):
    table = asdict(load_recipe(recipe))
    table["data"] |= {"num_images": NUM_IMAGES}
    table["training"] |= {"batch_size": 4, "max_steps": 2}
    if recipe == "emoji-words-cpu":
        table["model"] |= {"channels": [16], "num_tokens": 600}
    else:
        table["model"] |= {"channels": [8, 16]}
        table["data"] |= {"size": 16}
    table["sampler"] |= {"num_steps": 2} if recipe == "emoji-cpu" else {}
    assert train_recipe(parse_recipe(table), Options(tmp_path / "run")) == 0
    assert evaluate(tmp_path / "run", 10)
