"""A run's folder goes to the Hub whole and comes back the same, over HTTP; and refusals."""

import json
import os
import subprocess
import sys
from itertools import takewhile
from typing import NamedTuple

import pytest
import torch
from diffusers import DDPMPipeline
from fake_hub import Hub
from tiny import tiny_pipeline

TOKEN = "hf_secretSECRETsecret"
# The command again and again in one process, where the Hub's client does not pause between tries.
WORKER = """
import json, os, sys, time
from course_utils.cli import main
time.sleep = lambda seconds: None
for line in sys.stdin:
    words, token = json.loads(line)
    os.environ["HF_TOKEN"] = token
    status = main(words)
    sys.stderr.flush()
    print(status, "END", sep="\\n", flush=True)
"""
END = "END\n"


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


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


@pytest.fixture(scope="module")
def server():
    with Hub() as hub:
        yield hub


@pytest.fixture
def hub(server):
    for what in (server.repos, server.paths, server.tokens, server.rules):
        what.clear()
    return server


def environment(hub, home):
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
    }
    return os.environ | settings


def words(folder, *options):
    return ["push", "--model", str(folder), "--repo-id", "me/butterflies", *options]


@pytest.fixture(scope="module")
def push(server, tmp_path_factory):
    """`push(folder, *options)`: its exit status, stdout and stderr."""
    home = tmp_path_factory.mktemp("home")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with open(home / "stderr", "w") as writing, open(home / "stderr") as errors:
        command, env = [sys.executable, "-c", WORKER], environment(server, home)
        worker = subprocess.Popen(command, env=env, stderr=writing, **pipes)

        def push(folder, *options, token=TOKEN):
            print(json.dumps([words(folder, *options), token]), file=worker.stdin, flush=True)
            *_, status = said = list(takewhile(lambda line: line != END, worker.stdout))
            return Done(int(status), "".join(said), errors.read())

        yield push
        worker.stdin.close()
        assert worker.wait() == 0


def test_a_pushed_run_loads_back_over_http(hub, run, tmp_path):
    env = environment(hub, tmp_path / "home") | {"HF_TOKEN": TOKEN}
    command = [sys.executable, "-m", "course_utils.cli", *words(run, "--yes")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
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
    back = tmp_path / "back"
    env = environment(hub, tmp_path / "other")
    subprocess.run([sys.executable, "-c", code, str(back)], env=env, check=True)
    theirs, ours = (DDPMPipeline.from_pretrained(f).unet.state_dict() for f in (back, run))
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_nothing_is_sent_without_a_yes(hub, run, push):
    done = push(run)
    assert done.status == 1
    assert "add --yes" in done.stderr
    assert not hub.paths


@pytest.mark.parametrize(
    ("where", "status", "headers", "said"),
    [
        ("create", 401, {}, "log in anew"),
        ("commit", 403, {}, "write access"),
        ("commit", 409, {}, "somebody else"),
        ("create", 429, {"Retry_After": 1}, "wait 1 s"),
        ("PUT /lfs", 500, {}, "try again later"),
        ("commit", None, {}, "the connection to the Hub broke"),
    ],
)
def test_a_refusal_is_one_clear_line(hub, run, push, where, status, headers, said):
    hub.refuse(where, status, **headers)
    before = sorted(run.rglob("*"))
    done = push(run, "--yes")
    assert done.status == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert said in line
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert sorted(run.rglob("*")) == before
    hub.rules.clear()
    assert push(run, "--yes").status == 0


def test_nobody_is_logged_in(hub, run, push):
    done = push(run, "--yes", token="")
    assert done.status == 1
    assert "hf auth login" in done.stderr


def test_a_folder_without_a_model_is_not_sent(hub, tmp_path, push):
    done = push(tmp_path, "--yes")
    assert done.status == 1
    assert "holds no pipeline" in done.stderr
