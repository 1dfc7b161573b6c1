"""Shapes, sizes and habits of the two networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.models import (
    Attention,
    BasicUNet,
    CrossAttention,
    ResBlock,
    UNet,
    count_parameters,
    timestep_embedding,
)


def test_the_toy_has_about_309k_parameters():
    assert count_parameters(BasicUNet()) == 309_057


@pytest.mark.parametrize("size", [(28, 28), (32, 16)])
def test_the_toy_keeps_the_shape(size):
    x = torch.rand(2, 3, *size)
    assert BasicUNet(3, 2)(x).shape == (2, 2, *size)


def test_the_toys_head_is_linear():
    """Any value can come out: below SiLU's minimum of -0.28, and in proportion to the head."""
    model, x = BasicUNet().double(), torch.rand(1, 1, 8, 8).double()
    with torch.no_grad():
        model.up[2].bias.fill_(-5.0)
        assert model(x).max() < -3
        bias_only = model.up[2].bias.item()
        first = model(x) - bias_only
        model.up[2].weight.mul_(2)
        torch.testing.assert_close(model(x) - bias_only, 2 * first)


def test_the_toy_ignores_time():
    model, x = BasicUNet(), torch.rand(2, 1, 8, 8)
    assert torch.equal(model(x), model(x, torch.tensor([3, 9])))


def test_the_toys_skip_connections_hand_over_what_the_way_down_knew():
    """Where nothing comes from below, a layer sees what its counterpart on the way down said."""
    model, x = BasicUNet(), torch.rand(2, 1, 8, 8)
    first = F.silu(model.down[0](x))
    second = F.silu(model.down[1](F.max_pool2d(first, 2)))
    for below, above, expected in ((0, 1, second), (1, 2, first)):
        seen = []
        nn.init.zeros_(model.up[below].weight)
        nn.init.zeros_(model.up[below].bias)
        model.up[above].register_forward_hook(lambda m, args, out, seen=seen: seen.append(args[0]))
        model(x)
        assert torch.equal(seen[0], expected)


def test_a_residual_block_is_its_formula():
    torch.manual_seed(0)
    block = ResBlock(8, 16, time_width=4)
    nn.init.normal_(block.conv2.weight)
    x, time = torch.randn(2, 8, 4, 4), torch.randn(2, 4)
    scale, shift = block.time(time)[:, :16], block.time(time)[:, 16:]
    h = block.conv1(F.silu(F.group_norm(x, 8)))
    h = F.group_norm(h, 8) * (1 + scale)[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(block(x, time), block.shortcut(x) + block.conv2(F.silu(h)))


@pytest.mark.parametrize(
    ("c_in", "c_out", "options"),
    [(1, 1, {}), (3, 3, {"channels": (16, 32, 48), "num_blocks": 2}), (1, 2, {"patch_size": 1})],
)
def test_unet_answers_for_every_pixel(c_in, c_out, options):
    model = UNet(c_in, c_out, **options)
    out = model(torch.rand(2, c_in, 32, 24), torch.tensor([0, 999]))
    assert out.shape == (2, c_out, 32, 24)


def test_unet_starts_silent_and_learns_to_tell_the_times_apart():
    torch.manual_seed(0)
    model = UNet(channels=(16, 32))
    x = torch.rand(2, 1, 8, 8)
    assert model(x, torch.tensor([1, 500])).abs().max() == 0
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    target = torch.tensor([-0.5, 1.0])[:, None, None, None].expand(2, 1, 8, 8)
    same = x[:1].expand(2, 1, 8, 8)
    for _ in range(200):
        loss = ((model(same, torch.tensor([1, 500])) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_every_parameter_of_unet_takes_part():
    torch.manual_seed(0)
    model = UNet(channels=(16, 32), num_blocks=2)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.abs().sum() == 0:
            nn.init.normal_(layer.weight, std=0.1)
    model(torch.rand(2, 1, 16, 16), torch.tensor([1, 500])).square().sum().backward()
    idle = [name for name, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    assert idle == []


def test_images_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    model = UNet(channels=(16, 32)).double()
    nn.init.normal_(model.leave[2].weight)
    x, t = torch.rand(3, 1, 8, 8).double(), torch.tensor([1, 50, 500])
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(x, t), alone)


def test_timestep_embedding_is_sines_and_cosines():
    embedding = timestep_embedding(torch.tensor([0, 7]), 8)
    assert torch.equal(embedding[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    speeds = 10_000.0 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(embedding[1], torch.cat([(7 * speeds).cos(), (7 * speeds).sin()]))


@pytest.mark.parametrize(("model", "multiple"), [(BasicUNet(), 4), (UNet(), 4)])
def test_sizes_that_do_not_divide_are_named(model, multiple):
    with pytest.raises(ValueError, match=rf"multiples of {multiple}, got \(1, 1, 30, 28\)"):
        model(torch.rand(1, 1, 30, 28), torch.tensor([0]))


@pytest.mark.parametrize("channels", [(), (30,), (4, 8)])
def test_bad_channels_are_named(channels):
    with pytest.raises(ValueError, match="channels must be multiples of 8"):
        UNet(channels=channels)


# --- what it is told


def awake(model):
    """Random weights in place of the zeros that it begins with."""
    torch.manual_seed(0)
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.2)
    return model


T2 = torch.tensor([3, 700])


def test_the_class_changes_the_answer_and_none_is_the_last_row():
    model, x = awake(UNet(channels=(8, 16), num_classes=4)), torch.randn(2, 1, 8, 8)
    first, second = (model(x, T2, class_labels=torch.tensor([k, k])) for k in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.equal(model(x, T2), model(x, T2, class_labels=torch.tensor([4, 4])))
    mixed = model(x, T2, class_labels=torch.tensor([0, 1]))
    torch.testing.assert_close(mixed, torch.stack([first[0], second[1]]))


def test_time_and_class_share_one_embedding():
    """What follows can't tell whether the class's row has moved or the time's vector."""
    model, x = awake(UNet(channels=(8,), num_classes=1)), torch.randn(1, 1, 8, 8)
    early, late = (model.time(timestep_embedding(torch.tensor([t]), 8)) for t in (5, 400))
    answer = model(x, torch.tensor([400]), class_labels=torch.tensor([0]))
    with torch.no_grad():
        model.classes.weight[0] += (late - early)[0]
    moved = model(x, torch.tensor([5]), class_labels=torch.tensor([0]))
    torch.testing.assert_close(moved, answer, rtol=1e-4, atol=1e-4)


def test_each_word_of_a_text_can_change_the_answer():
    model, x = awake(UNet(channels=(8, 16), context_width=6)), torch.randn(2, 1, 8, 8)
    text = torch.randn(2, 3, 6)
    answer = model(x, T2, encoder_hidden_states=text)
    for word in range(3):
        other = text.clone()
        other[:, word] += 1
        assert not torch.allclose(model(x, T2, encoder_hidden_states=other), answer, atol=1e-4)
    shuffled = model(x, T2, encoder_hidden_states=text[:, [2, 0, 1]])
    torch.testing.assert_close(shuffled, answer, rtol=1e-4, atol=1e-4)  # a set of words to it


def test_no_text_is_a_text_of_zeros_of_any_length():
    model, x = awake(UNet(channels=(8,), context_width=6)), torch.randn(2, 1, 8, 8)
    silent = model(x, T2)
    torch.testing.assert_close(silent, model(x, T2, encoder_hidden_states=torch.zeros(2, 5, 6)))


def test_cross_attention_is_its_formula():
    torch.manual_seed(0)
    block = CrossAttention(8, 6)
    nn.init.normal_(block.out.weight)
    x, text = torch.randn(2, 8, 3, 5), torch.randn(2, 4, 6)
    q = F.conv2d(F.group_norm(x, 8), block.q.weight, block.q.bias).flatten(2).mT  # (B, places, 8)
    k, v = (text @ block.kv.weight.mT).chunk(2, dim=-1)
    mixed = (q @ k.mT / 8**0.5).softmax(dim=-1) @ v
    expected = x + block.out(mixed.mT.reshape(2, 8, 3, 5))
    torch.testing.assert_close(block(x, None, text), expected)


@pytest.mark.parametrize(
    ("attention", "count"),
    [(None, 1), ((False, False), 0), ((True, False), 1), ((True, True), 2)],
)
def test_attention_is_where_it_is_asked_for(attention, count):
    model = awake(UNet(channels=(8, 16), attention=attention, context_width=4))
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(Attention) == kinds.count(CrossAttention) == count
    text = torch.randn(2, 3, 4)
    assert model(torch.randn(2, 1, 8, 8), T2, encoder_hidden_states=text).isfinite().all()


@pytest.mark.parametrize("width", [8, 40, 72, 104, 96])
def test_heads_share_any_width(width):
    attention = Attention(width)
    assert width % attention.num_heads == 0
    assert attention(torch.randn(1, width, 2, 2)).shape == (1, width, 2, 2)


def test_weights_that_were_saved_before_there_were_conditions_fit():
    names = set(UNet(channels=(8, 16)).state_dict())
    assert {"time.0.weight", "time.2.bias", "enter.1.weight", "leave.2.bias"} <= names
    assert {"levels.before.0.conv1.weight", "levels.shrink.weight", "levels.grow.bias"} <= names
    assert {"levels.inner.inner.qkv.weight", "levels.inner.after.0.shortcut.weight"} <= names
    assert len(names) == 64


@pytest.mark.parametrize(
    ("options", "condition", "message"),
    [
        ({}, {"class_labels": T2}, "class_labels go to a UNet that was made with num_classes"),
        (
            {"num_classes": 2},
            {"class_labels": torch.tensor([0, 3])},
            r"in \[0, 2\], .* got \[0, 3\]",
        ),
        ({}, {"encoder_hidden_states": torch.zeros(2, 1, 4)}, "made with context_width"),
    ],
)
def test_a_condition_that_it_was_not_made_for_is_refused(options, condition, message):
    with pytest.raises(ValueError, match=message):
        UNet(channels=(8,), **options)(torch.zeros(2, 1, 8, 8), T2, **condition)


def test_attention_for_other_levels_than_there_are_is_refused():
    with pytest.raises(ValueError, match="one value for each of the 2 channels"):
        UNet(channels=(8, 16), attention=(True,))


def test_its_settings_make_it_again():
    options = {"channels": (8, 16), "attention": (True, True), "num_classes": 3, "context_width": 5}
    model = UNet(2, 4, **options)
    again = UNet(**model.settings)
    again.load_state_dict(model.state_dict())
    assert again.settings == model.settings
