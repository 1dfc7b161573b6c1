"""Checkpoints: whole or not at all, checked when read, the last few kept."""

import copy
import os
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny

from course_utils import UNet
from course_utils.runs import checkpoints
from course_utils.runs.checkpoints import (
    Checkpoint,
    load_optimizer_tensors,
    newest_checkpoint,
    optimizer_tensors,
    save_checkpoint,
    weights_of,
    write_file,
)
from course_utils.training.optimizers import make_optimizer


def checkpoint(step):
    return Checkpoint(step, {"model": {"w": torch.full((3,), float(step))}}, {"seconds": 1.5})


def test_what_is_saved_is_what_is_read(tmp_path):
    save_checkpoint(tmp_path, checkpoint(7), keep=3)
    found, damaged = newest_checkpoint(tmp_path)
    assert found.step == 7
    assert found.state == {"seconds": 1.5}
    assert torch.equal(found.tensors["model"]["w"], torch.full((3,), 7.0))
    assert damaged == []


def test_the_last_few_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        save_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000015", "step-000000020"]


def test_an_empty_or_missing_folder_has_none(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, [])
    assert newest_checkpoint(tmp_path / "nowhere") == (None, [])


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut short": lambda folder: cut(folder / "model.safetensors"),
    "one bit": lambda folder: flip_a_bit(folder / "model.safetensors"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "half a state": lambda folder: cut(folder / "state.json"),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_taken(tmp_path, damage):
    for step in (5, 10):
        save_checkpoint(tmp_path, checkpoint(step), keep=3)
    damage(tmp_path / "step-000000010")
    found, damaged = newest_checkpoint(tmp_path)
    assert found.step == 5
    (line,) = damaged
    assert "step-000000010 is damaged" in line
    save_checkpoint(tmp_path, checkpoint(10), keep=3)  # in its place
    assert newest_checkpoint(tmp_path)[0].step == 10


@pytest.mark.parametrize("call", range(1, 11))
def test_an_error_at_any_moment_leaves_the_one_before(tmp_path, monkeypatch, call):
    save_checkpoint(tmp_path, checkpoint(5), keep=3)
    calls = iter(range(1, 100))

    def failing(function):
        def wrapped(*args, **options):
            if next(calls) == call:
                raise OSError(28, "No space left on device")
            return function(*args, **options)

        return wrapped

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(os, "replace", failing(os.replace))
    monkeypatch.setattr(checkpoints.Path, "write_bytes", failing(checkpoints.Path.write_bytes))
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, checkpoint(10), keep=3)
    monkeypatch.undo()
    found, damaged = newest_checkpoint(tmp_path)
    assert damaged == []
    assert found.step in (5, 10)  # 10 where only the folder's own flush failed
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_run_left_half_written_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, checkpoint(5), keep=3)
    shutil.copytree(tmp_path / "step-000000005", tmp_path / ".part")
    (tmp_path / ".part" / "state.json").unlink()
    assert newest_checkpoint(tmp_path)[0].step == 5
    save_checkpoint(tmp_path, checkpoint(10), keep=3)
    assert newest_checkpoint(tmp_path)[0].step == 10
    assert not (tmp_path / ".part").exists()


@given(content=st.binary(max_size=300))
def test_a_file_is_written_whole(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "new" / "file"
    write_file(path, content)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_an_optimizer_goes_on_as_if_nothing_had_happened(name):
    torch.manual_seed(0)
    first = UNet(channels=(8,))
    optimizer = make_optimizer(first, 0.01, name)

    def step(model, its, seed):
        torch.manual_seed(seed)
        for weights in model.parameters():
            weights.grad = torch.randn(weights.shape)
        its.step()

    step(first, optimizer, 1)
    second = UNet(channels=(8,))
    second.load_state_dict(weights_of(first))
    resumed = make_optimizer(second, 0.01, name)
    load_optimizer_tensors(resumed, copy.deepcopy(optimizer_tensors(optimizer)))
    step(first, optimizer, 2)
    step(second, resumed, 2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_before_the_first_step_there_is_nothing_to_remember():
    optimizer = make_optimizer(tiny(), 0.01)
    assert optimizer_tensors(optimizer) == {}
    load_optimizer_tensors(optimizer, {})
