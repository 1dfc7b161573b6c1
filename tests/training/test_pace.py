"""A budget in seconds becomes steps at the machine's pace, and nothing else changes."""

import copy

import pytest
import torch

from course_utils import BasicUNet, UNet, steps_in, steps_within
from course_utils.training import pace


class SlowClock:
    """A clock on which every training step takes `seconds`: it moves on each second look."""

    def __init__(self, seconds):
        self.seconds, self.looks = seconds, 0

    def perf_counter(self):
        self.looks += 1
        return self.looks // 2 * self.seconds


@pytest.fixture
def clock(monkeypatch):
    def set_to(seconds):
        monkeypatch.setattr(pace, "time", SlowClock(seconds))

    return set_to


X0 = torch.zeros(2, 1, 8, 8)


def unet():
    torch.manual_seed(0)
    return UNet(channels=(8,))


@pytest.mark.parametrize(
    ("seconds_per_step", "num_steps"), [(0.1, 1000), (0.2, 500), (0.3, 330), (0.011, 9000)]
)
def test_the_steps_follow_the_machine(clock, capsys, seconds_per_step, num_steps):
    clock(seconds_per_step)
    assert steps_within(100, unet(), X0, optimizer="muon") == num_steps
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{num_steps:,} steps, about {num_steps * seconds_per_step:.0f} s" in line


def test_what_else_is_to_fit_makes_a_slower_machine_train_less(clock):
    """Training and the rest, which costs 100 steps: the whole takes as long on both machines."""
    totals = []
    for seconds in (0.1, 0.2):
        clock(seconds)
        totals.append((steps_within(100, unet(), X0, beside=100) + 100) * seconds)
    assert totals == pytest.approx([100, 100])


def test_a_slow_machine_trains_a_little(clock):
    clock(50.0)
    assert steps_within(100, unet(), X0, beside=10) == 20
    assert steps_within(100, unet(), X0, beside=10, least=3) == 3


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_model_and_chance_stay_as_they_are(optimizer, capsys):
    model = unet().eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    steps_within(0.1 if optimizer == "adamw" else 1, model, X0, optimizer=optimizer)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(weights.grad is None for weights in model.parameters())
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name])


def test_any_training_is_timed_by_seven_of_its_steps(clock):
    clock(0.5)
    asked = []
    assert steps_in(50, (asked.append(step) for step in range(9)), beside=20) == 80
    assert len(asked) == 7


def test_it_times_the_network_of_diffusers_and_the_toy(capsys):
    from diffusers import UNet2DModel

    small = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    for model in (small, BasicUNet()):
        assert steps_within(1, model, X0) >= 20


@pytest.mark.parametrize("seconds", [0, -3.0, float("nan")])
def test_a_budget_that_is_none_is_named(seconds):
    with pytest.raises(ValueError, match="seconds must be above 0, got"):
        steps_within(seconds, unet(), X0)
