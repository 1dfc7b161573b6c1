"""Muon on convolutions against torch's on matrices, and what is left to AdamW."""

import copy

import pytest
import torch
from tiny import tiny_unet
from torch import nn

from course_utils import NoiseSchedule, UNet, train
from course_utils.training.optimizers import (
    Muon,
    inner_matrices,
    make_optimizer,
    orthogonalise,
)


def three_convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 1, 3))


def set_gradients(model, seed=0):
    torch.manual_seed(seed)
    for weights in model.parameters():
        weights.grad = torch.randn(weights.shape)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9")
def test_a_convolution_moves_as_its_matrix_does_and_the_rest_by_adamw():
    model = three_convolutions()
    matrix = nn.Parameter(model[1].weight.detach().reshape(8, 27).clone())
    others = copy.deepcopy(nn.ModuleList([model[0], model[2]]))
    start = matrix.detach().clone()
    muon = torch.optim.Muon([matrix], 0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others.parameters(), 0.1)
    ours = Muon(model, 0.1)
    for seed in range(3):
        set_gradients(model, seed)
        matrix.grad = model[1].weight.grad.reshape(8, 27).clone()
        for weights, same in zip(
            [*model[0].parameters(), *model[2].parameters()], others.parameters(), strict=True
        ):
            same.grad = weights.grad.clone()
        for optimizer in (ours, muon, adamw):
            optimizer.step()
    moved = (matrix.detach() - start).abs().max()
    difference = (model[1].weight.detach().reshape(8, 27) - matrix.detach()).abs().max()
    assert difference < 0.02 * moved  # torch's rounds to bfloat16
    assert torch.equal(model[0].weight, others[0].weight)
    assert torch.equal(model[2].bias, others[1].bias)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_every_weight_of_a_unet_moves_and_no_gradient_stays(memory):
    model = UNet(channels=(8, 16)).to(memory_format=memory)
    before = copy.deepcopy(model)
    set_gradients(model)
    optimizer = make_optimizer(model, 0.01, "muon")
    optimizer.step()
    optimizer.zero_grad()
    pairs = zip(before.parameters(), model.parameters(), strict=True)
    assert not any(torch.equal(old, new) for old, new in pairs)
    assert all(weights.grad is None for weights in model.parameters())


def test_weights_in_another_order_in_memory_move_alike():
    first, second = three_convolutions(), three_convolutions().to(memory_format=torch.channels_last)
    for model in (first, second):
        set_gradients(model)
        Muon(model, 0.1).step()
    torch.testing.assert_close(first[1].weight, second[1].weight, rtol=0, atol=1e-6)


def test_a_rate_set_from_outside_counts_for_both():
    model = UNet(channels=(8,))
    before = copy.deepcopy(model)
    optimizer = Muon(model, 0.01)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    set_gradients(model)
    optimizer.step()
    rates.step()
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_it_goes_on_from_its_state():
    first, second = three_convolutions(), three_convolutions()
    optimizer = Muon(first, 0.1)
    set_gradients(first, 1)
    optimizer.step()
    second.load_state_dict(first.state_dict())
    resumed = Muon(second, 0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, its in ((first, optimizer), (second, resumed)):
        set_gradients(model, 2)
        its.step()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_with_muon_lowers_the_loss(generator):
    torch.manual_seed(0)
    x0 = torch.linspace(-1, 1, 8).expand(16, 1, 8, 8)
    options = {"num_steps": 60, "prediction_type": "v_prediction", "generator": generator}
    steps = train(
        UNet(channels=(8,)), [x0], NoiseSchedule.straight(100), lr=4e-3, optimizer="muon", **options
    )
    losses = [step.loss for step in steps]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@pytest.mark.parametrize("shape", [(2, 8, 27), (1, 40, 9), (3, 16, 16)])
def test_all_directions_come_out_about_equally_long(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = torch.stack(orthogonalise([*matrices]))
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    along = torch.diagonal(u.mT @ found @ vh.mT, dim1=-2, dim2=-1)
    assert (along > 0.3).all()  # the shortest directions need more than five steps
    assert (along < 1.25).all()
    torch.testing.assert_close(u @ torch.diag_embed(along) @ vh, found, rtol=0, atol=1e-4)


def test_autocast_changes_nothing():
    torch.manual_seed(0)
    matrices = [torch.randn(32, 288), torch.randn(32, 576), torch.randn(64, 16)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = orthogonalise(matrices)
    for ours, outside in zip(inside, orthogonalise(matrices), strict=True):
        assert torch.equal(ours, outside)


def test_what_goes_through_together_comes_out_as_alone():
    torch.manual_seed(0)
    matrices = [torch.randn(16, 144), torch.randn(8, 72), torch.randn(16, 32), torch.randn(40, 16)]
    for matrix, together in zip(matrices, orthogonalise(matrices), strict=True):
        assert together.shape == matrix.shape
        torch.testing.assert_close(orthogonalise([matrix])[0], together, rtol=0, atol=1e-6)


def test_what_cannot_be_used_is_named():
    with pytest.raises(ValueError, match="optimizer must be one of adamw, muon; got 'sgd'"):
        make_optimizer(UNet(channels=(8,)), 0.01, "sgd")
    with pytest.raises(ValueError, match="a model of 3 convolutions or more"):
        make_optimizer(nn.Conv2d(1, 1, 3), 0.01, "muon")
    with pytest.raises(ValueError, match="takes no closure"):
        Muon(UNet(channels=(8,)), 0.01).step(lambda: None)


# --- which weights


def names_of(model):
    """The names of its inner matrices."""
    names = {id(weights): name for name, weights in model.named_parameters()}
    return [names[id(weights)] for weights in inner_matrices(model)]


def test_all_matrices_but_the_first_and_last_are_inner():
    names = names_of(UNet(channels=(8, 16), num_classes=3, context_width=4))
    matrices = [
        name
        for name, weights in UNet(
            channels=(8, 16), num_classes=3, context_width=4
        ).named_parameters()
        if weights.ndim > 1
    ]
    outer = {"classes.weight", "enter.1.weight", "leave.2.weight"}
    told = {name for name in matrices if "time" in name}
    assert set(matrices) - set(names) == outer | told
    assert any("qkv" in name for name in names)
    assert any("kv.weight" in name and "qkv" not in name for name in names)


def test_the_attention_of_diffusers_unet_is_among_them():
    model = tiny_unet(
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=3,
    )
    names = names_of(model)
    assert sum("to_q.weight" in name for name in names) == 4
    assert not {"conv_in.weight", "conv_out.weight", "class_embedding.weight"} & set(names)
    assert not any("time_emb" in name for name in names)


class Transformer(nn.Module):
    """Patches of 2 x 2, two blocks, and back."""

    def __init__(self):
        super().__init__()
        self.cut = nn.PixelUnshuffle(2)
        self.enter, self.places = nn.Linear(4, 16), nn.Parameter(torch.zeros(16, 16))
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        block = nn.TransformerEncoderLayer(16, 2, 32, **options)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.leave = nn.Linear(16, 4)
        self.paste = nn.PixelShuffle(2)

    def forward(self, x_t, timesteps):
        time = timesteps[:, None, None] / 100
        tokens = self.enter(self.cut(x_t).flatten(2).mT) + self.places + time
        return self.paste(self.leave(self.blocks(tokens)).mT.unflatten(2, (4, 4)))


def test_a_transformer_trains(generator):
    torch.manual_seed(0)
    model = Transformer()
    names = names_of(model)
    assert "blocks.layers.0.self_attn.in_proj_weight" in names
    assert "blocks.layers.1.linear2.weight" in names
    assert not {"enter.weight", "leave.weight", "places"} & set(names)
    x0 = torch.linspace(-1, 1, 8).expand(16, 1, 8, 8)
    options = {"num_steps": 60, "prediction_type": "v_prediction", "generator": generator}
    steps = train(model, [x0], NoiseSchedule.straight(100), lr=1e-2, optimizer="muon", **options)
    losses = [step.loss for step in steps]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
