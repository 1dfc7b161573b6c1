"""The benchmarks still run, at tiny sizes; what they measure is for their own runs to say."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
TINY = {
    "basics": ["--repeats", "1", "--pictures", "64"],
    "digits": ["--seconds", "0.1", "--samples", "8", "--calls", "2", "--output-dir", "OUT"],
    "butterflies": [
        *("--seconds", "0.1", "--samples", "4", "--more-samples", "4", "--ddpm-calls", "2"),
        *("--pictures", "8", "--held", "50"),
    ],
    "design_choices": ["--seconds", "0.1", "--samples", "4", "--only", "1", "--output", "OUT.json"],
    "ladder": ["--steps", "1", "--samples", "4", "--seeds", "0", "--output", "OUT.json"],
    "fresh_noise": [
        *("--steps", "1", "--calls", "2", "--samples", "4", "--seeds", "0"),
        *("--output", "OUT.json"),
    ],
    "guidance": [
        *("--samples", "24", "--seeds", "0", "--names", "digits", "--only", "1"),
        *("--output", "OUT.json"),
    ],
    "finetuning": ["--steps", "1", "--samples", "4", "--seeds", "0", "--output", "OUT.json"],
    "steering": ["--samples", "2", "--calls", "2", "--seeds", "0", "--output", "OUT.json"],
    "silhouettes": [
        *("--steps", "1", "--guidance", "1.5", "--samples", "12", "--seeds", "0"),
        *("--pictures", "24", "--calls", "2", "--output", "OUT.json"),
    ],
    "samplers": ["--samples", "4", "--only", "1", "--output", "OUT.json"],
    "steps": ["--steps", "2", "--matrix-size", "64", "--profiles", "smoke"],
}
PRINTS = {
    "basics": "64 butterflies at 64 px",
    "digits": "in the same time as the toy: ",
    "butterflies": "kernel distance at equal time: ",
    "design_choices": "sampler, 20 calls",
    "ladder": "4 samples, floor ",
    "fresh_noise": "4 samples, floor ",
    "guidance": "24 samples, floors ",
    "finetuning": "4 samples, floor ",
    "samplers": "4 samples, floor ",
    "steering": "2 samples, floor ",
    "silhouettes": "12 samples, floor ",
    "steps": "peak memory, profile smoke, batch of 4: ",
}


@pytest.mark.parametrize("name", TINY)
def test_it_runs_and_prints_its_table(name, tmp_path, monkeypatch, capsys):
    """In this process, which has imported the libraries."""
    script = str(BENCH / f"{name}.py")
    options = [option.replace("OUT", str(tmp_path / "out")) for option in TINY[name]]
    monkeypatch.setattr(sys, "argv", [script, *options])
    monkeypatch.syspath_prepend(BENCH)
    runpy.run_path(script, run_name="__main__")
    printed = capsys.readouterr().out
    assert PRINTS[name] in printed
    if "OUT.json" in TINY[name]:
        result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert result["rows"]
        assert result["machine"] in printed
    if "OUT" in TINY[name]:
        assert len(list((tmp_path / "out").glob("*.npz"))) == 3


def test_every_benchmark_is_run_here():
    training = {
        "train_features",
        "train_pretrained",
        "speedrun_history",
    }  # what they make is tested instead
    helpers = {"common", "predecessor"}
    assert {path.stem for path in BENCH.glob("*.py")} == {*TINY, *training, *helpers}


def test_the_benchmarks_that_the_page_names_are_there():
    page = (BENCH / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"python tests/bench/(\w+)\.py", page)
    assert {"digits", "butterflies", "design_choices", "samplers", "steps"} <= set(named)
    assert set(named) <= set(TINY)
