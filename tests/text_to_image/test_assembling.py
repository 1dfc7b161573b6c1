"""The pipeline: drawn by hand to the bit, saved, and loaded where there is no course."""

import json
import os
import subprocess
import sys

import pytest
import tiny_parts
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from course_utils import NoiseSchedule
from course_utils.runtime import quiet_diffusers
from course_utils.text_to_image import (
    draw_by_hand,
    encode_texts,
    make_latent_unet,
    make_scheduler,
    save_pipeline,
)

PROMPTS = ["red heart", "노란 하트"]


@pytest.fixture(scope="module")
def pipeline():
    return tiny_parts.pipeline()


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "emoji"
    save_pipeline(pipeline, folder)
    return folder


def seeded():
    return torch.Generator().manual_seed(5)


def drawn(pipeline, prompts, scale, negative=""):
    return pipeline(
        prompts,
        negative_prompt=[negative] * len(prompts),
        guidance_scale=scale,
        num_inference_steps=4,
        generator=seeded(),
        output_type="pt",
    ).images


@pytest.mark.parametrize("negative", ["", "apple"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_the_loop_by_hand_is_the_pipelines_to_the_bit(pipeline, scale, negative):
    options = {"negative": negative, "guidance_scale": scale, "num_steps": 4}
    pictures = draw_by_hand(pipeline, PROMPTS, **options, generator=seeded())
    assert pictures.shape == (2, 3, 32, 32)
    assert pictures.std() > 0.01
    assert torch.equal(pictures, drawn(pipeline, PROMPTS, scale, negative))


def test_prompt_scale_and_negative_prompt_each_count(pipeline):
    def by_hand(prompt="red heart", **options):
        return draw_by_hand(pipeline, [prompt], num_steps=2, generator=seeded(), **options)

    pictures = [by_hand(), by_hand("하트"), by_hand(guidance_scale=4), by_hand(negative="apple")]
    assert len({picture.sum().item() for picture in pictures}) == 4
    assert torch.equal(by_hand(guidance_scale=1), by_hand(guidance_scale=1, negative="apple"))


def test_texts_are_encoded_as_the_pipeline_encodes_them(pipeline):
    texts = [*PROMPTS, "", "heart " * 30]
    theirs, nothing = pipeline.encode_prompt(texts, "cpu", 1, True)
    encoded = encode_texts(pipeline.text_encoder, pipeline.tokenizer, texts)
    assert torch.equal(encoded, theirs)
    assert torch.equal(encoded[2], nothing[2])


def test_the_scheduler_has_the_noise_that_the_unet_was_trained_with():
    scheduler, schedule = make_scheduler(), NoiseSchedule.cosine(1000)
    torch.testing.assert_close(scheduler.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-5, atol=0)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    x0, noise = torch.randn(2, 3, 4, 8, 8, generator=seeded())
    t = torch.tensor([0, 400, 999])
    velocity = schedule.velocity(x0, noise, t)
    torch.testing.assert_close(scheduler.get_velocity(x0, noise, t), velocity)


def test_the_unet_is_as_large_as_it_was_trained():
    with torch.device("meta"):
        unet = make_latent_unet()
    assert sum(p.numel() for p in unet.parameters()) == 4_290_568
    assert unet.config.down_block_types == ("CrossAttnDownBlock2D", "DownBlock2D")
    assert unet.config.up_block_types == ("UpBlock2D", "CrossAttnUpBlock2D")
    assert [a.heads for n, a in unet.named_modules() if n.endswith("attn2")] == [4] * 4
    with pytest.raises(ValueError, match="attention"):
        make_latent_unet((32, 64, 64))


def test_saving_leaves_the_pipeline_as_it_is(pipeline, tmp_path):
    before = {k: v.clone() for k, v in pipeline.unet.state_dict().items()}
    save_pipeline(pipeline, tmp_path)
    assert {part.dtype for part in (pipeline.unet, pipeline.vae)} == {torch.float32}
    assert all(torch.equal(before[k], v) for k, v in pipeline.unet.state_dict().items())


def test_the_folder_holds_half_precision_and_no_pickles(folder):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"model_index.json", "tokenizer/vocab.json", "tokenizer/merges.txt"} <= files
    weights = {name for name in files if name.endswith(".safetensors")}
    assert weights == {
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert {name.rsplit(".")[-1] for name in files - weights} == {"json", "txt"}
    for name in weights:
        assert {v.dtype for v in load_file(folder / name).values()} == {torch.float16}
    index = json.loads((folder / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False
    assert json.loads((folder / "vae/config.json").read_text())["scaling_factor"] == 0.7


def test_the_text_encoders_weights_have_the_names_that_all_releases_read(folder, pipeline):
    names = load_file(folder / "text_encoder/model.safetensors")
    assert len(names) == len(pipeline.text_encoder.state_dict())
    assert "text_model.embeddings.token_embedding.weight" in names
    assert all(name.startswith("text_model.") for name in names)


ELSEWHERE = """
import sys, torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1])
assert {p.dtype for p in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}
pictures = pipeline(["red heart", "노란 하트"], negative_prompt=["", ""], guidance_scale=3.0,
    num_inference_steps=4, generator=torch.Generator().manual_seed(5), output_type="pt").images
assert not any("course_utils" in name for name in sys.modules)
torch.save(pictures, sys.argv[2])
"""


def test_a_process_without_the_course_draws_the_same_bits(folder, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = [sys.executable, "-I", "-c", ELSEWHERE, folder, tmp_path / "pictures.pt"]
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True)
    with quiet_diffusers():
        loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    elsewhere = torch.load(tmp_path / "pictures.pt")
    assert torch.equal(elsewhere, drawn(loaded, PROMPTS, 3.0))
    options = {"guidance_scale": 3.0, "num_steps": 4, "generator": seeded()}
    assert torch.equal(elsewhere, draw_by_hand(loaded, PROMPTS, **options))


def test_half_precision_loses_little(folder, pipeline):
    with quiet_diffusers():
        loaded = StableDiffusionPipeline.from_pretrained(folder)
    for name in ("vae", "text_encoder", "unet"):
        kept = getattr(loaded, name).state_dict()
        for key, weights in getattr(pipeline, name).state_dict().items():
            torch.testing.assert_close(kept[key], weights, rtol=1e-3, atol=1e-4)


def test_there_must_be_a_prompt_in_a_list(pipeline, no_shape_checks):
    for prompts in ([], "red heart"):
        with pytest.raises(ValueError, match="prompts"):
            draw_by_hand(pipeline, prompts)
