"""Calling a network: with a condition, ours and diffusers' alike, and with dropout at rest."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from course_utils.checks import check_same_shape
from course_utils.schedule import Images, Timesteps

Condition = Mapping[str, Tensor]
"""What pictures are told to be, a row for each: by the model's keyword, in diffusers' words,
`{"class_labels": (B,)}` or `{"encoder_hidden_states": (B, L, D)}`."""


def call_model(
    model: Callable, x_t: Images, timesteps: Timesteps, condition: Condition | None = None
) -> Images:
    """`model(x_t, timesteps, **condition)` as a tensor of x_t's dtype.

    A diffusers model's `.sample` is taken out. Raises ValueError where its shape is not x_t's.
    """
    model_output = model(x_t, timesteps, **(condition or {}))
    model_output = getattr(model_output, "sample", model_output)
    check_same_shape("the model's output", model_output, "its input", x_t)
    return model_output.to(x_t.dtype)


@contextmanager
def evaluation_mode(model: Callable) -> Iterator[None]:
    """Dropout and its kin rest inside the block; afterwards each module is as it was.

    `model` may be a network, or a function around networks, such as `partial(network, …)`.
    """
    networks = networks_of(model)
    awake = [module for network in networks for module in network.modules() if module.training]
    try:
        for module in awake:
            module.training = False
        yield
    finally:
        for module in awake:
            module.training = True


def networks_of(model: Callable) -> list[nn.Module]:
    """The network itself, or those that a function holds: in a partial, a method or a closure,
    or by the name of a global variable of its module."""
    found, waiting, seen = [], [model], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            found.append(thing)
        else:
            waiting += filter(callable, _held_by(thing))
    return found


def _held_by(thing: Callable) -> list:
    """What a function may call on its way."""
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if not inspect.isfunction(thing):
        return [v for v in getattr(thing, "__dict__", {}).values() if isinstance(v, nn.Module)]
    names = inspect.getclosurevars(thing)
    near = [v for v in names.globals.values() if _is_near(v, thing)]
    return [*near, *names.nonlocals.values(), *(thing.__defaults__ or ())]


def _is_near(value: object, function: Callable) -> bool:
    """A network, or a function of the same module: a library's functions are not looked into."""
    if inspect.isfunction(value):
        return value.__module__ == function.__module__
    return isinstance(value, nn.Module | partial)
