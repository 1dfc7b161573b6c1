"""Shared by the tests: a headless matplotlib, a seed, and shape checks that can be switched off."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more would wait for each other over small tensors

import jaxtyping
import matplotlib
import pytest
import torch

matplotlib.use("Agg")  # here, not in the environment: the notebooks' kernels draw inline


@pytest.fixture
def no_shape_checks():
    """Run as a user does, without beartype, so that the package's own errors show."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
