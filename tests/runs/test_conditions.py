"""Runs that are told classes: what they leave, exact resumption, and that they listen."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_utils import Sampler, draw_butterflies, load_trained, to_pil
from course_utils.cli import main
from course_utils.evaluation.distances import agreement
from course_utils.recipes import load_recipe, parse_recipe
from course_utils.runs.batches import draw_chance

pytestmark = pytest.mark.usefixtures("as_the_command_runs")
RECIPES = {
    "digits-classes-cpu": ["--data.num-images", "40", "--model.channels", "8", "16"],
    "butterflies-32-classes-cpu": [
        *("--data.num-images", "36", "--data.size", "16", "--model.channels", "8", "16"),
        *("--model.attention", "False", "True"),
    ],
}
SMALL = ["--training.batch-size", "8", "--training.precision", "float32", "--max-steps", "6"]
SMALL += ["--sampler.num-steps", "2", "--checkpoint-every", "2"]
SMALL += ["--training.lr", "2e-3"]  # a higher rate makes the last bits of sums grow
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", "2"]
each_recipe = pytest.mark.parametrize("recipe", RECIPES)


def words(recipe, folder, *more):
    named = ["train", "--recipe", recipe, "--output-dir", str(folder)]
    return [*named, *RECIPES[recipe], *SMALL, *more]


def start(recipe, folder, *more, launcher=()):
    """The command in processes of its own, with one thread each."""
    command = [sys.executable, *launcher, "-m", "course_utils.cli", *words(recipe, folder, *more)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of each recipe that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    for recipe in RECIPES:
        assert main(words(recipe, folder / recipe)) == 0
    return folder


def losses(folder):
    log = (folder / "logs" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in log]


def weights(folder):
    return load_trained(folder).model.state_dict()


def assert_equal_bits(one, other):
    one, other = weights(one), weights(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@each_recipe
def test_what_is_left_knows_its_classes(finished, recipe):
    folder = finished / recipe
    trained = load_trained(folder)
    data = load_recipe(recipe).data
    assert len(trained.classes) == load_recipe(recipe).model.num_classes
    assert trained.label(trained.classes[3]) == 3
    assert trained.sampler.guidance == 1.5
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert 0 <= result["agreement"] <= 1
    assert result["classes"] == list(trained.classes)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "class-conditional" in card
    assert data.licence in card


@each_recipe
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_killed_and_resumed_it_ends_at_equal_bits(finished, recipe, tmp_path):
    folder = tmp_path / "killed"
    process = start(recipe, folder)
    while not list(folder.glob("checkpoints/step-*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "result.json").exists()
    assert main(words(recipe, folder, "--resume")) == 0
    assert_equal_bits(finished / recipe, folder)
    assert losses(folder) == losses(finished / recipe)


def test_two_processes_give_the_losses_of_one(finished, tmp_path):
    recipe = "digits-classes-cpu"
    process = start(recipe, tmp_path / "two", launcher=LAUNCH)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert losses(tmp_path / "two") == pytest.approx(losses(finished / recipe), abs=1e-5)


def test_parts_of_a_batch_are_told_their_own_labels(finished, tmp_path):
    recipe = "digits-classes-cpu"
    assert main(words(recipe, tmp_path / "parts", "--training.accumulation", "4")) == 0
    assert losses(tmp_path / "parts") == pytest.approx(losses(finished / recipe), abs=1e-5)


def test_what_is_dropped_is_a_function_of_seed_and_step():
    table = load_recipe("digits-classes-cpu")
    cpu = torch.device("cpu")
    shares = [draw_chance(table, 0, step, cpu).dropped.float().mean().item() for step in range(200)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)
    again, other = (draw_chance(table, seed, 3, cpu).dropped for seed in (0, 1))
    assert torch.equal(again, draw_chance(table, 0, 3, cpu).dropped)
    assert not torch.equal(again, other)


def test_a_run_without_classes_sees_the_chance_that_it_saw_before():
    """The mask is drawn last: timesteps and noise are those of the recipe without labels."""
    told = load_recipe("digits-classes-cpu")
    untold = replace(told.model, num_classes=None), replace(told.training, drop=0.0)
    plain = replace(told, model=untold[0], training=untold[1], sampler=Sampler())
    cpu = torch.device("cpu")
    for ours, theirs in zip(
        draw_chance(told, 0, 5, cpu)[:3], draw_chance(plain, 0, 5, cpu)[:3], strict=True
    ):
        assert torch.equal(ours, theirs)


# --- drawing and measuring


def draw(folder, output, *more):
    words = ["sample", "--model", str(folder), "--num-images", "3", "--output", str(output)]
    return main([*words, *more])


@each_recipe
def test_a_label_by_name_is_the_label_by_number(finished, recipe, tmp_path):
    name = load_trained(finished / recipe).classes[7]
    for file, label in (("a", name), ("b", "7"), ("c", "2")):
        assert draw(finished / recipe, tmp_path / f"{file}.npz", "--label", label) == 0
    a, b, c = (np.load(tmp_path / f"{file}.npz")["images"] for file in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert draw(finished / recipe, tmp_path / "plain.png") == 0


def test_guidance_and_steps_change_what_is_drawn(finished, tmp_path):
    folder = finished / "digits-classes-cpu"
    options = {
        "recipe": [],
        "same": ["--guidance", "1.5"],
        "more": ["--guidance", "4"],
        "steps": ["--num-steps", "3"],
    }
    drawn = {}
    for name, more in options.items():
        assert draw(folder, tmp_path / f"{name}.npz", "--label", "7", *more) == 0
        drawn[name] = np.load(tmp_path / f"{name}.npz")["images"]
    assert np.array_equal(drawn["recipe"], drawn["same"])
    assert not np.array_equal(drawn["recipe"], drawn["more"])
    assert not np.array_equal(drawn["recipe"], drawn["steps"])


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--label", "seven"], "label must be one of 0, 1, 2"),
        (["--label", "10"], "a number below 10; got '10'"),
        (["--num-steps", "0"], "num_steps must"),
        (["--num-images", "0"], "num_images must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(finished, more, error, tmp_path, capsys):
    assert draw(finished / "digits-classes-cpu", tmp_path / "x.npz", *more) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert error in line
    assert not (tmp_path / "x.npz").exists()


@each_recipe
def test_evaluate_says_whether_it_listens(finished, recipe, capsys):
    assert main(["evaluate", "--model", str(finished / recipe), "--num-images", "20"]) == 0
    found = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert 0 <= float(found["agreement"]) <= 1


def test_agreement_counts_the_classes_asked_for():
    images, labels = draw_butterflies(120, seed=4)
    assert agreement(images, labels) > 0.95
    assert agreement(images, (labels + 1) % 12) < 0.05
    with pytest.raises(ValueError, match=r"one class for each of the 120 pictures, got .*\(3,\)"):
        agreement(images, labels[:3])


# --- what does not fit


def test_classes_that_the_pictures_do_not_have_are_refused(tmp_path, capsys):
    recipe = "digits-classes-cpu"
    assert main(words(recipe, tmp_path / "run", "--model.num-classes", "9")) == 1
    assert "9" in (error := capsys.readouterr().err)
    assert "10" in error


def test_pictures_without_classes_are_refused(tmp_path, capsys):
    for number, image in enumerate(draw_butterflies(4, 16)[0]):
        to_pil(image).save(tmp_path / f"{number}.png")
    changes = ["--data.source", "folder", "--data.path", str(tmp_path)]
    recipe = "butterflies-32-classes-cpu"
    assert main(words(recipe, tmp_path / "run", *changes)) == 1
    assert "num_classes" in capsys.readouterr().err


@pytest.mark.parametrize("streaming", [[], ["--data.streaming"]], ids=["memory", "stream"])
def test_the_subfolders_of_a_folder_are_its_classes(streaming, tmp_path):
    images, labels = draw_butterflies(24, 16)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = tmp_path / "mine" / ("ant", "bee", "cat")[label % 3]
        folder.mkdir(parents=True, exist_ok=True)
        to_pil(image).save(folder / f"{number}.png")
    changes = ["--data.source", "folder", "--data.path", str(tmp_path / "mine")]
    changes += ["--model.num-classes", "3", *streaming]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = "butterflies-32-classes-cpu"
    for folder in (whole, broken):
        assert main(words(recipe, folder, *changes)) == 0
    assert load_trained(whole).classes == ("ant", "bee", "cat")
    for name in ("result.json", "checkpoints/step-000000006/state.json"):
        (broken / name).unlink()
    assert main(words(recipe, broken, *changes, "--resume")) == 0
    assert_equal_bits(whole, broken)


def test_a_recipe_from_before_there_were_classes_is_the_same_recipe():
    from dataclasses import asdict

    table = asdict(load_recipe("butterflies-32-cpu"))
    for section, field in (("model", "num_classes"), ("training", "drop"), ("sampler", "guidance")):
        del table[section][field]
    assert parse_recipe(table) == load_recipe("butterflies-32-cpu")
