"""The training command: what it leaves, that nothing is lost, and that processes don't matter."""

import io
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from fake_hub import Hub
from PIL import Image
from processes import Command
from safetensors.torch import load_file

from course_utils import ImageData, cli, draw_butterflies, to_pil
from course_utils.cli import main
from course_utils.runs.log import read_log
from course_utils.runs.trainer import Run
from course_utils.trained import load_trained

SMALL = {
    "--recipe": "butterflies-32-cpu",
    "--data.num-images": "24",
    "--data.size": "16",
    "--model.channels": ["8", "16"],
    "--model.attention": ["False", "True"],
    "--training.batch-size": "4",
    "--training.precision": "float32",
    "--sampler.num-steps": "2",
    "--max-steps": "8",
    "--checkpoint-every": "3",
}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", "2"]
PATIENT = {"--checkpoint-every": "1000", "--max-steps": "100000"}


def options(folder, changes=()):
    asked = {**SMALL, "--output-dir": str(folder), **dict(changes)}
    words = []
    for name, value in asked.items():
        if value is not None:
            words += [name, *(value if isinstance(value, list) else [value])]
    return words


def train(folder, **changes):
    """The command in this process; its exit status."""
    changes = {"--" + name.replace("__", ".").replace("_", "-"): v for name, v in changes.items()}
    return main(["train", *options(folder, changes)])


def start(folder, changes=(), **environment):
    """The command in a process of its own."""
    return Command(["train", *options(folder, changes)], f"{folder}.txt", **environment)


def launch(folder, changes=(), launcher=(sys.executable,)):
    """The command as it is typed, from nothing."""
    command = [*launcher, "-m", "course_utils.cli", "train", *options(folder, changes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_steps(folder, count, *processes):
    while len(losses(folder)) < count and all(process.is_alive() for process in processes):
        time.sleep(0.01)


def losses(folder):
    return [line["loss"] for line in read_log(folder)]


def steps_saved(folder):
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*"))


@pytest.fixture(autouse=True)
def parsed_without_shape_checks(monkeypatch):
    """tyro's MISSING is no path; all that follows is checked."""
    parse = cli._parse

    def unchecked(words):
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            return parse(words)
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    monkeypatch.setattr(cli, "_parse", unchecked)


@pytest.fixture(autouse=True)
def nothing_runs_on():
    yield
    for process in multiprocessing.active_children():
        process.kill()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing disturbed, by the command in a process of its own."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    process = launch(folder)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return folder, output


def weights(folder):
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- what is left


def test_what_is_left_is_complete(finished):
    folder, output = finished
    assert "Done." in output
    pipeline = DDPMPipeline.from_pretrained(folder)  # nothing of the course is needed
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline(num_inference_steps=2).images
    assert picture.size == (16, 16)
    assert steps_saved(folder) == [3, 6, 8]
    assert len(losses(folder)) == 8
    assert list((folder / "logs").glob("events.out.tfevents.*"))
    for step in (3, 6, 8):
        assert Image.open(folder / "samples" / f"step-{step:09d}.png").width >= 250
    result = json.loads((folder / "result.json").read_text())
    assert (result["steps"], result["seed"], result["num_pictures"]) == (8, 0, 24)
    assert result["num_samples"] == 24
    assert result["frechet"] > result["frechet_floor"] > 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    for fact in ("DDPMPipeline", "Apache-2.0", "samples.png", "the floor", "8 steps", "Seed | 0"):
        assert fact in card
    assert not list(folder.rglob("*.bin"))
    assert not list(folder.rglob("*.pt"))


def test_what_is_left_is_the_average_of_the_weights(finished):
    folder, _ = finished
    average = load_file(folder / "checkpoints" / "step-000000008" / "ema.safetensors")
    left = list(DDPMPipeline.from_pretrained(folder).unet.parameters())
    assert len(left) == len(average)
    assert all(torch.equal(average[str(i)], weights) for i, weights in enumerate(left))


def test_a_model_of_the_course_loads_back_with_one_call(tmp_path):
    changes = {"model__kind": "UNet", "schedule__name": "straight", "model__attention": []}
    assert train(tmp_path / "run", max_steps="2", **changes) == 0
    trained = load_trained(tmp_path / "run")
    assert trained.draw(3).shape == (3, 3, 16, 16)
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "load_trained" in card


def test_samples_and_sheets(finished, tmp_path):
    folder, _ = finished
    common = ["sample", "--model", str(folder), "--num-images", "5"]
    for name in ("a.npz", "b.npz", "sheet.png"):
        assert main([*common, "--output", str(tmp_path / name)]) == 0
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        (name,) = first.files
        assert first[name].dtype == np.uint8
        assert first[name].shape == (5, 3, 16, 16)
        assert np.array_equal(first[name], second[name])
    assert Image.open(tmp_path / "sheet.png").format == "PNG"


def test_evaluate_prints_the_distances(finished, capsys):
    assert main(["evaluate", "--model", str(finished[0]), "--num-images", "10"]) == 0
    found = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert found["num_samples"] == "10"
    assert float(found["frechet"]) > float(found["frechet_floor"])


def test_a_finished_run_stays_as_it_is(finished, tmp_path, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert train(folder, resume=[]) == 0
    assert "is finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before


# --- the same result


def test_the_same_seed_gives_the_same_weights_and_another_does_not(finished, tmp_path):
    assert train(tmp_path / "again") == 0
    assert losses(tmp_path / "again") == pytest.approx(losses(finished[0]), abs=1e-5)
    assert train(tmp_path / "other", seed="1") == 0
    assert losses(tmp_path / "other") != pytest.approx(losses(finished[0]), abs=1e-3)


def test_parts_of_a_batch_add_up_to_the_batch(finished, tmp_path):
    assert train(tmp_path / "parts", training__accumulation="4") == 0
    assert losses(tmp_path / "parts") == pytest.approx(losses(finished[0]), abs=1e-5)


def two_processes(folder, changes=()):
    """The command as a launcher starts it twice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    place |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    words = ["train", *options(folder, changes)]
    return [
        Command(words, f"{folder}-{rank}.txt", RANK=rank, LOCAL_RANK=rank, **place) for rank in "01"
    ]


def assert_two_gave_the_losses_of_one(folder, output, finished):
    assert losses(folder) == pytest.approx(losses(finished[0]), abs=1e-5)
    assert output.count("Done.") == 1
    assert json.loads((folder / "result.json").read_text())["processes"] == 2


def test_two_processes_give_the_losses_of_one(finished, tmp_path):
    both = two_processes(tmp_path / "two")
    for process in both:
        process.join()
    output = "".join(process.output() for process in both)
    assert [process.exitcode for process in both] == [0, 0], output
    assert_two_gave_the_losses_of_one(tmp_path / "two", output, finished)


@pytest.mark.slow
def test_accelerate_launches_two_processes(finished, tmp_path):
    process = launch(tmp_path / "two", launcher=LAUNCH)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert_two_gave_the_losses_of_one(tmp_path / "two", output, finished)


def test_each_picture_comes_once_in_an_epoch(monkeypatch):
    from course_utils.runs.batches import InMemory

    images = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1)
    images = ImageData(images, None, (), "test")
    pictures = InMemory(images, batch_size=4, seed=0)
    seen = torch.cat([pictures.batch(step, torch.arange(4))[0].flatten() for step in range(10)])
    for epoch in seen.reshape(4, 10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:20].tolist()
    halves = [InMemory(images, 4, 0).batch(7, places)[0] for places in torch.arange(4).split(2)]
    assert torch.cat(halves).flatten().tolist() == seen[28:32].tolist()


# --- nothing is lost


@pytest.mark.parametrize("tries", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_at_the_same_weights(finished, tmp_path, tries):
    folder = tmp_path / "killed"
    chance = np.random.default_rng(tries)
    longer = {"--resume": [], "--checkpoint-every": "2"}
    kills = 0
    for step in sorted(chance.integers(1, 8, tries)):
        process = start(folder, longer)
        wait_for_steps(folder, step, process)
        time.sleep(chance.uniform(0, 2 * seconds_per_step(folder)))
        kills += process.is_alive()
        process.kill()
        process.join()
    process = start(folder, longer)
    process.join()
    assert process.exitcode == 0, process.output()
    assert kills > 0
    assert_same_weights(finished[0], folder)
    assert losses(folder) == losses(finished[0])


def seconds_per_step(folder):
    lines = read_log(folder)
    return lines[-1]["seconds"] / len(lines) if lines else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    folder = tmp_path / "stopped"
    process = start(folder, PATIENT)
    wait_for_steps(folder, 2, process)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 128 + number
    (line,) = [line for line in process.output().splitlines() if number.name in line]
    assert "go on with --resume" in line
    step = int(re.search(r"step (\d+)", line)[1])
    assert steps_saved(folder) == [step]
    assert len(losses(folder)) == step


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("which", [0, 1])
def test_two_processes_stop_at_the_same_step(tmp_path, which):
    """Though only one of them gets the signal."""
    folder = tmp_path / "stopped"
    both = two_processes(folder, PATIENT)
    wait_for_steps(folder, 2, *both)
    both[which].terminate()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [128 + signal.SIGTERM] * 2
    (line,) = [line for line in both[0].output().splitlines() if line.startswith("SIGTERM")]
    assert "go on with --resume" in line
    assert steps_saved(folder) == [len(losses(folder))]


def test_a_signal_is_not_lost_while_the_processes_agree():
    caught = []

    def gather(numbers):
        caught.append(signal.SIGTERM)
        return numbers

    run = object.__new__(Run)
    run.seconds, run.accelerator = 1.0, SimpleNamespace(num_processes=2, device="cpu")
    run.accelerator.gather = gather
    assert run._agree(caught) == 0  # it came too late for this time
    assert run._agree(caught) == signal.SIGTERM


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_signal_to_the_launcher_reaches_its_processes(tmp_path):
    folder = tmp_path / "stopped"
    process = launch(folder, PATIENT, launcher=LAUNCH)
    while len(losses(folder)) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate()
    (line,) = [line for line in output.splitlines() if line.startswith("SIGTERM")]
    assert "go on with --resume" in line
    assert steps_saved(folder) == [len(losses(folder))]


def test_a_time_budget_ends_in_time_with_a_model(tmp_path, monkeypatch):
    """By a clock that goes on by a second at each look."""
    clock = SimpleNamespace(monotonic=map(float, itertools.count()).__next__)
    monkeypatch.setattr("course_utils.runs.trainer.time", clock)
    assert train(tmp_path / "run", max_steps=None, max_seconds="20") == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 20 <= result["seconds"] < 23
    rates = [line["lr"] for line in read_log(tmp_path / "run")]
    assert 5 < len(rates) == result["steps"]
    assert rates[-1] < 0.5 * max(rates)


def test_another_run_in_the_same_folder_is_refused(tmp_path, capsys):
    folder = tmp_path / "busy"
    process = start(folder, PATIENT)
    while not (folder / "recipe.json").exists():
        assert process.is_alive(), process.output()
        time.sleep(0.01)
    assert train(folder, max_steps="100000", resume=[]) == 1
    assert "another run is training in" in capsys.readouterr().err


def test_what_does_not_fit_the_folder_is_refused(finished, tmp_path, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    before = sorted(folder.rglob("*"))
    assert train(folder) == 1
    assert "holds a run: go on with it by --resume" in capsys.readouterr().err
    assert train(folder, resume=[], training__lr="0.5", seed="3") == 1
    error = capsys.readouterr().err
    assert "training.lr was 0.006, is 0.5" in error
    assert "seed was 0, is 3" in error
    assert sorted(folder.rglob("*")) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").touch()
    for resume in ({}, {"resume": []}):
        assert train(tmp_path / "full", **resume) == 1
        assert "holds 'holiday.jpg', no run" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "full")) == [".lock", "holiday.jpg"]


def test_resume_in_an_empty_folder_starts_afresh(finished, tmp_path):
    assert train(tmp_path / "new", resume=[], max_steps="2") == 0
    assert losses(tmp_path / "new")[0] == pytest.approx(losses(finished[0])[0], abs=1e-5)


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(finished, tmp_path, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "result.json").unlink()
    newest = folder / "checkpoints" / "step-000000008" / "ema.safetensors"
    newest.write_bytes(newest.read_bytes()[:-10])
    assert train(folder, resume=[]) == 0
    out = capsys.readouterr().out
    assert "step-000000008 is damaged" in out
    assert "going on from step 6" in out
    assert len(losses(folder)) == 8


def test_other_pictures_than_before_are_refused(finished, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "result.json").unlink()
    others = ImageData(draw_butterflies(24, 16, seed=99)[0], None, (), "test")
    monkeypatch.setattr("course_utils.runs.batches.load_data", lambda data, labelled: others)
    assert train(folder, resume=[]) == 1
    assert "the pictures are not those that this run began with" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root on Linux can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_spares_what_was_saved(finished, small_disk, capsys):
    folder = small_disk / "run"
    assert train(folder, max_steps="1000") == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    saved = steps_saved(folder)
    if saved:
        assert f"until step {saved[-1]} is safe" in error
    else:
        assert "nothing was saved" in error
    assert not list(folder.rglob(".part"))


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert train(tmp_path / "file" / "run") == 1
    assert "choose another --output-dir" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(tmp_path, capsys):
    assert train(tmp_path / "run", training__lr="1e30", checkpoint_every="1") == 1
    error = capsys.readouterr().err
    assert "lower lr" in error
    assert "is safe in" in error
    assert steps_saved(tmp_path / "run")


def test_a_batch_that_cannot_be_shared_is_named(tmp_path, capsys):
    assert train(tmp_path / "run", training__accumulation="3") == 1
    assert "training.batch_size 4 is no multiple of 3" in capsys.readouterr().err


# --- other pictures


@pytest.fixture
def picture_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, image in enumerate(draw_butterflies(12, 40, seed=5)[0]):
        to_pil(image).save(folder / f"{number:02d}.png")
    return folder


def test_a_folder_of_your_own_trains_without_a_change_to_code(picture_folder, tmp_path):
    changes = {"--recipe": "folder-64", "--data.path": str(picture_folder)}
    words = options(tmp_path / "run", {**changes, "--data.num-images": None, "--max-steps": "2"})
    assert main(["train", *words]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["num_pictures"] == 12
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "not stated" in card


def test_a_dataset_of_the_hub_trains_by_its_name(tmp_path):
    import datasets

    pictures = [to_pil(image) for image in draw_butterflies(12, 40, seed=5)[0]]
    rows = datasets.Dataset.from_dict({"photo": pictures}).cast_column("photo", datasets.Image())
    rows.to_parquet(file := io.BytesIO())
    changes = {"--recipe": "hub-64", "--data.path": "me/moths", "--data.column": "photo"}
    changes |= {"--data.num-images": None, "--max-steps": "2"}
    ways = {"in-memory": {}, "streamed": {"--data.streaming": []}}
    words = [["train", *options(tmp_path / way, changes | how)] for way, how in ways.items()]
    code = (
        "import datasets, json, sys; from course_utils.cli import main;"
        "datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0;"  # after each epoch of a stream
        "sys.exit(any([main(words) for words in json.loads(sys.argv[1])]))"
    )
    command = [sys.executable, "-c", code, json.dumps(words)]
    with Hub(files={"train.parquet": file.getvalue()}) as server:
        hub = {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=os.environ | hub, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for way in ways:
        result = json.loads((tmp_path / way / "result.json").read_text())
        assert (result["data"], result["num_pictures"]) == ("me/moths", 12)


def test_a_stream_goes_on_where_it_was(picture_folder, tmp_path):
    stream = {"--recipe": "folder-64", "--data.path": str(picture_folder), "--data.streaming": []}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["train", *options(whole, stream)]) == 0
    assert main(["train", *options(broken, {**stream, "--checkpoint-every": "5"})]) == 0
    for name in ("result.json", "checkpoints/step-000000008/state.json"):
        (broken / name).unlink()
    again = {**stream, "--checkpoint-every": "5", "--resume": []}
    assert main(["train", *options(broken, again)]) == 0
    assert_same_weights(whole, broken)


# --- the words


def test_the_plan_is_shown_and_nothing_done(tmp_path, capsys):
    assert train(tmp_path / "run", dry_run=[]) == 0
    out = capsys.readouterr().out
    assert '"batch_size": 4' in out
    assert "GFLOP/step" in out
    assert not (tmp_path / "run").exists()


def test_help_is_complete(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--help"])
    assert stopped.value.code == 0
    words = capsys.readouterr().out
    for name in ("--recipe", "--output-dir", "--max-seconds", "--max-steps", "--checkpoint-every"):
        assert name in words
    for name in ("--seed", "--resume", "--training.lr", "--data.path", "--model.channels"):
        assert name in words


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["train", "--recipe", "nope", "--output-dir", "x"], "no recipe 'nope': choose one of"),
        (["sample", "--model", "nowhere", "--output", "x.npz"], "no folder 'nowhere': give that"),
        (["evaluate", "--model", "nowhere"], "holds no trained model: train one"),
        (["recipes", "--results", "nowhere"], "holds no result.json"),
    ],
)
def test_what_is_wrong_is_one_clear_line(words, error, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert error in line


def test_wrong_options_end_with_what_was_expected(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--recipe", "digits-cpu", "--output-dir", "x", "--training.lr", "fast"])
    assert stopped.value.code == 2
    assert "--training.lr" in capsys.readouterr().err


def test_a_sheet_needs_a_known_ending(finished, tmp_path, capsys):
    words = ["sample", "--model", str(finished[0]), "--num-images", "1"]
    assert main([*words, "--output", str(tmp_path / "x.jpg")]) == 1
    assert "must end in .npz or .png" in capsys.readouterr().err
