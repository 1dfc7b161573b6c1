"""Shapes, sizes and habits of the two networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.models import (
    BasicUNet,
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
