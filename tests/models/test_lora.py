"""LoRA: nothing changes at first, little is trained, merged equals unmerged, diffusers loads it."""

import copy

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from diffusers.loaders.peft import PeftAdapterMixin
from tiny import tiny_pipeline, tiny_unet
from torch.nn.functional import conv2d

from course_utils import NoiseSchedule, UNet, call_model, count_parameters, train
from course_utils.models.lora import (
    ADAPTER,
    add_lora,
    has_lora,
    load_lora,
    lora_layers,
    lora_strength,
    lora_weights,
    merge_lora,
    save_lora,
)

ATTENTIVE = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "attention_head_dim": 8}


def unet():
    torch.manual_seed(0)
    model = UNet(3, channels=(8, 16), num_classes=4)
    for weights in model.parameters():  # the layers that begin with zeros, too
        torch.nn.init.normal_(weights, std=0.1)
    return model


NETWORKS = {"UNet": unet, "UNet2DModel": lambda: tiny_unet(**ATTENTIVE)}
each_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def answer(model):
    """Of a frozen copy: for weights that want gradients torch may sum in another order."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    frozen = copy.deepcopy(model).requires_grad_(False).eval()
    with torch.no_grad():
        return call_model(frozen, x, torch.tensor([3, 900]))


def taught(model, rank=2, seed=1, **options):
    """With adapters that do something."""
    add_lora(model, rank, **options)
    generator = torch.Generator().manual_seed(seed)
    for weights in lora_weights(model).values():
        weights.copy_(torch.randn(weights.shape, generator=generator) / 4)
    return model


@each_network
def test_at_first_nothing_changes_and_only_the_adapters_are_trained(make):
    model, plain = make(), answer(make())
    assert add_lora(model, 2) is model
    assert has_lora(model)
    assert torch.equal(answer(model), plain)
    adapters = lora_weights(model)
    assert count_parameters(model) == sum(weights.numel() for weights in adapters.values())
    assert {name for name, w in model.named_parameters() if w.requires_grad} == {
        name.removeprefix("unet.").replace("_A.", "_A.default.").replace("_B.", "_B.default.")
        for name in adapters
    }


def test_a_convolution_of_rank_r_has_r_times_its_inputs_and_outputs():
    model = tiny_unet()
    name, layer = "mid_block.resnets.0.conv1", tiny_unet().mid_block.resnets[0].conv1
    add_lora(model, 3, layers=[name])
    assert count_parameters(model) == 3 * (layer.in_channels * 9 + layer.out_channels)


@each_network
def test_training_moves_the_adapters_and_nothing_else(make):
    model = add_lora(make(), 2)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    x0 = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    options = {"num_steps": 2, "lr": 1e-2, "generator": torch.Generator().manual_seed(0)}
    for _ in train(model, [x0], NoiseSchedule.cosine(1000), **options):
        pass
    moved = {n for n, w in model.state_dict().items() if not torch.equal(w, before[n])}
    assert moved
    assert all("lora_" in name for name in moved)


@each_network
def test_strength_leads_from_the_old_bits_to_what_was_learned(make):
    model, plain = taught(make()), answer(make())
    learned = answer(model)
    assert not torch.allclose(learned, plain, atol=1e-3)
    lora_strength(model, 0)
    assert torch.equal(answer(model), plain)
    lora_strength(model, 1)
    assert torch.equal(answer(model), learned)


def test_an_adapter_is_added_in_proportion_to_alpha_over_rank_and_strength():
    model, name = tiny_unet(), "conv_in"
    x = torch.randn(1, 3, 8, 8)
    plain = model.conv_in(x)
    taught(model, 2, alpha=6.0, layers=[name])
    a, b = lora_weights(model).values()
    added = conv2d(conv2d(x, a, padding=1), b)
    for strength in (1, 0.5, -2):
        lora_strength(model, strength)
        torch.testing.assert_close(model.conv_in(x), plain + 6 / 2 * strength * added)


@each_network
def test_merged_it_is_a_plain_network_that_answers_alike(make):
    model = taught(make())
    learned = answer(model)
    assert merge_lora(model) is model
    assert not has_lora(model)
    assert list(model.state_dict()) == list(make().state_dict())
    assert count_parameters(model) == count_parameters(make())
    torch.testing.assert_close(answer(model), learned, rtol=1e-4, atol=1e-5)
    add_lora(model, 1)  # and may learn again


def test_merged_at_strength_0_it_is_what_it_was():
    model = taught(unet())
    lora_strength(model, 0)
    merge_lora(model)
    assert all(map(torch.equal, model.state_dict().values(), unet().state_dict().values()))


@each_network
def test_what_is_saved_is_what_is_loaded(make, tmp_path):
    model = taught(make(), 3, alpha=1.5)
    assert save_lora(model, tmp_path) == tmp_path / ADAPTER
    again = load_lora(make(), tmp_path)
    assert torch.equal(answer(again), answer(model))
    assert count_parameters(again) == count_parameters(model)


class Adaptable(PeftAdapterMixin, UNet2DModel):
    """As the model card says it."""


def test_plain_diffusers_loads_the_adapter_onto_a_pipeline(tmp_path):
    """By its own loader and nothing of the course."""
    pipeline = tiny_pipeline(**ATTENTIVE)
    pipeline.save_pretrained(tmp_path / "base")
    plain = answer(pipeline.unet)
    learned = answer(taught(pipeline.unet, 2, alpha=5.0))
    save_lora(pipeline.unet, tmp_path / "lora")

    network = Adaptable.from_pretrained(tmp_path / "base", subfolder="unet")
    network.load_lora_adapter(tmp_path / "lora", prefix="unet", weight_name=ADAPTER)
    loaded = DDPMPipeline.from_pretrained(tmp_path / "base", unet=network)
    assert torch.equal(answer(loaded.unet), learned)
    assert not torch.equal(learned, plain)
    network.disable_lora()
    assert torch.equal(answer(loaded.unet), plain)


def test_the_layers_hold_nearly_all_weights_and_neither_end():
    model = UNet2DModel(block_out_channels=(16, 32), norm_num_groups=8, **_BLOCKS)
    layers = lora_layers(model)
    assert sum(model.get_submodule(name).weight.numel() for name in layers) > 0.85 * (
        count_parameters(model)
    )
    assert not {"conv_in", "conv_out"} & set(layers)
    assert not [name for name in layers if "time" in name]


_BLOCKS = {
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def test_what_does_not_fit_is_named(tmp_path, no_shape_checks):
    model = unet()
    for wants in (lora_weights, merge_lora, lambda m: lora_strength(m, 1)):
        with pytest.raises(ValueError, match="model has no LoRA: add_lora"):
            wants(model)
    with pytest.raises(ValueError, match="layers must name layers of the model, got"):
        add_lora(model, 2, layers=["nonsense"])
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        add_lora(model, 0)
    with pytest.raises(FileNotFoundError, match=ADAPTER):
        load_lora(model, tmp_path)
    save_lora(add_lora(model, 2), tmp_path)
    with pytest.raises(ValueError, match="model has a LoRA already"):
        add_lora(model, 2)
    with pytest.raises(ValueError, match="layers must name layers of the model"):
        load_lora(tiny_unet(), tmp_path)
    wider = UNet(3, channels=(16, 32), num_classes=4)
    with pytest.raises(ValueError, match=r"is for another model: .* is \(2, 8, 3, 3\), not"):
        load_lora(wider, tmp_path)
    assert not has_lora(wider)
