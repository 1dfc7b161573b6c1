"""Deadlines that follow the machine: all are written for a recent one, and grow on a slower one."""

import time
from functools import cache

import torch

USUAL = 0.008  # seconds that the work below takes on one core of a recent server


@cache
def pace() -> float:
    """How many times slower this machine is, 1 at least: in Python or in products of matrices."""
    return max(1.0, min(_seconds_of_work() for _ in range(5)) / USUAL)


def patience(seconds: float) -> float:
    """The deadline on this machine."""
    return seconds * pace()


def _seconds_of_work() -> float:
    started = time.perf_counter()
    sum(i * i for i in range(100_000))
    square = torch.ones(384, 384)
    for _ in range(8):
        square @ square
    return time.perf_counter() - started
