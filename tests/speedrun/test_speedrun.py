"""The speedrun: its terms are fixed, its entries are checked, its board ranks them."""

import copy
import json
from dataclasses import asdict, replace

import pytest
import torch
from tiny import tiny_unet

from course_utils import NoiseSchedule, Sampler, Trained
from course_utils.cli import main
from course_utils.evaluation import features
from course_utils.recipes import Data, build, parse_recipe
from course_utils.speedrun import (
    SEEDS,
    TRACKS,
    best_recipe,
    board,
    check_entry,
    race,
    read_entries,
)
from course_utils.speedrun import tracks as tracks_module
from course_utils.speedrun.racing import draw_counted, threads

DIGITS = TRACKS["digits"]


def recipe(**changes):
    table = {
        "title": "tiny",
        "data": {"source": "digits", "size": 28},
        "model": {"kind": "UNet", "channels": [8]},
        "schedule": {"name": "straight"},
        "training": {"batch_size": 4, "lr": 1e-3, "max_steps": 2},
        "sampler": {"num_steps": 2},
    }
    for section, fields in changes.items():
        table[section] = table[section] | fields
    return parse_recipe(table)


def entry(track=DIGITS, **run):
    """One that keeps the rules."""
    numbers = {"seconds": 10.0, "gflops": 100.0, "tflop": 1.0, "parameters": 1000, "calls": 1.0}
    data = {"source": track.data, "size": track.size}
    numbers |= {"frechet": 5.0, "floor": 1.0, "kernel": -0.1, "second": 6.0, "copies": 0.0}
    return {
        "track": track.name,
        "date": "2026-01-01",
        "changed": {"en": "tiny"},
        "recipe": asdict(recipe(data=data, sampler={"num_steps": 1})),
        "pictures": track.pictures,
        "evaluator": track.evaluator,
        "num_samples": track.num_samples,
        "hardware": "abacus, 2 threads",
        "runs": [{"seed": seed, **numbers, **run} for seed in SEEDS],
    }


@pytest.fixture
def small(monkeypatch):
    """The track of digits with few samples, any of which may be a copy."""
    track = replace(DIGITS, num_samples=8, goal=1e9)
    monkeypatch.setitem(TRACKS, "digits", track)
    monkeypatch.setattr("course_utils.speedrun.entries.COPIES", 1.0)
    return track


@pytest.mark.usefixtures("no_shape_checks")
def test_a_race_leaves_an_entry_that_keeps_the_rules(small, tmp_path, capsys):
    found = race(small, recipe(), tmp_path / "race", "tiny steps")
    assert found == json.loads((tmp_path / "race" / "entry.json").read_text(encoding="utf-8"))
    assert check_entry(found) == found
    assert [run["seed"] for run in found["runs"]] == [0, 1, 2]
    assert all(run["calls"] == 2 for run in found["runs"])
    assert len({run["frechet"] for run in found["runs"]}) == 3  # each seed counts
    capsys.readouterr()
    again = race(small, recipe(), tmp_path / "race", "tiny steps")  # goes on where it was
    judged = ("frechet", "floor", "kernel", "second", "copies", "seconds")
    for before, after in zip(found["runs"], again["runs"], strict=True):
        assert [before[name] for name in judged] == [after[name] for name in judged]
    assert "tiny steps" in board(entries=[found])
    path = str(tmp_path / "race" / "entry.json")
    assert main(["speedrun", "--check", path]) == 0
    assert "valid entry of track 'digits'" in capsys.readouterr().out


def changed(found, **values):
    found = copy.deepcopy(found)
    for name, value in values.items():
        if name in found:
            found[name] = value
        else:
            found["runs"][1][name] = value
    return found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evaluator": "0" * 64}, "evaluator must be"),
        ({"pictures": [4001, 33.0, 79.0]}, "pictures must be"),
        ({"num_samples": 100}, "num_samples must be 1000"),
        ({"seed": 7}, r"seeds must be \[0, 1, 2\], got \[0, 7, 2\]"),
        ({"runs": []}, r"seeds must be \[0, 1, 2\], got \[\]"),
        ({"track": "marathon"}, "no track 'marathon': choose one of digits"),
        ({"frechet": float("nan")}, "frechet must be a number of at least 0, got nan"),
        ({"seconds": -1.0}, "seconds must be a number"),
        ({"tflop": 0.1}, "tflop must be seconds times gflops, 1.00, got 0.1"),
        ({"copies": 0.06}, "6% of the samples are copies, 5% are allowed"),
        ({"changed": None}, "no entry of the speedrun"),
        ({"recipe": {"title": "?"}}, "data: Field required"),
    ],
)
def test_an_entry_against_the_rules_is_refused(values, message):
    assert check_entry(entry())
    with pytest.raises(ValueError, match=message):
        check_entry(changed(entry(), **values))


def test_a_recipe_with_other_pictures_is_refused():
    DIGITS.check_recipe(recipe(data={"licence": "any", "flip": True}))
    for data in ({"num_images": 10}, {"origin": "hub"}, {"source": "folder", "path": "x"}):
        with pytest.raises(ValueError, match="trains on its own pictures: remove data"):
            DIGITS.check_recipe(recipe(data=data))
        bad = changed(entry(), recipe=asdict(recipe(data=data)))
        with pytest.raises(ValueError, match="trains on its own pictures"):
            check_entry(bad)


def test_limits_hold():
    track = TRACKS["four-calls"]
    with pytest.raises(ValueError, match="allows 4 network calls for a picture, sampler"):
        track.check_recipe(recipe(sampler={"num_steps": 5}))
    check_entry(entry(track))
    for run in ({"parameters": 2_000_000}, {"calls": 8.0}, {"seconds": 1e4, "tflop": 1e3}):
        with pytest.raises(ValueError, match=f"allows .* {[*run][-1]}, got"):
            check_entry(entry(track, **run))


def test_a_leak_is_found(monkeypatch):
    data = Data(source="digits", size=28)
    training = build.load_data(data)
    held_out, _ = build.real_pictures(data, training.images)
    training.images[5] = held_out[3]
    monkeypatch.setattr(build, "load_data", lambda data: training)
    with pytest.raises(ValueError, match="1 of the pictures to judge by are among the training"):
        DIGITS.open()


def test_other_pictures_and_another_judge_are_found(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        few = build.load_data(Data(source="digits", size=28)).first(3990)
        patch.setattr(build, "load_data", lambda data: few)
        with pytest.raises(ValueError, match="the training pictures are not those of track"):
            DIGITS.open()
    for name in ("digits", "digits-second"):
        path = tmp_path / features.weights_file(name).name
        path.write_bytes(features.weights_file(name).read_bytes())
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    monkeypatch.setattr(features, "PRETRAINED", tmp_path)
    with pytest.raises(ValueError, match="the evaluator is not that of track 'digits'"):
        DIGITS.open()


@pytest.mark.parametrize("name", TRACKS)
def test_the_terms_of_each_track_are_those_of_its_files(name):
    training, held_out = TRACKS[name].open()
    assert len(training) == TRACKS[name].pictures[0]
    assert len(held_out) >= TRACKS[name].num_samples


def test_calls_are_counted_at_the_network():
    schedule, shape = NoiseSchedule.straight(100), (3, 8, 8)
    trained = Trained(tiny_unet(), schedule, "v_prediction", shape, Sampler(num_steps=3))
    samples, calls = draw_counted(trained, 70, seed=0)
    assert samples.shape == (70, *shape)
    assert calls == 3


def test_two_threads_at_most():
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_goal_ranks_by_work_and_no_goal_by_distance():
    goal = DIGITS.goal
    slow, fast, far = entry(), entry(seconds=5.0, tflop=0.5), entry(frechet=goal + 1)
    history = entry(seconds=1.0, tflop=0.1) | {"recipe": None}
    for place, each in enumerate((slow, fast, far, history)):
        each["changed"] = {"en": f"number {place}"}
    table = board(entries=[slow, far, history, fast])
    assert [line[9] for line in table.splitlines() if "number" in line] == ["1", "0", "3", "2"]
    assert table.count("✗") == 2
    near, further = (entry(TRACKS["one-call"], frechet=f) for f in (5.0, 9.0))
    near["changed"]["en"], further["changed"]["en"] = "near", "further"
    table = board(entries=[further, near])
    assert table.index("near") < table.index("further")


def test_the_entries_that_ship_keep_the_rules_and_each_track_has_a_best():
    assert read_entries()
    for track in TRACKS.values():
        track.check_recipe(best_recipe(track))


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "mine.json").write_text('{"track": "digits"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.json: no entry of the speedrun"):
        read_entries(tmp_path)


@pytest.mark.usefixtures("no_shape_checks")
def test_the_command_names_what_is_wrong(capsys, monkeypatch):
    assert main(["speedrun", "--track", "marathon"]) == 1
    assert "track must be one of digits" in capsys.readouterr().err
    assert main(["speedrun"]) == 0
    assert "**`digits`**" in capsys.readouterr().out
    monkeypatch.setattr("course_utils.speedrun.racing.pick_device", lambda: torch.device("cuda"))
    assert main(["speedrun", "--track", "digits"]) == 1
    assert "two processor cores" in capsys.readouterr().err


def test_the_terms_allow_a_last_bit():
    assert tracks_module.alike([1000, 99.98, 50.01], [1000, 99.99, 50.0])
    assert not tracks_module.alike([1000, 99.9, 50.0], [1000, 99.99, 50.0])
    assert not tracks_module.alike([1001, 99.99, 50.0], [1000, 99.99, 50.0])
