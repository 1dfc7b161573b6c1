"""Arguments to try a function on, and what came of it."""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_utils.exercises.judge.limits import kept_random_states, next_numbers, time_limit
from course_utils.runtime import pick_device


@dataclass(frozen=True)
class Draw:
    """Makes arguments of one dtype on one device; what is random is fresh at each check."""

    dtype: torch.dtype
    device: torch.device
    seed: int

    def __post_init__(self):
        object.__setattr__(self, "_source", torch.Generator().manual_seed(self.seed))

    def tensor(self, *values: Any) -> Tensor:
        """The values as floats: the small, readable example."""
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Bell-shaped numbers around 0."""
        x = torch.randn(shape, generator=self._source, dtype=self.dtype)
        return x.to(self.device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers between low and high."""
        x = torch.rand(shape, generator=self._source, dtype=self.dtype)
        return (low + (high - low) * x).to(self.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return torch.randint(low, high, shape, generator=self._source).to(self.device)

    def generator(self) -> torch.Generator:
        """A generator for the learner to draw from."""
        return torch.Generator(self.device).manual_seed(int(self.integers(0, 2**31, 1)))


def draws(seed: int) -> Iterator[Draw]:
    """One Draw for each dtype and device that is there."""
    for device in dict.fromkeys([torch.device("cpu"), pick_device()]):
        for dtype in (torch.float32, torch.float64):
            if device.type != "mps" or dtype != torch.float64:  # which has no float64
                yield Draw(dtype, device, seed)


class Trial(NamedTuple):
    """What a function made of its arguments: a value or an error, and its side effects."""

    value: Any
    error: BaseException | None = None
    changed: tuple[int, ...] = ()  # the places of the arguments that are not what they were
    drew: bool = False  # from the global random state


def try_out(function: Callable, arguments: tuple, seconds: float = 60.0) -> Trial:
    """Call the function on copies; whatever it raises, but for Ctrl-C, is kept, not raised."""
    given = fresh(arguments)
    with kept_random_states(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, value, error = next_numbers(), None, None
        try:
            with time_limit(seconds):
                value = function(*given)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            error = raised
        drew = next_numbers() != before
    pairs = enumerate(zip(arguments, given, strict=True))
    changed = tuple(i for i, (old, new) in pairs if _differ(old, new))
    return Trial(value, error, changed, drew)


def fresh(value: Any) -> Any:
    """A copy that shares nothing, with the same dtype, device and random state."""
    if isinstance(value, tuple):
        return tuple(fresh(part) for part in value)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    return copy.deepcopy(value)


def _differ(old, new):
    if not isinstance(old, Tensor):
        return False
    return old.shape != new.shape or old.dtype != new.dtype or not torch.equal(old, new)
