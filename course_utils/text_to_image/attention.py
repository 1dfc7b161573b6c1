"""Cross-attention, written out, and what it looks at: which word draws which part of a picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks import check_int
from course_utils.models.calling import evaluation_mode

Maps = dict[str, Tensor]  # (B, heads, places, words) by the name of the layer


def attention_weights(
    q: Float[Tensor, "B heads N d"], k: Float[Tensor, "B heads L d"]
) -> Float[Tensor, "B heads N L"]:
    """How much each place looks at each word: softmax over the words of q·k / √d."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)


def cross_attention(
    features: Float[Tensor, "B N C"],
    words: Float[Tensor, "B L D"],
    to_q: Callable,
    to_k: Callable,
    to_v: Callable,
    num_heads: int,
) -> Float[Tensor, "B N inner"]:
    """Each place of a picture asks, each word answers (Vaswani et al. 2017, eq. 1).

    Queries come from the N places, keys and values from the L words; each head has a share of the
    channels. Raises ValueError where the channels can't be shared out evenly.
    """
    q, k, v = (_heads(x, num_heads) for x in (to_q(features), to_k(words), to_v(words)))
    return (attention_weights(q, k) @ v).transpose(1, 2).flatten(2)


def _heads(x: Float[Tensor, "B N inner"], num_heads: int) -> Float[Tensor, "B heads N d"]:
    check_int("num_heads", num_heads, 1)
    if x.shape[-1] % num_heads:
        raise ValueError(f"num_heads must divide the {x.shape[-1]} channels, got {num_heads}")
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class _Recorder:
    """Stands before a layer's attention processor: writes down its weights, and lets it answer."""

    def __init__(self, name: str, processor, maps: Maps):
        self.name, self.processor, self.maps = name, processor, maps

    def __call__(self, layer: Attention, hidden_states, encoder_hidden_states=None, *rest, **named):
        q = _heads(layer.to_q(hidden_states), layer.heads)
        k = _heads(layer.to_k(encoder_hidden_states), layer.heads)
        self.maps[self.name] = attention_weights(q, k)
        return self.processor(layer, hidden_states, encoder_hidden_states, *rest, **named)


@contextmanager
def _recorded(unet: UNet2DConditionModel) -> Iterator[Maps]:
    """Inside the block the layers that read words fill the dict; then all are as they were."""
    own, maps = unet.attn_processors, {}
    recorders = {
        name: _Recorder(name.removesuffix(".processor"), processor, maps)
        for name, processor in own.items()
        if name.endswith("attn2.processor")
    }
    try:
        unet.set_attn_processor(own | recorders)
        yield maps
    finally:
        unet.set_attn_processor(dict(own))


@torch.no_grad()
def attention_maps(
    unet: UNet2DConditionModel,
    x_t: Float[Tensor, "B C H W"],
    timesteps: Int[Tensor, "B"],
    encoder_hidden_states: Float[Tensor, "B L D"],
) -> Maps:
    """The weights of each layer that reads words, by its name: (B, heads, places, L).

    Over the words they sum to 1. The UNet is left as it was, whatever happens.
    """
    with evaluation_mode(unet), _recorded(unet) as maps:
        unet(x_t, timesteps, encoder_hidden_states=encoder_hidden_states)
    return maps


def word_maps(
    unet: UNet2DConditionModel,
    x_t: Float[Tensor, "B C H W"],
    timesteps: Int[Tensor, "B"],
    encoder_hidden_states: Float[Tensor, "B L D"],
) -> Float[Tensor, "B L H W"]:
    """Where each word is looked at: the mean over heads and layers, as large as the latents.

    In each place the words' shares sum to 1. (As in Hertz et al. 2022, §3.1.)
    """
    maps = attention_maps(unet, x_t, timesteps, encoder_hidden_states)
    size = x_t.shape[-2:]
    return torch.stack([_as_pictures(weights, size) for weights in maps.values()]).mean(0)


def _as_pictures(
    weights: Float[Tensor, "B heads N L"], size: tuple[int, int]
) -> Float[Tensor, "B L H W"]:
    """The mean of the heads, its places in their rows, resized."""
    shrunk = round((size[0] * size[1] / weights.shape[2]) ** 0.5)
    rows = size[0] // shrunk
    pictures = weights.mean(1).transpose(1, 2).unflatten(-1, (rows, -1))
    return F.interpolate(pictures, tuple(size), mode="bilinear")
