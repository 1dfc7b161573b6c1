"""Recipes: what is read is what was written; what is wrong is named; what they cost is counted."""

import inspect
import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from course_utils import PRETRAINED, count_parameters
from course_utils.recipes import (
    Data,
    Model,
    Options,
    Recipe,
    Sampler,
    Schedule,
    Start,
    Training,
    differences,
    load_recipe,
    parse_recipe,
    recipe_names,
)
from course_utils.recipes.build import (
    begin,
    load_data,
    make_model,
    make_trained,
    outline,
    picture_shape,
)
from course_utils.runs import scoreboard as scoreboard_module
from course_utils.runs.cost import make_plan
from course_utils.runs.scoreboard import plans, scoreboard

SMALL = Recipe(
    "small",
    Data("digits", 28),
    Model("UNet", (8, 16)),
    Schedule("straight"),
    Training(batch_size=4, lr=1e-3, max_steps=3),
)
positive = st.integers(1, 10**6)
reals = st.floats(1e-9, 1e6)
text = st.text(max_size=30)


@st.composite
def any_recipes(draw):
    num_levels = draw(st.integers(1, 5))
    levels = st.lists(positive, min_size=num_levels, max_size=num_levels)
    attention = st.lists(st.booleans(), min_size=num_levels, max_size=num_levels)
    order = draw(st.sampled_from([1, 2]))
    source = draw(st.sampled_from(["butterflies", "digits", "folder", "hub"]))
    kind = draw(st.sampled_from(["UNet", "UNet2DModel"]))
    names = ["linear", "cosine"] + ["straight"] * (kind == "UNet")
    anew = draw(st.booleans())
    model = Model(kind, tuple(draw(levels)), tuple(draw(st.just([]) | attention)))
    start = Start("" if anew else draw(text.filter(bool)), None if anew else draw(positive))
    name = draw(st.sampled_from(names)) if anew else None
    return Recipe(
        draw(text),
        Data(
            source,
            draw(positive),
            draw(st.none() | positive),
            path=draw(text),
            flip=draw(st.booleans()),
            streaming=draw(st.booleans()) and source in ("folder", "hub"),
        ),
        model if anew else None,
        Schedule(name, timestep_mean=draw(st.floats(-9, 9))),
        Training(draw(positive), draw(reals), draw(positive), draw(st.none() | reals)),
        Sampler(draw(positive), order, draw(st.floats(0, 1)) if order == 1 else 0.0),
        start,
    )


@given(recipe=any_recipes())
def test_what_is_written_is_what_is_read(recipe):
    assert parse_recipe(json.loads(json.dumps(asdict(recipe)))) == recipe
    assert differences(recipe, recipe) == {}


WRONG = [
    ("training", "lr", -1, "training.lr: Input should be greater than 0, got -1"),
    ("training", "lr", "much", "training.lr: Input should be a valid number, got 'much'"),
    ("training", "lr", float("nan"), "training.lr"),
    ("training", "batch_size", 1.5, "training.batch_size: Input should be a valid integer"),
    ("training", "max_steps", 0, "training.max_steps: Input should be greater than 0, got 0"),
    ("training", "max_steps", None, "needs training.max_steps or training.max_seconds"),
    ("training", "speed", 3, "training.speed: Unexpected keyword argument, got 3"),
    ("schedule", "name", "sine", "Input should be 'linear', 'cosine' or 'straight', got 'sine'"),
    ("model", "channels", [8, "x"], "model.channels.1: Input should be a valid integer, got 'x'"),
    ("model", "attention", [True], "one value for each of the 2 levels"),
    ("model", "kind", "UNet2DModel", "'straight' has no DDPMPipeline"),
    ("schedule", "name", None, "schedule.name must be 'linear', 'cosine' or 'straight', got None"),
    ("start", "folder", "x", "start.folder 'x' brings its own network, and there is a [model]"),
    ("start", "lora_rank", 2, "start.lora_rank needs start.folder"),
    ("start", "rank", 2, "start.rank: Unexpected keyword argument, got 2"),
    ("data", "flip", 1, "data.flip: Input should be a valid boolean, got 1"),
    ("data", "streaming", True, "data.streaming is for folder and hub, not 'digits'"),
    ("sampler", "eta", 0.5, "sampler: order must be 1, or 2 with eta=0; got order=2, eta=0.5"),
    ("sampler", "num_steps", 0, "sampler: num_steps must be at least 1, got 0"),
    ("sampler", "order", 3, "sampler: order must be 1, or 2 with eta=0; got order=3"),
    ("sampler", "steps", 5, "sampler.steps: Unexpected keyword argument, got 5"),
    ("sampler", "guidance", 2.0, "sampler.guidance need model.num_classes"),
    ("training", "drop", 0.1, "training.drop and sampler.guidance need model.num_classes"),
    ("training", "drop", 1.5, "training.drop: Input should be less than or equal to 1, got 1.5"),
    ("sampler", "eta", 2.0, "sampler: eta must lie in [0, 1], got 2.0"),
]


@pytest.mark.parametrize(("section", "field", "value", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_place(section, field, value, message):
    table = asdict(SMALL)
    table[section][field] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_recipe(table)


def test_a_recipe_needs_a_network_or_a_start():
    table = asdict(SMALL)
    del table["model"]
    with pytest.raises(ValueError, match=r"needs a \[model\], .* or start\.folder"):
        parse_recipe(table)
    table["start"]["folder"] = "digits"
    with pytest.raises(ValueError, match=r"^schedule\.name and .* are those of start\.folder"):
        parse_recipe(table)
    del table["schedule"]["name"]
    assert parse_recipe(table).model is None


def test_a_recipe_from_before_there_was_a_start_is_the_same_recipe():
    table = asdict(SMALL)
    del table["start"]
    assert parse_recipe(table) == SMALL


def test_a_missing_field_is_named():
    table = asdict(SMALL)
    del table["data"]["source"]
    with pytest.raises(ValueError, match=r"data\.source: "):
        parse_recipe(table)


@given(junk=st.text(max_size=200))
def test_a_file_of_anything_gives_a_recipe_or_its_name(junk, tmp_path_factory):
    path = tmp_path_factory.mktemp("junk") / "mine.toml"
    path.write_text(junk, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^recipe mine\.toml: "):
        load_recipe(path)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match="no recipe 'mine': choose one of butterflies-128"):
        load_recipe("mine")


def test_a_network_and_none_differ():
    anew = replace(SMALL, model=None, schedule=Schedule(), start=Start("digits"))
    changed = differences(SMALL, anew)
    assert changed["model.kind"] == ("UNet", None)
    assert changed["start.folder"] == ("", "digits")


def test_differences_name_the_field():
    other = replace(SMALL, training=replace(SMALL.training, lr=0.5), title="other")
    assert differences(SMALL, other) == {"title": ("small", "other"), "training.lr": (1e-3, 0.5)}


PARTS = {"emoji-cpu", "emoji-autoencoder-cpu", "emoji-words-cpu"}


@pytest.mark.parametrize("name", sorted({*recipe_names()} - PARTS))
def test_each_recipe_that_ships_can_be_made(name):
    recipe = load_recipe(name)
    begun = begin(recipe)
    assert begun.schedule.alphas.shape == (1000,)
    plan = make_plan(recipe, rate=1e12)
    assert plan.num_trained == count_parameters(outline(recipe)) == count_parameters(begun.model)
    assert plan.num_trained == plan.num_parameters or recipe.start.lora_rank
    assert plan.flops_per_step > 2 * plan.num_parameters * recipe.training.batch_size
    assert plan.seconds > 0


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_parts_of_a_pipeline_have_the_sizes_of_those_that_ship(name):
    shipped = PRETRAINED / "emoji-stable-diffusion"
    files = {
        "emoji-cpu": [shipped / "unet" / "diffusion_pytorch_model.safetensors"],
        "emoji-autoencoder-cpu": [shipped / "vae" / "diffusion_pytorch_model.safetensors"],
        "emoji-words-cpu": [
            *(shipped / "text_encoder" / "model.safetensors",),
            *(PRETRAINED / "emoji_matcher.safetensors",),
        ],
    }
    recipe = load_recipe(name)
    plan = make_plan(recipe, rate=1e12)
    weights = [w for file in files[name] for w in load_file(file).values()]
    assert plan.num_trained == plan.num_parameters == sum(w.numel() for w in weights)
    inner = plan.num_parameters - max(w.numel() for w in weights)  # without the tokens' vectors
    assert plan.flops_per_step > 2 * inner * recipe.training.batch_size
    assert plan.seconds > 0


UNET = {"kind": "UNet2DConditionModel", "channels": [8, 16]}
VAE = {"kind": "AutoencoderKL", "channels": [8, 16]}
WORDS = {"kind": "CLIPTextModel", "channels": [16]}
MISFITS = [
    (UNET, {"schedule": {"name": "cosine"}}, "name in start.parts who makes them"),
    (UNET, {"start": {"parts": ["x"]}}, "schedule.name must be 'cosine'"),
    (VAE, {"start": {"parts": ["x"]}}, "start.parts are for model.kind 'UNet2DConditionModel'"),
    (VAE, {"schedule": {"name": "cosine"}}, "[schedule] is for models that draw, not for"),
    (WORDS, {"sampler": {"num_steps": 3}}, "[sampler] is for models that draw, not for"),
    (WORDS, {"training": {"drop": 0.1}}, "training.drop is not for model.kind 'CLIPTextModel'"),
    (WORDS, {"training": {"accumulation": 2}}, "training.accumulation must be 1"),
    (WORDS, {"data": {"flip": True}}, "data.flip must be False for model.kind 'CLIPTextModel'"),
    (WORDS, {"model": {"channels": [16, 32]}}, "one width for model.kind 'CLIPTextModel'"),
    (WORDS, {"model": {"channels": [18]}}, "a multiple of 4, got [18]"),
    (WORDS, {"model": {"num_tokens": 513}}, "greater than or equal to 514, got 513"),
    (VAE, {"model": {"num_blocks": 2}}, "model.num_blocks must be 1"),
    (VAE, {"model": {"num_classes": 2}}, "model.num_classes is for 'UNet' and 'UNet2DModel', not"),
    (VAE, {"model": {"attention": [True, True]}}, "model.attention is for"),
    (WORDS, {"model": {"latent_channels": 4}}, "model.latent_channels is for 'AutoencoderKL', not"),
]


@pytest.mark.parametrize(("model", "changes", "message"), MISFITS)
def test_what_a_kind_of_network_has_no_use_for_is_named(model, changes, message):
    table = {"title": "x", "data": {"source": "emoji"}, "model": model}
    table["training"] = {"batch_size": 4, "lr": 1e-3, "max_steps": 3}
    if model is not UNET:
        assert parse_recipe(table).model.kind == model["kind"]
    for section, values in changes.items():
        table[section] = table.get(section, {}) | values
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_recipe(table)


def test_those_that_the_course_promises_are_there():
    promised = {"digits-cpu", "butterflies-32-cpu", "butterflies-32-gpu", "butterflies-64-gpu"}
    assert promised | {"butterflies-128-gpu", "folder-64", "hub-64"} <= set(recipe_names())


def test_every_field_has_its_meaning_behind_it():
    for section in (Data, Model, Start, Schedule, Training, Sampler, Recipe, Options):
        source = Path(inspect.getfile(section)).read_text(encoding="utf-8")
        for field in fields(section):
            if section is Recipe and field.name != "title":
                continue  # a section, which has a docstring
            assert re.search(rf"^    {field.name}: .*  # \S+", source, re.MULTILINE), field.name


def test_flops_are_those_of_the_convolutions():
    """A known case: one convolution forward is 2 * places * weights; backward twice that."""
    plan = make_plan(SMALL, rate=1.0)
    conv = 2 * 14 * 14 * (8 * 4 * 9)  # the first: (8, 4, 3, 3) on 14 x 14 places
    assert plan.flops_per_step > 4 * 2 * conv
    double = replace(SMALL, training=replace(SMALL.training, batch_size=8))
    assert make_plan(double, rate=1.0).flops_per_step == 2 * plan.flops_per_step
    assert plan.seconds == pytest.approx(3 * plan.flops_per_step / 0.5)


def test_the_list_of_recipes_has_a_line_for_each():
    lines = plans({name: load_recipe(name) for name in ("digits-cpu", "folder-64")}).splitlines()
    assert "GFLOP/s" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["digits-cpu", "folder-64"]


def test_pictures_have_the_shape_that_the_model_gets(tmp_path):
    data = Data("butterflies", 16, 5)
    pictures = load_data(data).images
    assert pictures.shape == (5, *picture_shape(data))
    assert load_data(Data("digits", 28, 7)).images.shape == (7, 1, 28, 28)
    with pytest.raises(ValueError, match=r"needs --data\.path FOLDER"):
        load_data(Data("folder", 16))
    with pytest.raises(ValueError, match=r"needs --data\.path OWNER/NAME"):
        load_data(Data("hub", 16))


def test_a_size_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"data\.size must be a multiple of 8"):
        make_model(Model("UNet", (8, 8, 8)), Data("butterflies", 30))


def test_the_same_seed_draws_the_same_pictures():
    torch.manual_seed(0)
    trained = make_trained(SMALL, make_model(SMALL.model, SMALL.data))
    trained = trained._replace(sampler=Sampler(3, 1, 1.0))
    first, second = (trained.draw(5, seed=3, batch_size=2) for _ in range(2))
    assert first.shape == (5, 1, 28, 28)
    assert torch.equal(first, second)
    assert not torch.equal(first, trained.draw(5, seed=4, batch_size=2))


def result(tmp_path, name, **values):
    folder = tmp_path / name
    folder.mkdir()
    common = {"recipe": name, "data": "digits", "num_pictures": 9, "steps": 3, "seconds": 1.0}
    common |= {"hardware": "abacus", "frechet_floor": 1.0, "num_samples": 9, "copies": 0.0}
    (folder / "result.json").write_text(json.dumps(common | values), encoding="utf-8")
    return folder


def test_the_scoreboard_puts_quality_for_compute_first(tmp_path, monkeypatch):
    monkeypatch.setattr(scoreboard_module, "SCOREBOARD", tmp_path / "none")
    assert "No results yet" in scoreboard()
    runs = [
        result(tmp_path, "costly", frechet=2.0, flops=1e16),
        result(tmp_path, "thrifty", frechet=4.0, flops=1e15),
        result(tmp_path, "unmeasured", flops=1e15),
        result(tmp_path, "poor", frechet=100.0, flops=1e15),
    ]
    lines = scoreboard(runs).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["thrifty", "costly", "poor", "unmeasured"]
    with pytest.raises(FileNotFoundError, match="only a finished run does"):
        scoreboard([tmp_path])
    (tmp_path / "result.json").write_text('{"flops": 1}')
    with pytest.raises(ValueError, match="is no result of a run"):
        scoreboard([tmp_path])
