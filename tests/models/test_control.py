"""Following a drawing: a branch that begins as nothing, beside a network that stays as it is."""

import copy

import pytest
import torch
from tiny import tiny_unet
from torch import nn

from course_utils import (
    EMA,
    Controlled,
    Guidance,
    NoiseSchedule,
    Trained,
    UNet,
    diffusion_loss,
    draw_silhouettes,
    make_loader,
    train,
)
from course_utils.models import control, unconditioned

TIMES, LABELS = torch.tensor([3, 40]), torch.tensor([0, 2])
NO_LABEL = torch.tensor([3, 3])


def base(**changes):
    sizes = {"block_out_channels": (8, 8, 16), "layers_per_block": 2, "num_class_embeds": 4}
    kinds = {
        "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    }
    return tiny_unet(**sizes | kinds | changes).eval()


def controlled(awake=True, **changes):
    torch.manual_seed(1)
    model = Controlled(base(**changes), (8, 8, 8)).eval()
    for end in model.branch.ends if awake else ():
        nn.init.normal_(end.weight, std=0.3)
    return model


def noisy():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def shapes():
    """Two different silhouettes, 8 pixels square."""
    return draw_silhouettes(2, 16, seed=3)[:, :, ::2, ::2]


def answer(model, x_t, labels):
    with torch.no_grad():
        return model(x_t, TIMES, class_labels=labels).sample


def test_at_first_it_is_the_base_bit_for_bit():
    model, x_t = controlled(awake=False), noisy()
    with torch.no_grad():
        followed = model(x_t, TIMES, class_labels=LABELS, controlnet_cond=shapes())
    assert torch.equal(followed, answer(model.base, x_t, LABELS))


def test_an_empty_silhouette_is_none_at_all_row_by_row():
    model, x_t, told = controlled(), noisy(), shapes()
    told[1] = 0
    plain = answer(model.base, x_t, LABELS)
    with torch.no_grad():
        assert torch.equal(model(x_t, TIMES, class_labels=LABELS), plain)
        followed = model(x_t, TIMES, class_labels=LABELS, controlnet_cond=told)
    assert torch.equal(followed[1], plain[1])
    assert not torch.allclose(followed[0], plain[0], atol=1e-3)


def test_without_a_label_the_species_is_free():
    model, x_t = controlled(), noisy()
    with torch.no_grad():
        assert torch.equal(model(x_t, TIMES), answer(model.base, x_t, NO_LABEL))
        free = model(x_t, TIMES, controlnet_cond=shapes())
        same = model(x_t, TIMES, class_labels=NO_LABEL, controlnet_cond=shapes())
    assert torch.equal(free, same)


def test_a_base_without_classes_follows_as_well():
    model, x_t = controlled(num_class_embeds=None), noisy()
    with torch.no_grad():
        followed = model(x_t, TIMES, controlnet_cond=shapes())
        assert not torch.allclose(followed, model(x_t, TIMES), atol=1e-3)


def test_bytes_bools_and_shares_say_the_same():
    model, x_t, told = controlled(), noisy(), shapes()
    with torch.no_grad():
        answers = [
            model(x_t, TIMES, controlnet_cond=form) for form in (told, told > 0, told.float() / 255)
        ]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_the_additions_are_those_of_controlnet():
    """An oracle: the base's own forward, with sums in the middle and on the way up."""
    model, x_t, told = controlled(), noisy(), shapes()
    unet, x = model.base, noisy()
    with torch.no_grad():
        *added, middle = model.branch(x_t, TIMES, told)
        emb = unet.time_embedding(unet.time_proj(TIMES)) + unet.class_embedding(LABELS)
        x = unet.conv_in(x)
        handed = [x]
        for block in unet.down_blocks:
            x, maps = block(x, emb)
            handed += maps
        x = unet.mid_block(x, emb) + middle
        handed = [a + b for a, b in zip(handed, added, strict=True)]
        for block in unet.up_blocks:
            count = len(block.resnets)
            x = block(x, tuple(handed[-count:]), emb)
            handed = handed[:-count]
        wanted = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
        found = model(x_t, TIMES, class_labels=LABELS, controlnet_cond=told)
    torch.testing.assert_close(found, wanted)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())


def test_only_the_branch_learns_and_first_of_all_its_zeros():
    """Behind a convolution of zeros nothing moves in the first step; in the second, all do."""
    model = controlled(awake=False)
    before = copy.deepcopy(model.state_dict())
    x0 = torch.rand(2, 3, 8, 8) * 2 - 1
    told = {"class_labels": LABELS, "controlnet_cond": shapes()}
    loader = make_loader(((x0 + 1) * 127).byte(), 2, condition=told)
    schedule, ema = NoiseSchedule.cosine(50), EMA(model, 0.5)
    moved = []
    for _ in train(model, loader, schedule, num_steps=2, lr=1e-2, optimizer="muon", ema=ema):
        now = model.state_dict()
        moved.append({name for name in now if not torch.equal(now[name], before[name])})
    assert not any(name.startswith("base.") for name in moved[1])
    assert {name for name in moved[1] if name.endswith("weight")} >= {
        "branch.conv_in.weight",
        "branch.ends.0.weight",
    }
    ema.copy_to(model)
    assert torch.equal(model.state_dict()["base.conv_in.weight"], before["base.conv_in.weight"])


def test_the_first_gradient_is_that_of_the_zeros_alone():
    model = controlled(awake=False)
    told = {"class_labels": LABELS, "controlnet_cond": shapes()}
    diffusion_loss(model, NoiseSchedule.cosine(50), noisy().clamp(-1, 1), condition=told).backward()
    assert all(weights.grad is None for weights in model.base.parameters())
    assert all(end.weight.grad.abs().sum() > 0 for end in model.branch.ends)
    assert model.branch.conv_in.weight.grad.abs().sum() == 0


def test_it_is_drawn_with_and_guided_as_any_model():
    model = controlled()
    trained = Trained(model, NoiseSchedule.cosine(50), "v_prediction", (3, 8, 8))
    told = {"class_labels": LABELS, "controlnet_cond": shapes()}
    drawn = [trained.draw(2, condition=told, guidance=w, num_steps=3) for w in (1.0, 2.0)]
    assert not torch.allclose(*drawn, atol=1e-3)
    free = trained.draw(2, condition={"controlnet_cond": shapes()}, num_steps=3)
    assert free.shape == (2, 3, 8, 8)
    silent = unconditioned(model, told)
    assert silent["class_labels"].tolist() == [3, 3]
    assert torch.equal(silent["controlnet_cond"], shapes())  # guidance is by the label alone
    with torch.no_grad():
        nothing = Guidance(model, told, scale=0)(noisy(), TIMES)
        assert torch.equal(nothing, model(noisy(), TIMES, controlnet_cond=shapes()))


def test_what_is_saved_is_the_branch_as_small_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "PRETRAINED", tmp_path)
    monkeypatch.setattr(control, "CHANNELS", (8, 8, 8))
    model = controlled()
    model.save("some")
    again = Controlled.shipped(base(), "some")
    for name, weights in model.branch.state_dict().items():
        torch.testing.assert_close(again.branch.state_dict()[name], weights, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "some.safetensors").stat().st_size < 40_000


def test_it_may_be_copied():
    model = controlled()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        one, other = (m(noisy(), TIMES, controlnet_cond=shapes()) for m in (model, twin))
    assert torch.equal(one, other)


def test_other_networks_and_sizes_are_refused(no_shape_checks):
    with pytest.raises(TypeError, match="UNet2DModel, got UNet"):
        Controlled(UNet(3, channels=(8, 8)))
    with pytest.raises(ValueError, match="controlnet_cond"):
        controlled()(noisy(), TIMES, controlnet_cond=torch.ones(2, 1, 16, 16))
    with pytest.raises(ValueError, match="channels"):
        Controlled(base(), (8, 8))
