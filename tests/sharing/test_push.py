"""A run's folder goes to the Hub whole and comes back the same, over HTTP; and refusals."""

import os
import subprocess
import sys

import pytest
import torch
from diffusers import DDPMPipeline
from tiny import tiny_pipeline
from writable_hub import WritableHub

TOKEN = "hf_secretSECRETsecret"


@pytest.fixture
def run(tmp_path):
    """A folder as `train` leaves it."""
    folder = tmp_path / "run"
    tiny_pipeline().save_pretrained(folder)
    (folder / "README.md").write_text('load "your-name/run"', encoding="utf-8")
    (folder / "samples").mkdir()
    (folder / "samples" / "step-000000010.png").write_bytes(b"png")
    (folder / "checkpoints" / "step-000000010").mkdir(parents=True)
    (folder / "checkpoints" / "step-000000010" / "model.safetensors").write_bytes(b"large")
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def hub():
    with WritableHub() as hub:
        yield hub


def push(hub, folder, *options, tmp_path, token=TOKEN, stdin=subprocess.DEVNULL):
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": token,
    }
    command = [sys.executable, "-m", "course_utils.cli", "push", "--model", str(folder)]
    command += ["--repo-id", "me/butterflies", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=stdin)


def test_a_pushed_run_loads_back_over_http(hub, run, tmp_path):
    done = push(hub, run, "--yes", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/me/butterflies" in done.stdout
    sent = set(hub.repos["me/butterflies"])
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= sent
    assert "samples/step-000000010.png" in sent
    assert not [name for name in sent if "checkpoints" in name or ".lock" in name]
    for name in sent:  # shown before it was sent
        assert name.replace("/", os.sep) in done.stdout
    assert hub.repos["me/butterflies"]["README.md"] == b'load "me/butterflies"'
    assert hub.tokens <= {f"Bearer {TOKEN}", None}
    assert TOKEN not in done.stdout + done.stderr

    code = (
        "import sys; from diffusers import DDPMPipeline;"
        "DDPMPipeline.from_pretrained('me/butterflies').save_pretrained(sys.argv[1])"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "other")}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    back = tmp_path / "back"
    subprocess.run([sys.executable, "-c", code, str(back)], env=environment, check=True)
    theirs, ours = (DDPMPipeline.from_pretrained(f).unet.state_dict() for f in (back, run))
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_nothing_is_sent_without_a_yes(hub, run, tmp_path):
    done = push(hub, run, tmp_path=tmp_path)
    assert done.returncode == 1
    assert "add --yes" in done.stderr
    assert not hub.asked


@pytest.mark.parametrize(
    ("where", "status", "headers", "words"),
    [
        ("create", 401, {}, "log in anew"),
        ("commit", 403, {}, "write access"),
        ("commit", 409, {}, "somebody else"),
        ("create", 429, {"Retry_After": 1}, "wait 1 s"),
        ("PUT /lfs", 500, {}, "try again later"),
        ("commit", None, {}, "the connection to the Hub broke"),
    ],
)
def test_a_refusal_is_one_clear_line(hub, run, tmp_path, where, status, headers, words):
    hub.refuse(where, status, **headers)
    before = sorted(path for path in run.rglob("*"))
    done = push(hub, run, "--yes", tmp_path=tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert words in line
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert sorted(path for path in run.rglob("*")) == before
    hub.refusals.clear()
    assert push(hub, run, "--yes", tmp_path=tmp_path).returncode == 0


def test_nobody_is_logged_in(hub, run, tmp_path):
    done = push(hub, run, "--yes", tmp_path=tmp_path, token="")
    assert done.returncode == 1
    assert "hf auth login" in done.stderr


def test_a_folder_without_a_model_is_not_sent(hub, tmp_path):
    done = push(hub, tmp_path, "--yes", tmp_path=tmp_path)
    assert done.returncode == 1
    assert "holds no pipeline" in done.stderr
