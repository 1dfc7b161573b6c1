"""The benchmarks still run, at tiny sizes; what they measure is for their own runs to say."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import course_utils as cu
from course_utils.evaluation.benchmarks import COMPOSING

BENCH = Path(__file__).parent / "bench"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # has some faces
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
    "composing": [
        *("--captions", "2", "--people", "1", "--calls", "1", "--steps", "1", "--seeds", "0"),
        *("--output", "OUT.json"),
    ],
    "samplers": ["--samples", "4", "--only", "1", "--output", "OUT.json"],
    "render_emoji": [str(FONT), "--folder", "OUT/emoji"],
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
    "composing": "samples {'remembered': 2,",
    "silhouettes": "12 samples, floor ",
    "render_emoji": " emoji, 0 kinds of people, ",
    "steps": "peak memory, profile smoke, batch of 4: ",
}


@pytest.fixture
def bench(monkeypatch):
    """A benchmark, run in this process, which has imported the libraries."""
    monkeypatch.syspath_prepend(BENCH)

    def run(name, *options):
        script = str(BENCH / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
        return runpy.run_path(script, run_name="__main__")

    return run


@pytest.mark.parametrize("name", TINY)
def test_it_runs_and_prints_its_table(name, bench, tmp_path, capsys):
    bench(name, *(option.replace("OUT", str(tmp_path / "out")) for option in TINY[name]))
    printed = capsys.readouterr().out
    assert PRINTS[name] in printed
    if "OUT.json" in TINY[name]:
        result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert result["rows"]
        assert result["machine"] in printed
    if "OUT" in TINY[name]:
        assert len(list((tmp_path / "out").glob("*.npz"))) == 3


def weights_in(folder):
    return {path.parent.name: load_file(path) for path in folder.glob("*/*.safetensors")}


def changed(before, after):
    """The parts whose weights are not those of before."""
    return {
        part
        for part, weights in after.items()
        if any(not torch.equal(before[part][name], w) for name, w in weights.items())
    }


def test_each_part_of_the_stable_diffusion_is_trained_and_the_others_stay(
    bench, tmp_path, monkeypatch
):
    """And the four lines of its card draw."""
    folder = tmp_path / "emoji-stable-diffusion"
    shutil.copytree(cu.PRETRAINED / folder.name, folder)
    matcher = tmp_path / "emoji_matcher.safetensors"
    shutil.copy(cu.PRETRAINED / matcher.name, matcher)
    parts = {"unet": {"unet"}, "autoencoder": {"vae"}, "words": {"text_encoder"}}
    tiny = ("--steps", 1, "--pictures", 24, "--folder", folder, "--from", folder)
    for part, trained in parts.items():
        before, seen = weights_in(folder), load_file(matcher)["tower.0.weight"]
        bench("train_stable_diffusion", part, *tiny)
        after = weights_in(folder)
        assert changed(before, after) == trained
        assert torch.equal(load_file(matcher)["tower.0.weight"], seen) == (part != "words")
        assert {w.dtype for each in after.values() for w in each.values()} == {torch.float16}
    assert json.loads((folder / "model.json").read_text())["sampler"]["num_steps"] == 12
    bench("train_stable_diffusion", "card", "--folder", folder)
    lines = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)[1]
    assert len([line for line in lines.splitlines() if line]) == 4
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    with Image.open(tmp_path / "heart.png") as drawn:
        assert drawn.size == (256, 256)


def test_the_card_that_ships_tells_the_results_that_ship(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    from emoji_card import measured

    card = (cu.PRETRAINED / "emoji-stable-diffusion/README.md").read_text(encoding="utf-8")
    assert measured(COMPOSING) in card, "run train_stable_diffusion.py card"


def test_the_numbers_of_what_it_understands_fit_together():
    table = cu.composing()
    single, people = table[table.judge.eq("matcher")], table[table.kind.notna()]
    assert set(single.part) == {"remembered", "wording", "steps"}
    assert set(people.part) == {"easy", "hard", "hard without mirror images"}
    assert set(table.seed) == set(table.attrs["seeds"])
    assert (table.among_five >= table.nearest)[table.nearest.notna()].all()
    assert (people["all"] <= people[["kind", "gender", "tone"]].min(axis=1)).all()
    assert {len(names) for names in table.attrs["twins"]} == {2, 3}


def test_who_is_nearest_is_judged_right(monkeypatch):
    """True pictures, one of a pair of twins, and of people one in whom only the tone is wrong."""
    monkeypatch.syspath_prepend(BENCH)
    from composing import Judges, ranks

    emoji = cu.load_emoji(32)
    twin, other = emoji.find("family adult child"), emoji.find("family man boy")
    judges = Judges(emoji, lambda x: x[:, :, ::4, ::4].flatten(1).float())
    own, shown = torch.tensor([twin, 5]), emoji.images[[other, 5]]
    assert [row["nearest"] for row in judges.judge("remembered", own, shown)] == [1.0, 1.0]
    wrong = judges.judge("remembered", own, emoji.images[[5, 7]])
    assert [row["nearest"] for row in wrong] == [0.0, 0.0]
    asked = torch.tensor([emoji.find("woman student"), emoji.find("man vampire")])
    drawn = torch.tensor([emoji.find("woman student dark skin tone"), asked[1]])
    right, alone = judges.judge("hard", asked, emoji.images[drawn])
    shares = {"kind": 1.0, "gender": 1.0, "tone": 0.5, "all": 0.5}
    assert right.items() >= shares.items()
    assert alone.items() >= shares.items()
    asked = torch.tensor([emoji.find("man in manual wheelchair facing right"), drawn[0]])
    *_, alone = judges.judge("hard", asked, emoji.images[drawn])
    assert alone["pictures"] == 1
    far = torch.tensor([[3.0, 1.0, 2.0, 0.5]])
    assert ranks(far, torch.tensor([0]), torch.tensor([0, 1, 0, 2])).tolist() == [2]


def test_every_benchmark_is_run_here():
    training = {
        "train_features",
        "train_pretrained",
        "train_stable_diffusion",
        "speedrun_history",
    }  # what they make is tested instead
    helpers = {"common", "emoji_card", "predecessor"}
    assert {path.stem for path in BENCH.glob("*.py")} == {*TINY, *training, *helpers}


def test_the_benchmarks_that_the_page_names_are_there():
    page = (BENCH / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"python tests/bench/(\w+)\.py", page)
    assert {"digits", "butterflies", "design_choices", "samplers", "steps"} <= set(named)
    assert set(named) <= {*TINY, "train_stable_diffusion"}
