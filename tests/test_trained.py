"""A trained model: the same pictures for the same seed, whatever it is told; saved and loaded."""

import json
from dataclasses import asdict

import pytest
import torch
from diffusers import DDPMPipeline
from diffusers.utils import logging as diffusers_logging
from tiny import tiny_unet
from torch import nn

from course_utils import (
    PRETRAINED,
    NoiseSchedule,
    Sampler,
    Trained,
    UNet,
    agreement,
    call_model,
    find_copies,
    frechet_distance,
    load_digits,
    load_trained,
    save_trained,
)
from course_utils.trained import NOTE

DIGITS = tuple("0123456789")


def awake(network):
    torch.manual_seed(0)
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.1)
    return network.eval()


def trained(classes=DIGITS, sampler=None, **options):
    model = awake(UNet(1, channels=(8, 16), num_classes=len(classes) or None))
    schedule, sampler = NoiseSchedule.straight(100), sampler or Sampler(3)
    return Trained(model, schedule, "v_prediction", (1, 8, 8), sampler, classes, **options)


def pipeline_like(classes=()):
    """A `UNet2DModel`, with classes if there are any."""
    model = tiny_unet(num_class_embeds=len(classes) + 1 if classes else None)
    schedule = NoiseSchedule.cosine(1000)
    return Trained(awake(model), schedule, "v_prediction", (3, 8, 8), Sampler(3), classes)


def labels(*numbers):
    return {"class_labels": torch.tensor(numbers)}


def test_the_same_seed_draws_the_same_pictures_in_any_batches():
    model = trained(sampler=Sampler(3, 1, 1.0))
    first = model.draw(5, seed=3, batch_size=2)
    assert first.shape == (5, 1, 8, 8)
    assert first.abs().max() <= 1
    assert torch.equal(first, model.draw(5, seed=3, batch_size=2))
    assert not torch.equal(first, model.draw(5, seed=4, batch_size=2))
    plain = trained()
    torch.testing.assert_close(plain.draw(5, batch_size=2), plain.draw(5))


def test_each_picture_gets_its_own_condition_and_one_may_be_for_all():
    model = trained()
    mixed = model.draw(4, condition=labels(0, 1, 2, 3), batch_size=3)
    for number in range(4):
        alone = model.draw(4, condition=labels(number))
        torch.testing.assert_close(mixed[number], alone[number])
    assert not torch.allclose(mixed, model.draw(4, condition=labels(0)), atol=1e-3)


def test_told_nothing_each_picture_gets_a_class_by_chance():
    for model in (trained(), pipeline_like(DIGITS)):
        drawn = model.draw(12)
        of_each = torch.stack([model.draw(12, condition=labels(number)) for number in range(10)])
        near = (of_each - drawn).abs().amax(dim=(2, 3, 4)) < 1e-4
        chosen = near.float().argmax(dim=0)
        assert near.sum(dim=0).min() == near.sum(dim=0).max() == 1
        assert len(chosen.unique()) > 3
        assert torch.equal(model.draw(12), drawn)


def test_guidance_of_nothing_is_no_label():
    for model in (trained(), pipeline_like(DIGITS)):
        told = model.draw(2, condition=labels(3), guidance=0)
        assert torch.equal(told, model.draw(2, condition=labels(10)))


def test_guidance_pushes_away_from_no_label():
    model = trained()
    told, pushed = (model.draw(2, condition=labels(3), guidance=g) for g in (1.0, 4.0))
    assert not torch.allclose(told, pushed, atol=1e-3)


def test_the_number_of_calls_can_be_chosen():
    model, asked = trained(classes=()), []
    model.model.register_forward_pre_hook(lambda module, args: asked.append(1))
    model.draw(1)
    model.draw(1, num_steps=7)
    assert len(asked) == 3 + 7


def test_latents_are_decoded_and_not_clipped_before():
    seen = []

    def decode(latents):
        seen.append(latents)
        return latents.mean(dim=1, keepdim=True).repeat(1, 3, 2, 2)

    model = trained(classes=(), decode=decode)
    with torch.no_grad():
        model.model.leave[2].weight.mul_(100)
    pictures = model.draw(2)
    assert pictures.shape == (2, 3, 16, 16)
    assert seen[0].abs().max() > 1
    assert pictures.abs().max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": labels(1, 2)}, r"condition must have 3 rows, .* got 2 of class_labels"),
        ({"condition": labels(11)}, r"class_labels must be from 0 to 10, got 11"),
        ({"num_steps": 0}, "num_steps must .* got 0"),
        ({"num_steps": 101}, "num_steps must .*100.* got 101"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        trained().draw(3, **options)


def test_guidance_needs_a_condition():
    with pytest.raises(ValueError, match=r"guidance 2 strengthens a condition, and there is none"):
        trained(classes=()).draw(1, guidance=2)


@pytest.mark.parametrize(("word", "number"), [("7", 7), (7, 7), ("0", 0)])
def test_a_label_by_number(word, number):
    assert trained().label(word) == number


def test_a_label_by_name():
    model = trained(("ant", "bee"))
    assert (model.label("bee"), model.label(0)) == (1, 0)
    with pytest.raises(ValueError, match=r"label must be one of ant, bee, .* got 'cat'"):
        model.label("cat")
    with pytest.raises(ValueError, match="a number below 2; got '2'"):
        model.label(2)
    with pytest.raises(ValueError, match="knows no classes"):
        trained(()).label("ant")


# --- on disk


@pytest.mark.parametrize("classes", [DIGITS, ()], ids=["classes", "no classes"])
@pytest.mark.parametrize("make", [trained, pipeline_like])
def test_what_is_saved_comes_back_whole(make, classes, tmp_path):
    model = make(classes)
    save_trained(model, tmp_path)
    back = load_trained(tmp_path)
    assert back[2:6] == model[2:6]
    assert torch.equal(back.schedule.alphas_cumprod, model.schedule.alphas_cumprod)
    assert torch.equal(back.draw(2, seed=1), model.draw(2, seed=1))
    if classes:
        told = {"condition": labels(4), "guidance": 2.0}
        assert torch.equal(back.draw(2, **told), model.draw(2, **told))


def test_diffusers_loads_the_folder_without_the_course(tmp_path):
    model = pipeline_like(DIGITS)
    save_trained(model, tmp_path)
    pipeline = DDPMPipeline.from_pretrained(tmp_path)
    x_t, timesteps = torch.zeros(2, 3, 8, 8), torch.tensor([3, 3])
    ours, theirs = (
        net(x_t, timesteps, class_labels=torch.tensor([1, 9])).sample
        for net in (model.model, pipeline.unet)
    )
    assert torch.equal(ours, theirs)
    assert pipeline.scheduler.config.timestep_spacing == "trailing"


def test_a_run_from_before_there_was_a_note_still_loads(tmp_path):
    """Such a folder holds recipe.json and the weights of a `UNet`."""
    model = trained(())
    save_trained(model, tmp_path)
    (tmp_path / NOTE).unlink()
    recipe = {
        "data": {"source": "butterflies", "size": 8},
        "model": {"channels": [8, 16], "num_blocks": 1, "patch_size": 2, "attention": []},
        "schedule": {"name": "straight", "prediction_type": "v_prediction"},
        "sampler": {"num_steps": 5, "order": 1, "eta": 0.5},
    }
    three = awake(UNet(3, channels=(8, 16)))
    save_trained(model._replace(model=three, shape=(3, 8, 8)), tmp_path / "other")
    (tmp_path / "other" / NOTE).unlink()
    note = json.dumps({"seed": 0, "recipe": recipe})
    (tmp_path / "other" / "recipe.json").write_text(note, encoding="utf-8")
    back = load_trained(tmp_path / "other")
    assert (back.shape, back.sampler) == ((3, 8, 8), Sampler(5, 1, 0.5))
    assert len(back.schedule) == 1000
    pairs = zip(back.model.parameters(), three.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(FileNotFoundError, match="holds no trained model: train one"):
        load_trained(tmp_path / "nowhere")


def test_a_network_or_schedule_that_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"only a UNet, or a UNet2DModel .* got Linear"):
        save_trained(trained()._replace(model=nn.Linear(1, 1)), tmp_path)
    with pytest.raises(ValueError, match="on the linear or cosine schedule"):
        save_trained(pipeline_like()._replace(schedule=NoiseSchedule.straight()), tmp_path)
    with pytest.raises(ValueError, match="only the schedules linear, cosine, straight"):
        save_trained(trained()._replace(schedule=NoiseSchedule.linear(9, 0.1, 0.2)), tmp_path)


@pytest.mark.parametrize("note", ["{}", "[]", "{", '{"schedule": "__class__"}', '{"network": 3}'])
def test_a_damaged_note_is_an_error_that_says_so(note, tmp_path):
    save_trained(trained(), tmp_path)
    (tmp_path / NOTE).write_text(note, encoding="utf-8")
    with pytest.raises(ValueError, match="holds a damaged model"):
        load_trained(tmp_path)


def test_the_sampler_refuses_what_it_cannot_do():
    assert asdict(Sampler()) == {"num_steps": 20, "order": 2, "eta": 0.0, "guidance": 1.0}
    for wrong in ({"order": 3}, {"eta": 0.5}, {"eta": 2.0, "order": 1}, {"num_steps": 0}):
        with pytest.raises(ValueError, match="must"):
            Sampler(**wrong)


def test_a_label_that_is_none_is_named_for_diffusers_networks_too():
    with pytest.raises(ValueError, match="class_labels must be from 0 to 10, got -1"):
        pipeline_like(DIGITS).draw(1, condition=labels(-1))


# --- the weights that ship


def test_the_parrot_that_ships_repeats_its_twenty_digits():
    seen = load_digits("train", "offline").first(20).images
    drawn = load_trained(PRETRAINED / "digits-parrot").draw(40, num_steps=16)
    assert find_copies(drawn, seen).rate > 0.9


def test_the_digits_that_ship_are_new_and_near_to_real_ones():
    seen, held = (load_digits(split, "offline").images for split in ("train", "test"))
    drawn = load_trained(PRETRAINED / "digits").draw(200, num_steps=16)
    assert find_copies(drawn, seen).rate < 0.05
    floor = frechet_distance(seen[:200], held)
    assert frechet_distance(drawn, held) < 4 * floor


@pytest.mark.parametrize("name", ["digits-classes", "butterflies-32-classes"])
def test_what_ships_for_classes_draws_them_and_is_a_pipeline_of_diffusers(name):
    shipped = load_trained(PRETRAINED / name)
    told = labels(*range(len(shipped.classes)), *range(len(shipped.classes)))
    guidance = shipped.sampler.guidance
    drawn = shipped.draw(len(told["class_labels"]), condition=told, guidance=guidance, num_steps=12)
    assert agreement(drawn, told["class_labels"]) >= 0.9
    unet = DDPMPipeline.from_pretrained(PRETRAINED / name).unet
    x_t, timesteps, one = torch.randn(1, *shipped.shape), torch.tensor([500]), labels(3)
    assert torch.equal(
        unet(x_t, timesteps, **one).sample, call_model(shipped.model, x_t, timesteps, one)
    )


def test_a_pipeline_is_loaded_without_a_bar_and_bars_stay_as_they_were(capfd):
    load_trained(PRETRAINED / "butterflies-32")
    assert "Loading" not in "".join(capfd.readouterr())
    assert diffusers_logging.is_progress_bar_enabled()
