"""Sharing: the card, and a folder that is uploaded whole and loads back."""

import importlib.metadata
import re
import shutil

import huggingface_hub
import pytest
import torch
from diffusers import DDPMPipeline
from tiny import tiny_pipeline

from course_utils import PRETRAINED, ImageData, share, write_model_card
from course_utils.sharing.card import write_run_card


@pytest.fixture
def saved(tmp_path):
    pipeline, folder = tiny_pipeline(), tmp_path / "mine"
    pipeline.save_pretrained(folder)
    return pipeline.unet, folder


@pytest.fixture
def data():
    return ImageData(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), None, (), "offline")


@pytest.fixture
def fake_hub(tmp_path, monkeypatch):
    """A Hub that keeps what it is sent in a folder."""
    hub = tmp_path / "hub"

    def create_repo(self, repo_id, **options):
        (hub / repo_id).mkdir(parents=True, exist_ok=options["exist_ok"])
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, path_in_repo=None, **options):
        shutil.copytree(folder_path, hub / repo_id / (path_in_repo or ""), dirs_exist_ok=True)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    return hub


def test_what_is_shared_loads_back_to_the_last_weight(saved, data, fake_hub):
    model, folder = saved
    write_model_card(folder, title="Mine", num_steps=1200, data=data)
    assert share(folder, "me/mine") == "https://hub.example/me/mine"
    loaded = DDPMPipeline.from_pretrained(fake_hub / "me" / "mine").unet
    for a, b in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b)
    card = (fake_hub / "me" / "mine" / "README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("me/mine")' in card
    assert "| Pictures | 5 of 8 x 8 pixels, offline |\n| Training | 1,200 steps |" in card
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert "hf_secret" not in card


def test_a_clone_that_is_not_installed_writes_cards(saved, data, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("course_utils.sharing.card.metadata", missing)
    assert write_model_card(saved[1], title="Mine", num_steps=1, data=data).is_file()


def test_the_card_can_be_read_by_the_hub(saved, data):
    card = write_model_card(saved[1], title="Mine", num_steps=1, data=data)
    parsed = huggingface_hub.ModelCard.load(card)
    assert parsed.data.library_name == "diffusers"
    assert parsed.data.pipeline_tag == "unconditional-image-generation"


def code_of(card):
    """The example that a reader copies."""
    return re.search(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_examples_of_a_pipeline_run(saved, data, tmp_path):
    _unet, folder = saved
    card = write_model_card(folder, title="Mine", num_steps=1, data=data)
    run = {}
    exec(code_of(card).replace("your-name/mine", str(folder)), run)
    assert len(run["images"]) == 16

    pipeline = tiny_pipeline(num_class_embeds=3)
    pipeline.save_pretrained(tmp_path / "classes")
    options = {"title": "Mine", "num_steps": 1, "data": data, "classes": ["it's", "two", "three"]}
    card = write_model_card(tmp_path / "classes", **options)
    exec(code_of(card).replace("your-name/classes", str(tmp_path / "classes")), run)
    assert run["labels"].tolist() == [0] * 16
    assert run["x"].shape == (16, 3, 8, 8)
    assert run["x"].isfinite().all()


RESULT = {
    **{"recipe": "tiny", "data": "offline", "num_pictures": 5, "parameters": 9, "steps": 2},
    **{"seconds": 1.0, "flops": 1e12, "hardware": "a CPU", "processes": 1, "seed": 0},
}


@pytest.mark.parametrize("library", ["diffusers", "course_utils"])
@pytest.mark.parametrize("classes", [None, ["swallowtail", "admiral"]])
def test_the_card_says_whether_the_model_listens(library, classes, tmp_path):
    file = {"diffusers": "model_index.json", "course_utils": "model.safetensors"}[library]
    (tmp_path / file).touch()
    card = write_run_card(tmp_path, RESULT | {"classes": classes}, licence="CC0")
    parsed = huggingface_hub.ModelCard.load(card)
    assert parsed.data.library_name == library
    assert parsed.data.pipeline_tag == (None if classes else "unconditional-image-generation")
    assert ("class-conditional" in parsed.data.tags) is bool(classes)
    assert ("unconditional-image-generation" in parsed.data.tags) is not bool(classes)
    code = code_of(card)
    compile(code, "the example", "exec")
    assert ("import load_trained" in code) is (library == "course_utils")
    assert ("class_labels" in code) is bool(classes)
    assert ("| Classes | swallowtail, admiral |" in parsed.text) is bool(classes)


def test_the_card_says_what_the_model_was_told_and_how_strongly_to_mean_it(tmp_path):
    (tmp_path / "model_index.json").touch()
    told = RESULT | {"classes": ["ant", "bee"], "drop": 0.15, "guidance": 1.5}
    text = write_run_card(tmp_path, told, licence="CC0").read_text(encoding="utf-8")
    assert (
        "| Told | the class of each picture, but for 15% of them, so that guidance works |" in text
    )
    assert "| Recommended guidance | 1.5 |" in text
    text = write_run_card(tmp_path, told | {"drop": 0.0}, "").read_text(encoding="utf-8")
    assert "always; guidance other than 1 was not prepared for" in text
    text = write_run_card(tmp_path, RESULT, "").read_text(encoding="utf-8")
    assert not re.search("Told|guidance|Started|LoRA", text)


def test_without_a_login_nothing_is_sent(saved, fake_hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(PermissionError, match=r"nobody is logged in.*notebook_login"):
        share(saved[1], "me/mine")
    assert not fake_hub.exists()


def test_a_folder_without_a_pipeline_is_named(tmp_path, data):
    with pytest.raises(FileNotFoundError, match=r"holds no pipeline \(no model_index.json\)"):
        share(tmp_path, "me/mine")
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        write_model_card(tmp_path, title="Mine", num_steps=1, data=data)


def test_the_pipeline_that_ships_is_small_safe_and_draws_in_range():
    folder = PRETRAINED / "butterflies-32"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    pipeline = DDPMPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.dtype == torch.float32
    generator = torch.Generator().manual_seed(0)
    drawn = pipeline(8, generator, num_inference_steps=20, output_type="np").images
    assert drawn.shape == (8, 32, 32, 3)
    corners = drawn[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.mean() > 0.8  # pale paper
    assert drawn[:, 12:20, 12:20].mean() < 0.7  # with something on it
    mirrored = abs(drawn - drawn[:, :, ::-1]).mean()
    shuffled = abs(drawn - drawn[[1, 2, 3, 4, 5, 6, 7, 0]]).mean()
    assert mirrored < 0.75 * shuffled  # and both sides alike
