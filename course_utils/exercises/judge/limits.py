"""What keeps a learner's function from harm: a time limit, and random states that come back."""

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OutOfTime(BaseException):
    """Raised inside a function that took too long; `except Exception` does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises OutOfTime inside the block after this many seconds; Ctrl-C works as ever.

    An alarm in the main thread of Linux and macOS: it also ends a long sleep. Elsewhere a trace
    function, which looks at the clock at every line of Python.
    """
    main = threading.current_thread() is threading.main_thread()
    guard = _alarm if main and hasattr(signal, "setitimer") else _trace
    with guard(seconds):
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
def _trace(seconds):
    end, before = time.monotonic() + seconds, sys.gettrace()

    def look_at_the_clock(frame, event, argument):
        if time.monotonic() > end:
            raise OutOfTime
        return look_at_the_clock

    sys.settrace(look_at_the_clock)
    try:
        yield
    finally:
        sys.settrace(before)


def random_states() -> Any:
    """The global random states of python, numpy and torch, to compare."""
    return _frozen([get() for get, _ in _sources()])


def _frozen(state):
    if isinstance(state, torch.Tensor):
        state = state.cpu().numpy()
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, list | tuple) and len(state) < 100:  # python's 625 numbers stay
        return [_frozen(part) for part in state]
    return state


@contextmanager
def kept_random_states() -> Iterator[None]:
    """After the block the global random states are what they were before it."""
    kept = [(put, get()) for get, put in _sources()]
    try:
        yield
    finally:
        for put, state in kept:
            put(state)


def _sources():
    yield random.getstate, random.setstate
    yield np.random.get_state, np.random.set_state
    yield torch.get_rng_state, torch.set_rng_state
    if torch.cuda.is_available():
        yield torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all
    if torch.backends.mps.is_available():
        yield torch.mps.get_rng_state, torch.mps.set_rng_state
