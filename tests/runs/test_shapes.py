"""Whole runs under shape checks: each function gets what its signature asks for."""

from dataclasses import asdict

import pytest
import torch

from course_utils import diffusion_loss, draw_butterflies, to_model_range
from course_utils.recipes import Options, load_recipe, parse_recipe
from course_utils.runs.measuring import evaluate
from course_utils.runs.tasks import pictures
from course_utils.runs.trainer import train_recipe


@pytest.mark.parametrize("name", ["digits-classes-cpu", "butterflies-32-cpu"])
@pytest.mark.parametrize("budget", [{"max_steps": 2}, {"max_seconds": 0.2}], ids=str)
def test_a_run_and_its_evaluation_keep_to_the_signatures(name, budget, tmp_path):
    table = asdict(load_recipe(name))
    table["data"] |= {"num_images": 24}
    table["model"] |= {"channels": [8, 16], "attention": [False, True]}
    table["training"] |= {"batch_size": 4, "max_steps": None, **budget}
    table["sampler"] |= {"num_steps": 2}
    assert train_recipe(parse_recipe(table), Options(tmp_path / "run")) == 0
    assert evaluate(tmp_path / "run", 10)["num_samples"] == 10


def test_half_of_the_pictures_are_mirrored_left_to_right(tmp_path, monkeypatch):
    seen = []

    def overheard(model, schedule, x0, **options):
        seen.append(x0)
        return diffusion_loss(model, schedule, x0, **options)

    monkeypatch.setattr(pictures, "diffusion_loss", overheard)
    table = asdict(load_recipe("butterflies-32-cpu"))
    table["data"] |= {"num_images": 24, "size": 16}
    table["model"] |= {"channels": [8, 16], "attention": [False, True]}
    table["training"] |= {"batch_size": 8, "max_steps": 6}
    table["sampler"] |= {"num_steps": 2}
    assert train_recipe(parse_recipe(table), Options(tmp_path / "run")) == 0
    plain = to_model_range(draw_butterflies(24, 16)[0])
    as_it_is, mirrored = (
        sum(any(torch.equal(x, each) for each in known) for x in torch.cat(seen))
        for known in (plain, plain.flip(-1))
    )
    assert as_it_is + mirrored == 48
    assert 12 < mirrored < 36
