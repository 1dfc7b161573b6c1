"""Where and how the course runs: device, seeds, profile, headless or not, where files go."""

import os
import platform
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from course_utils.checks import check_int

PROFILES = ("smoke", "cpu", "gpu")
PRETRAINED = Path(__file__).parent / "pretrained"  # the weights that ship with the package


def pick_device() -> torch.device:
    """The fastest device at hand: cuda, then mps, then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether the hardware is made for bfloat16: NVIDIA's GPUs since Ampere, CPUs with AVX-512 BF16
    or AMX, unless the environment keeps the libraries from using these."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    allowed = (os.environ.get(name) or "ALL" for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    if kind != "cpu" or not all(re.search("BF16|FP16|AMX|AVX10|ALL|DEFAULT", a) for a in allowed):
        return False
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # or by ATEN_CPU_CAPABILITY
        return False
    list_all = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.11 or so
    return any(list_all().get(k) for k in ("avx512_bf16", "amx_bf16"))


def fast_arithmetic(device: torch.device | str) -> torch.autocast:
    """`with fast_arithmetic(device):` multiplies in bfloat16 where the hardware is made for it.

    Elsewhere, and outside of convolutions and matrix products, numbers stay float32. A
    whole training loop may stand inside the block: weights are rounded anew at each use.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=has_bfloat16(device), cache_enabled=False)


def seed_everything(seed: int) -> torch.Generator:
    """Seed python, numpy and torch; return a CPU generator with the same seed.

    Raises TypeError unless `seed` is an int, ValueError unless 0 <= seed < 2**32 (numpy's range).
    """
    check_int("seed", seed, 0, 2**32 - 1)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global state
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def pick_profile(profile: str = "auto") -> str:
    """`"smoke"`, `"cpu"` or `"gpu"`: how long a notebook trains.

    `"auto"` is the environment variable COURSE_PROFILE where it is set, else `"gpu"` where CUDA
    is there, else `"cpu"`. Raises ValueError for any other name.
    """
    origin = "profile"
    if profile == "auto":
        origin = "COURSE_PROFILE"
        profile = os.environ.get("COURSE_PROFILE") or "auto"
    if profile == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if profile not in PROFILES:
        raise ValueError(f"{origin} must be auto, {', '.join(PROFILES)}; got {profile!r}")
    return profile


def is_headless() -> bool:
    """True where nobody watches: a script without a terminal, or a kernel that papermill drives.

    A front end lets the kernel ask the user for input; papermill, nbval and nbconvert do not.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return not sys.stderr.isatty()
    return not getattr(kernel, "_allow_stdin", True)


def output_dir(name: str) -> Path:
    """A folder `runs/name` that exists and can be written to; in the temp folder if not here."""
    for root in (Path("runs"), Path(tempfile.gettempdir(), "diffusion-course")):
        try:
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    raise OSError(f"no writable folder for {name!r}: start the notebook where you may write")


def trained_folder(name: str | Path) -> Path:
    """The folder itself, or that of the weights of this name that ship.

    Raises FileNotFoundError where there is neither.
    """
    for folder in (Path(name).expanduser(), PRETRAINED / name):
        if folder.is_dir():
            return folder
    shipped = ", ".join(sorted(path.name for path in PRETRAINED.iterdir() if path.is_dir()))
    raise FileNotFoundError(
        f"no folder {str(name)!r}: give that of a trained model, or a name that ships: {shipped}"
    )


def hardware() -> str:
    """The GPU, or the processor and the number of threads; and torch's version."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Without the bar of diffusers: what is loaded here takes no time."""
    from diffusers.utils import logging

    with _no_bar(logging):
        yield


@contextmanager
def quiet_loading() -> Iterator[None]:
    """The same, and without transformers' bar and its remarks on what is not installed."""
    from transformers.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with quiet_diffusers(), _no_bar(logging):
            yield
    finally:
        logging.set_verbosity(said)


@contextmanager
def _no_bar(logging) -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
