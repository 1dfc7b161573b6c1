"""What keeps a learner's function from harm: a time limit, and random states that come back."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from course_utils.runtime import pick_device


class OutOfTime(BaseException):
    """Raised inside a function that took too long; `except Exception` does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises OutOfTime inside the block after this many seconds; Ctrl-C works as ever.

    An alarm, which also ends a long sleep. Windows has none, nor have threads other than the main
    one: there is no limit there.
    """
    main = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if main and hasattr(signal, "setitimer") else nullcontext():
        yield


@contextmanager
def _alarm(seconds):
    def ring(signum, frame):
        raise OutOfTime

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # again, if it is swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # someone else's alarm, such as a test's timeout
            left = max(left - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def kept_random_states() -> Iterator[None]:
    """After the block the global random states are what they were before it."""
    kept = [(put, get()) for get, put in _sources()]
    try:
        yield
    finally:
        for put, state in kept:
            put(state)


def next_numbers() -> tuple:
    """What the global random states would give next: other numbers once somebody has drawn."""
    with kept_random_states():
        devices = dict.fromkeys(["cpu", pick_device().type])
        tensors = [torch.rand(1, device=device).item() for device in devices]
        return random.random(), np.random.random(), *tensors  # noqa: NPY002 - the global state


def _sources():
    yield random.getstate, random.setstate
    yield np.random.get_state, np.random.set_state
    yield torch.get_rng_state, torch.set_rng_state
    if torch.cuda.is_available():
        yield torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all
    if torch.backends.mps.is_available():
        yield torch.mps.get_rng_state, torch.mps.set_rng_state
