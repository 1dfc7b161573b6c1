"""Device, seeds, profile, headless or not, and where files go."""

import os
import random
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch

from course_utils import NoiseSchedule, UNet, diffusion_loss, runtime, sample
from course_utils.runtime import fast_arithmetic


def test_the_device_is_the_fastest_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert runtime.pick_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert runtime.pick_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.pick_device() == torch.device("cuda")


def test_a_seed_fixes_all_three_states_and_a_generator_of_its_own():
    def draw(seed):
        generator = runtime.seed_everything(seed)
        globals_ = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
        return *globals_, torch.rand(1, generator=generator).item()

    first, second, other = draw(3), draw(3), draw(4)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert runtime.seed_everything(0).device.type == "cpu"


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**32, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_bad_seed_is_named(no_shape_checks, seed, error):
    with pytest.raises(error, match=f"seed must .*got {seed}"):
        runtime.seed_everything(seed)


def test_the_profile_is_what_was_said_then_the_environment_then_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    assert runtime.pick_profile() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.pick_profile() == "gpu"
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    assert runtime.pick_profile("auto") == "smoke"
    assert runtime.pick_profile("cpu") == "cpu"


def test_an_unknown_profile_is_named_with_its_origin(monkeypatch):
    with pytest.raises(ValueError, match="profile must be auto, smoke, cpu, gpu; got 'fast'"):
        runtime.pick_profile("fast")
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    with pytest.raises(ValueError, match=r"COURSE_PROFILE must be .*got 'quick'"):
        runtime.pick_profile()


class Shell:
    def __init__(self, allow_stdin):
        self.kernel = type("Kernel", (), {"_allow_stdin": allow_stdin})()


@pytest.mark.parametrize("watched", [True, False])
def test_headless_is_a_kernel_that_may_not_ask(monkeypatch, watched):
    module = type(sys)("IPython")
    module.get_ipython = lambda: Shell(allow_stdin=watched)
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert runtime.is_headless() is not watched


def test_a_script_without_a_terminal_is_headless():
    code = "from course_utils.runtime import is_headless; print(is_headless())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "True"


def test_output_dir_is_made_here_or_in_the_temp_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runtime.output_dir("mine").resolve() == tmp_path / "runs" / "mine"
    assert (tmp_path / "runs" / "mine").is_dir()
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "runs").write_text("a file where the folder should be")
    monkeypatch.chdir(blocked)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    assert runtime.output_dir("mine") == tmp_path / "temp" / "diffusion-course" / "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_output_dir_leaves_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert runtime.output_dir("mine").is_absolute()
    tmp_path.chmod(stat.S_IRWXU)


def capable(monkeypatch, able=True):
    """As if the processor were made for bfloat16, and nothing kept the libraries from using it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_what_the_environment_forbids_is_not_used(name, monkeypatch):
    capable(monkeypatch)
    for allowed in ("ALL", "AVX512_CORE_AMX", "AVX512_CORE_BF16"):
        monkeypatch.setenv(name, allowed)
        assert runtime.has_bfloat16("cpu")
    monkeypatch.setenv(name, "AVX2")
    assert not runtime.has_bfloat16("cpu")
    monkeypatch.delenv(name)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not runtime.has_bfloat16("cpu")


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_used_where_the_processor_is_made_for_it(able, monkeypatch):
    capable(monkeypatch, able)
    a = torch.eye(4)
    with fast_arithmetic("cpu"):
        assert (a @ a).dtype is (torch.bfloat16 if able else torch.float32)
    assert (a @ a).dtype is torch.float32


def test_fast_arithmetic_sees_the_weights_change(monkeypatch):
    """torch.autocast remembers rounded weights until its block ends, unless told otherwise."""
    capable(monkeypatch)
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with fast_arithmetic("cpu"):
        before = layer(x)
        with torch.no_grad():
            layer.weight += 1
        assert (layer(x) - before).mean().item() == pytest.approx(4, abs=0.1)


def test_an_older_torch_that_cannot_tell_stays_with_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    with fast_arithmetic(torch.device("cpu")):
        assert (torch.eye(2) @ torch.eye(2)).dtype is torch.float32


def test_pictures_and_losses_are_float32_in_fast_arithmetic(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    model, schedule = UNet(channels=(8,)), NoiseSchedule.straight(10)
    x_T = torch.randn(2, 1, 8, 8)
    for prediction_type in ("sample", "v_prediction"):
        options = {"prediction_type": prediction_type}
        with fast_arithmetic("cpu"):
            (*_, last) = sample(model, schedule, x_T, num_steps=3, **options)
            loss = diffusion_loss(model, schedule, x_T, **options)
        assert last.x_t.dtype is last.x0_pred.dtype is loss.dtype is torch.float32
