"""Cross-attention against diffusers' module, and maps that change nothing."""

import pytest
import tiny_parts
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import nn

from course_utils.text_to_image import attention_maps, cross_attention, word_maps


@pytest.fixture
def unet():
    return tiny_parts.unet()


def inputs(height=8, width=8):
    chance = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 4, height, width, generator=chance)
    return x_t, torch.tensor([10, 900]), torch.randn(2, 10, 16, generator=chance) * 3


@pytest.mark.parametrize("heads", [1, 4])
def test_written_out_it_is_the_modules(heads, generator):
    torch.manual_seed(1)
    layer = Attention(16, cross_attention_dim=12, heads=heads, dim_head=16 // heads).double()
    features = torch.randn(3, 9, 16, generator=generator, dtype=torch.float64)
    words = torch.randn(3, 5, 12, generator=generator, dtype=torch.float64)
    answer = cross_attention(features, words, layer.to_q, layer.to_k, layer.to_v, heads)
    assert answer.shape == (3, 9, 16)
    torch.testing.assert_close(layer.to_out[0](answer), layer(features, words))


def test_a_place_whose_query_is_a_words_key_gets_its_value():
    keys, values = torch.eye(4), torch.arange(4.0)[:, None].expand(4, 4)
    same = nn.Identity()
    words = torch.cat([100 * keys, values], 1)[None]
    options = {"to_k": lambda w: w[..., :4], "to_v": lambda w: w[..., 4:], "num_heads": 1}
    answer = cross_attention(keys[None].flip(1), words, same, **options)
    torch.testing.assert_close(answer, values[None].flip(1))


def test_channels_must_be_shared_out_evenly():
    same = nn.Identity()
    with pytest.raises(ValueError, match="num_heads"):
        cross_attention(torch.ones(1, 2, 6), torch.ones(1, 3, 6), same, same, same, 4)


def test_maps_are_those_of_the_layers_and_sum_to_one_over_words(unet):
    maps = attention_maps(unet, *inputs())
    layers = {name: layer for name, layer in unet.named_modules() if name.endswith("attn2")}
    assert maps.keys() == layers.keys()
    shapes = {name.split(".")[0]: weights.shape for name, weights in maps.items()}
    assert shapes == {
        "down_blocks": (2, 2, 64, 10),
        "mid_block": (2, 2, 16, 10),
        "up_blocks": (2, 2, 64, 10),
    }
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert not weights.requires_grad


def test_a_layers_map_is_diffusers_own_scores(unet):
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    heard = []
    hook = layer.register_forward_pre_hook(
        lambda _, args, named: heard.append((*args, named["encoder_hidden_states"])),
        with_kwargs=True,
    )
    maps = attention_maps(unet, *inputs())
    hook.remove()
    features, words = heard[0]
    q, k = (layer.head_to_batch_dim(x) for x in (layer.to_q(features), layer.to_k(words)))
    scores = layer.get_attention_scores(q, k).unflatten(0, (2, 2))
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    torch.testing.assert_close(maps[name], scores.detach())


def test_the_network_answers_as_before_and_keeps_its_processors(unet):
    x_t, timesteps, words = inputs()
    before = unet(x_t, timesteps, words).sample
    own = unet.attn_processors
    unet.train()
    attention_maps(unet, x_t, timesteps, words)
    assert unet.training
    assert {n: id(p) for n, p in unet.attn_processors.items()} == {n: id(p) for n, p in own.items()}
    assert torch.equal(unet.eval()(x_t, timesteps, words).sample, before)


def test_recording_does_not_change_the_answer(unet):
    x_t, timesteps, words = inputs()
    answers = []
    hook = unet.register_forward_hook(lambda _, __, answer: answers.append(answer.sample))
    attention_maps(unet, x_t, timesteps, words)
    hook.remove()
    assert torch.equal(answers[0], unet(x_t, timesteps, words).sample)


def test_after_an_error_the_processors_are_back(unet):
    unet.set_attn_processor(AttnProcessor())
    x_t, timesteps, words = inputs()
    with pytest.raises(RuntimeError):
        attention_maps(unet, x_t, timesteps, words[..., :5])
    assert {type(processor) for processor in unet.attn_processors.values()} == {AttnProcessor}


@pytest.mark.parametrize("size", [(8, 8), (8, 16)])
def test_word_maps_are_shares_of_each_place(unet, size):
    maps = word_maps(unet, *inputs(*size))
    assert maps.shape == (2, 10, *size)
    torch.testing.assert_close(maps.sum(1), torch.ones(2, *size))


def test_word_maps_are_the_mean_over_heads_and_layers(unet):
    maps, means = attention_maps(unet, *inputs()), []
    for weights in maps.values():
        side = 8 if weights.shape[2] == 64 else 4
        picture = weights.mean(1).view(2, side, side, 10).permute(0, 3, 1, 2)
        means.append(nn.functional.interpolate(picture, (8, 8), mode="bilinear"))
    torch.testing.assert_close(word_maps(unet, *inputs()), sum(means) / len(means))
