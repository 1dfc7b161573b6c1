"""Calling a network: conditions pass, answers are unpacked, and dropout rests while drawing."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from course_utils import NoiseSchedule, loss_per_level, sample
from course_utils.models import call_model, evaluation_mode
from course_utils.models.calling import networks_of


class Dropping(nn.Module):
    """Answers 0 at rest; in training mode, and so in a draw that forgot to switch it off, 1."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Dropout(0.5)
        self.asked = []

    def forward(self, x_t, timesteps, class_labels=None):
        self.asked.append(self.inner.training)
        return torch.full_like(x_t, float(self.inner.training))


GLOBAL = Dropping()


def by_name(x_t, timesteps):
    return GLOBAL(x_t, timesteps)


def by_a_helper(x_t, timesteps):
    return by_name(x_t, timesteps)


class Guide:
    """Not a module, but it holds one."""

    def __init__(self, network):
        self.network = network

    def __call__(self, x_t, timesteps):
        return self.network(x_t, timesteps)

    def answer(self, x_t, timesteps):
        return self.network(x_t, timesteps)


WRAPPED = {
    "itself": lambda network: network,
    "partial": lambda network: partial(network, class_labels=torch.tensor([1])),
    "closure": lambda network: lambda x, t: network(x, t),
    "closure of a closure": lambda network: (lambda f: lambda x, t: f(x, t))(
        lambda x, t: network(x, t)
    ),
    "partial of a function": lambda network: partial(lambda net, x, t: net(x, t), network),
    "default": lambda network: lambda x, t, net=network: net(x, t),
    "method": lambda network: Guide(network).answer,
    "object": Guide,
    "global name": lambda network: by_name,
    "helper of a global name": lambda network: by_a_helper,
}
each_way = pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)


@each_way
def test_dropout_rests_however_the_network_is_wrapped(wrap):
    network = GLOBAL if wrap(nn.Identity()) in (by_name, by_a_helper) else Dropping()
    network.train()
    network.inner.train()
    network.asked.clear()
    schedule, x_T = NoiseSchedule.straight(10), torch.zeros(1, 1, 2, 2)
    *_, last = sample(wrap(network), schedule, x_T, num_steps=2, prediction_type="sample")
    assert network.asked == [False, False]
    assert (last.x_t == 0).all()
    assert network.training
    assert network.inner.training


@each_way
def test_the_loss_of_each_level_is_measured_at_rest(wrap):
    network = GLOBAL if wrap(nn.Identity()) in (by_name, by_a_helper) else Dropping()
    network.train()
    network.asked.clear()
    loss_per_level(wrap(network), NoiseSchedule.cosine(10), torch.zeros(2, 1, 2, 2), [1, 8])
    assert network.asked == [False, False]
    assert network.training


def test_what_rested_before_rests_afterwards():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1))
    network[1].eval()  # frozen, as in fine-tuning
    with evaluation_mode(network):
        assert not network[0].training
    assert network.training
    assert network[0].training
    assert not network[1].training


def test_it_comes_back_after_an_error():
    network = nn.Dropout()
    with pytest.raises(RuntimeError, match="boom"), evaluation_mode(network):
        raise RuntimeError("boom")
    assert network.training


def test_a_function_without_a_network_needs_no_mode():
    assert networks_of(lambda x, t: x.sin()) == []
    assert networks_of(torch.sin) == []


def test_a_function_that_names_itself_ends():
    def again(x, t):
        return x if t is None else again(x, None)

    assert networks_of(again) == []


def test_the_condition_goes_by_the_models_keyword():
    heard = {}

    def model(x_t, timesteps, **condition):
        heard.update(condition)
        return SimpleNamespace(sample=x_t.double())

    x_t, labels = torch.zeros(2, 1, 4, 4), torch.tensor([3, 4])
    answer = call_model(model, x_t, torch.tensor([1, 1]), {"class_labels": labels})
    assert answer.dtype == torch.float32
    assert heard == {"class_labels": labels}


def test_an_answer_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"the model's output must have the shape of its input"):
        call_model(lambda x, t: x[:, :1], torch.zeros(1, 3, 4, 4), torch.tensor([0]))
