"""A run's state on disk: written whole or not at all, checked when read, the last few kept."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn, optim

STATE = "state.json"


class Checkpoint(NamedTuple):
    """Tensors by file and name, and all else as JSON holds it."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write `folder/step-…`, then drop all but the newest `keep`.

    Raises OSError, such as for a full disk; then all that was there is there still.
    """
    from safetensors.torch import save

    files = {f"{name}.safetensors": save(part) for name, part in checkpoint.tensors.items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    state = {"step": checkpoint.step, "sha256": digests, "state": checkpoint.state}
    target = folder / f"step-{checkpoint.step:09d}"
    temporary = folder / ".part"  # what a killed run left there is overwritten
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, content in {**files, STATE: json.dumps(state).encode()}.items():
            write_file(temporary / name, content)
        shutil.rmtree(target, ignore_errors=True)  # there only if it was damaged
        os.replace(temporary, target)
        _to_disk(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound one, or None; and a line about each newer one that is damaged."""
    damaged = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            return _read(path), damaged
        except Exception as error:  # whatever is wrong in there, there is one before
            damaged.append(f"{path} is damaged ({error})")
    return None, damaged


def _read(path: Path) -> Checkpoint:
    from safetensors.torch import load

    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    tensors = {}
    for name, digest in state["sha256"].items():
        content = (path / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{name} is not what was written")
        tensors[Path(name).stem] = load(content)
    return Checkpoint(state["step"], tensors, state["state"])


def write_file(path: Path, content: bytes) -> None:
    """The whole file, or what was there before."""
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(content)
        _to_disk(temporary)
        os.replace(temporary, path)
        _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    if os.name == "nt":  # Windows has no handle for folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as safetensors can hold it."""
    return {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}


def optimizer_tensors(optimizer: optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers; its settings are the recipe's."""
    return {
        f"{index}.{name}": tensor.cpu().contiguous()
        for index, memory in optimizer.state_dict()["state"].items()
        for name, tensor in memory.items()
    }


def load_optimizer_tensors(optimizer: optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer with the same settings what `optimizer_tensors` took."""
    memory: dict[int, dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        index, name = place.split(".")
        memory.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": memory})
