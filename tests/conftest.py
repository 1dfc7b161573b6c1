"""Shared by the tests: a headless matplotlib, a seed, and shape checks that can be switched off."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more would wait for each other over small tensors

import jaxtyping
import matplotlib
import pytest
import torch
from pace import patience

matplotlib.use("Agg")  # here, not in the environment: the notebooks' kernels draw inline


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """A test's deadline follows the machine."""
    if config.option.timeout is None and "PYTEST_TIMEOUT" not in os.environ:
        config.option.timeout = patience(float(config.getini("timeout")))


def pytest_xdist_auto_num_workers(config):
    """Two for the whole suite; what is chosen by hand runs here."""
    return 2 if config.args_source == pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that two workers end together; each takes whole files."""
    items.sort(key=lambda item: "notebook" not in item.keywords)


@pytest.fixture
def no_shape_checks():
    """Run as a user does, without beartype, so that the package's own errors show."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def as_the_command_runs():
    """In one thread, and without shape checks: tyro's MISSING is no path."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)
