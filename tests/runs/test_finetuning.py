"""Runs that go on from a trained model: all weights or a LoRA; resumed exactly; what they leave."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import load_file, save_file

from course_utils import draw_smileys, load_lora, load_trained, lora_strength, to_pil
from course_utils.cli import main
from course_utils.models.lora import ADAPTER
from course_utils.recipes import load_recipe
from course_utils.runs.cost import make_plan
from course_utils.runs.log import read_log

pytestmark = pytest.mark.usefixtures("as_the_command_runs")
COMMON = ["--training.batch-size", "8", "--training.precision", "float32"]
COMMON += ["--sampler.num-steps", "2", "--checkpoint-every", "2", "--max-steps", "6"]
NETWORKS = {
    "UNet2DModel": ["--model.channels", "8", "16", "--model.attention", "False", "True"],
    "UNet": [
        *("--model.kind", "UNet", "--model.channels", "16", "32", "--model.attention"),
        *("--schedule.name", "straight"),
    ],
}
RECIPES = ("finetune-cpu", "finetune-lora-cpu")
each_recipe = pytest.mark.parametrize("recipe", RECIPES)
each_network = pytest.mark.parametrize("network", NETWORKS)


def put_pictures(folder, num_classes=None):
    """16 smileys, in subfolders if there are classes."""
    for number, image in enumerate(draw_smileys(16, 16)):
        place = folder / str(number % num_classes) if num_classes else folder
        place.mkdir(parents=True, exist_ok=True)
        to_pil(image).save(place / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return put_pictures(tmp_path_factory.mktemp("faces") / "mine")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A model of each kind after 2 steps."""
    folder = tmp_path_factory.mktemp("bases")
    for name, network in NETWORKS.items():
        line = anew("butterflies-32-cpu", put_pictures(folder / "faces"), folder / name)
        assert main([*line, *network]) == 0
    return folder


def anew(recipe, pictures, folder):
    """The words that train on a folder with random weights."""
    line = ["train", "--recipe", recipe, "--output-dir", str(folder), "--data.size", "16"]
    line += ["--data.source", "folder", "--data.path", str(pictures)]
    return [*line, *COMMON, "--max-steps", "2"]


def words(recipe, base, faces, folder, *more):
    named = ["train", "--recipe", recipe, "--from", str(base), "--output-dir", str(folder)]
    return [*named, "--data.path", str(faces), "--data.size", "16", *COMMON, *more]


@pytest.fixture(scope="module")
def finished(bases, faces, tmp_path_factory):
    """A run of each recipe from each base that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    for base in NETWORKS:
        for recipe in RECIPES:
            run = folder / f"{base}-{recipe}"
            assert main(words(recipe, bases / base, faces, run)) == 0
    return folder


def weights(folder):
    return load_trained(folder).model.state_dict()


def same(one, other):
    return all(map(torch.equal, one.values(), other.values()))


def result(folder):
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


# --- what is left


@each_network
@each_recipe
def test_the_folder_holds_the_whole_model_on_the_schedule_of_its_start(
    finished, bases, recipe, network
):
    trained, base = load_trained(finished / f"{network}-{recipe}"), load_trained(bases / network)
    assert list(trained.model.state_dict()) == list(base.model.state_dict())
    assert not same(trained.model.state_dict(), base.model.state_dict())
    assert torch.equal(trained.schedule.alphas, base.schedule.alphas)
    assert trained.prediction_type == base.prediction_type
    assert trained.draw(2).shape == (2, 3, 16, 16)
    assert (finished / f"{network}-{recipe}" / ADAPTER).exists() == ("lora" in recipe)


def test_plain_diffusers_draws_with_what_a_lora_left(finished):
    pipeline = DDPMPipeline.from_pretrained(finished / "UNet2DModel-finetune-lora-cpu")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(num_inference_steps=2).images[0].size == (16, 16)


@each_network
def test_the_adapter_on_the_base_is_the_whole_model(finished, bases, network):
    whole = load_trained(finished / f"{network}-finetune-lora-cpu")
    base = load_trained(bases / network)._replace(sampler=whole.sampler)
    before = base.draw(3)
    load_lora(base.model, finished / f"{network}-finetune-lora-cpu")
    torch.testing.assert_close(base.draw(3), whole.draw(3), rtol=1e-3, atol=1e-3)
    lora_strength(base.model, 0)
    assert torch.equal(base.draw(3), before)


def test_results_say_where_it_began_and_how_little_was_trained(finished):
    full, lora = (result(finished / f"UNet2DModel-{recipe}") for recipe in RECIPES)
    assert full["start"] == lora["start"] == "UNet2DModel"
    assert full["parameters"] == full["trained_parameters"] == lora["parameters"]
    assert lora["trained_parameters"] == sum(
        w.numel() for w in load_file(finished / "UNet2DModel-finetune-lora-cpu" / ADAPTER).values()
    )
    assert lora["flops"] < full["flops"]


def test_the_lines_of_the_card_load_the_adapter_in_plain_diffusers(finished, bases):
    folder = finished / "UNet2DModel-finetune-lora-cpu"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Started from | `UNet2DModel`" in card
    assert re.search(r"trained was a LoRA of rank 3, [\d,]+ numbers, [\d.]+%", card)
    *_, code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "course_utils" not in code
    code = code.replace('"UNet2DModel"', repr(str(bases / "UNet2DModel")))
    code = code.replace(f'"your-name/{folder.name}"', repr(str(folder)))
    loaded = {}
    exec(code, loaded)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([9, 900])
    network, whole, base = (
        loaded["pipeline"].unet,
        load_trained(folder),
        load_trained(bases / "UNet2DModel"),
    )
    with torch.no_grad():
        assert torch.equal(network(x, t).sample, base.model(x, t).sample)  # the card's last line
        network.enable_lora()
        ours, theirs = whole.model(x, t).sample, network(x, t).sample
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(theirs, base.model(x, t).sample, atol=1e-3)


def test_the_lines_of_the_courses_card_load_the_adapter(finished):
    card = (finished / "UNet-finetune-lora-cpu" / "README.md").read_text(encoding="utf-8")
    assert "load_lora(trained.model, snapshot_download" in card


# --- the same result


@each_network
@each_recipe
def test_broken_off_and_resumed_it_ends_at_equal_bits(
    finished, bases, faces, recipe, network, tmp_path, monkeypatch
):
    """Though the start's weights have changed since: what it began with is in the checkpoint."""
    monkeypatch.chdir(tmp_path)
    undisturbed, base = finished / f"{network}-{recipe}", shutil.copytree(bases / network, "base")
    assert main(words(recipe, "base", faces, "run", "--checkpoint-every", "4")) == 0
    for path in ("run/result.json", "run/checkpoints/step-000000006/state.json"):
        os.remove(path)
    file = next(iter(Path(base).glob("unet/*.safetensors")), Path(base, "model.safetensors"))
    save_file({name: w + 1 for name, w in load_file(file).items()}, file)
    assert main(words(recipe, "base", faces, "run", "--resume")) == 0
    assert same(weights("run"), weights(undisturbed))
    lines = [[line["loss"] for line in read_log(f)] for f in (Path("run"), undisturbed)]
    assert lines[0] == lines[1]
    if "lora" in recipe:
        assert same(*(load_file(Path(f) / ADAPTER) for f in ("run", undisturbed)))


def test_a_run_from_another_start_is_another_run(finished, bases, faces, tmp_path, capsys):
    run = shutil.copytree(finished / "UNet-finetune-cpu", tmp_path / "run")
    assert main(words("finetune-cpu", bases / "UNet2DModel", faces, run, "--resume")) == 1
    assert "start.folder was" in capsys.readouterr().err


# --- what does not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--from", "nonsense"], r"no folder 'nonsense': .* a name that ships: .*butterflies-32"),
        (["--from", "digits"], "draws 1-channel pictures, and data.source 'folder' gives 3"),
        (["--data.size", "24"], r"data.size must be 16, .* got 24: add --data.size 16"),
        (["--training.drop", "0.1"], "need classes, and start.folder .* knows none"),
        (["--schedule.name", "cosine"], "are those of start.folder: take them out"),
        (["--recipe", "butterflies-32-cpu"], r"brings its own network.* the recipe finetune-cpu"),
        (["--from", ""], r"needs a \[model\].* or start.folder"),
        (["--from", "", "--start.lora-rank", "2"], r"needs a \[model\].* or start.folder"),
        (["--start.lora-rank", "0"], "start.lora_rank: Input should be greater than 0, got 0"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(bases, faces, tmp_path, capsys, changes, message):
    line = words("finetune-cpu", bases / "UNet2DModel", faces, tmp_path / "run", *changes)
    assert main(line) == 1
    (error,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert re.search(message, error), error
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_model_with_classes_learns_pictures_with_as_many(bases, faces, tmp_path, capsys):
    told, sorted_faces = tmp_path / "told", put_pictures(tmp_path / "sorted", num_classes=12)
    line = anew("butterflies-32-classes-cpu", sorted_faces, told)
    assert main([*line, *NETWORKS["UNet2DModel"]]) == 0
    assert main(words("finetune-cpu", told, faces, tmp_path / "none")) == 1
    error = capsys.readouterr().err
    assert "knows 12 classes, and the pictures have no classes: sort them into 12" in error
    more = ["--training.drop", "0.2", "--sampler.guidance", "1.5"]
    assert main(words("finetune-lora-cpu", told, sorted_faces, tmp_path / "run", *more)) == 0
    assert load_trained(tmp_path / "run").classes == tuple(sorted(map(str, range(12))))
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "but for 20% of them, so that guidance works" in card
    assert "Recommended guidance | 1.5" in card


# --- the recipes that ship


def test_a_shipped_model_is_known_by_its_name(tmp_path, capsys):
    for recipe in RECIPES:
        plan = make_plan(load_recipe(recipe), rate=1e12)
        assert plan.num_parameters == 2_198_179
        assert plan.num_trained <= 0.05 * plan.num_parameters or "lora" not in recipe
    line = ["sample", "--model", "digits", "--num-images", "1", "--num-steps", "2"]
    assert main([*line, "--output", str(tmp_path / "one.png")]) == 0
