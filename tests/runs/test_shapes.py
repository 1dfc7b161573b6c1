"""A whole run under shape checks: each function gets what its signature asks for."""

from dataclasses import asdict

import pytest

from course_utils.recipes import Options, load_recipe, parse_recipe
from course_utils.runs.outputs import evaluate
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
