"""A run's folder: a start that fails leaves nothing in the way of the corrected one."""

import json

import pytest
from torch import nn

from course_utils import draw_butterflies, to_pil
from course_utils.cli import main

pytestmark = pytest.mark.usefixtures("no_shape_checks")  # tyro's MISSING is no path

SMALL = ["--recipe", "folder-64", "--data.size", "16", "--model.channels", "8", "16"]
SMALL += ["--model.attention", "False", "True", "--training.batch-size", "4", "--max-steps", "2"]
SMALL += ["--sampler.num-steps", "2", "--training.precision", "float32"]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, image in enumerate(draw_butterflies(4, 16)[0]):
        to_pil(image).save(folder / f"{number}.png")
    return folder


def train(folder, path, *more):
    words = ["train", *SMALL, "--output-dir", str(folder), "--data.path", str(path), *more]
    return main(words)


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["anew", "resume"])
@pytest.mark.parametrize("wrong", ["path", "size"])
def test_a_corrected_start_begins_where_a_mistyped_one_failed(
    pictures, tmp_path, resume, wrong, capsys
):
    folder = tmp_path / "run"
    if wrong == "path":
        assert train(folder, tmp_path / "mien", *resume) == 1
        assert "does not exist" in capsys.readouterr().err
    else:
        assert train(folder, pictures, "--data.size", "15", *resume) == 1
        assert "data.size must be a multiple of 2" in capsys.readouterr().err
    assert train(folder, pictures, *resume) == 0
    assert (folder / "result.json").exists()


def test_a_run_that_ended_before_it_saved_anything_may_be_begun_anew(
    pictures, tmp_path, monkeypatch
):
    folder = tmp_path / "run"

    def fail(*args, **kwargs):
        raise RuntimeError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "state_dict", fail)  # at the first checkpoint
        assert train(folder, pictures) == 1
    note = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert note["recipe"]["training"]["max_steps"] == 2
    assert train(folder, pictures, "--max-steps", "3") == 0
    note = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert note["recipe"]["training"]["max_steps"] == 3
