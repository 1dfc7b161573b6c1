"""LoRA with `peft`: a trained network learns something new in a few numbers beside its weights.

A layer W x becomes W x + alpha / rank * B A x, where W rests and A and B are thin (Hu et al. 2022,
§4.1); of a convolution A has its kernel and B is 1 x 1. B starts at 0, so that nothing changes.
"""

import json
import re
from pathlib import Path

from torch import Tensor, nn

from course_utils.checks import check_int

ADAPTER = "pytorch_lora_weights.safetensors"  # diffusers' name for the file
PARTS = ("lora_A", "lora_B")
PREFIX, METADATA = "unet.", "lora_adapter_metadata"  # and its way to write in it


def add_lora(
    model: nn.Module,
    rank: int = 3,
    *,
    alpha: float | int | None = None,
    layers: list[str] | None = None,
) -> nn.Module:
    """Give the model's `layers` (None: `lora_layers`) adapters, in place; all else is frozen.

    `alpha` None is `rank`: a scale of 1. A is drawn from torch's own generator. Returns the model.
    Raises ValueError for a model that has adapters, or none of those layers, or rank below 1.
    """
    from peft import LoraConfig, inject_adapter_in_model

    check_int("rank", rank, 1)
    if has_lora(model):
        raise ValueError("model has a LoRA already: merge_lora(model) makes it plain again")
    chosen = lora_layers(model) if layers is None else layers
    known = dict(model.named_modules())
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        wanted = f"not {unknown}" if unknown else "it has no inner convolution or linear layer"
        raise ValueError(f"layers must name layers of the model, got {layers}: {wanted}")
    config = LoraConfig(r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=chosen)
    inject_adapter_in_model(config, model)
    return model


def lora_layers(model: nn.Module) -> list[str]:
    """The names of the convolutions and linear layers inside, where nearly all weights are.

    Not the first and last convolution, nor what is told the time or a class; no subclasses of
    `Conv2d` that do more than convolve.
    """
    layers = [(n, m) for n, m in model.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    convolutions = [n for n, m in layers if isinstance(m, nn.Conv2d)]
    outer = {*convolutions[:1], *convolutions[-1:]}
    return [name for name, _ in layers if name not in outer and not re.search("time|class", name)]


def has_lora(model: nn.Module) -> bool:
    """Whether `add_lora` or `load_lora` gave it adapters that are not merged."""
    return bool(_adapted(model))


def lora_strength(model: nn.Module, strength: float | int) -> None:
    """How much the adapters count: 1 as they were learned, 0 the network as it was before.

    Raises ValueError for a model without adapters.
    """
    for layer in _adapted(model, needed=True).values():
        layer.set_scale("default", strength)


def lora_weights(model: nn.Module) -> dict[str, Tensor]:
    """A and B of every adapter, by diffusers' names. Raises ValueError where there is none."""
    layers = _adapted(model, needed=True).items()
    parts = [(f"{n}.{p}", getattr(layer, p)["default"]) for n, layer in layers for p in PARTS]
    return {f"{PREFIX}{name}.weight": part.weight.detach() for name, part in parts}


def save_lora(model: nn.Module, folder: Path | str) -> Path:
    """Write the adapters as `folder/pytorch_lora_weights.safetensors`, in the form that diffusers
    loads. Raises ValueError for a model without adapters."""
    from safetensors.torch import save_file

    weights = {name: w.cpu().contiguous() for name, w in lora_weights(model).items()}
    layer = next(iter(_adapted(model).values()))
    settings = {"r": layer.r["default"], "lora_alpha": layer.lora_alpha["default"]}
    settings |= {"target_modules": sorted(_adapted(model))}
    note = json.dumps({PREFIX + name: value for name, value in settings.items()})
    path = Path(folder) / ADAPTER
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, {"format": "pt", METADATA: note})
    return path


def load_lora(model: nn.Module, folder: Path | str) -> nn.Module:
    """Give the model the adapters that `save_lora` wrote, in place; returns the model.

    Raises FileNotFoundError where there are none, ValueError where they do not fit the model.
    """
    from safetensors import safe_open

    path = Path(folder) / ADAPTER
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {ADAPTER}: save_lora(model, folder) writes it")
    with safe_open(path, "pt") as file:
        note = json.loads(file.metadata()[METADATA])
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    rank, alpha, layers = (note[PREFIX + k] for k in ("r", "lora_alpha", "target_modules"))
    add_lora(model, rank, alpha=alpha, layers=layers)
    for name, weights in lora_weights(model).items():
        if weights.shape != found[name].shape:
            merge_lora(model)
            was, wanted = tuple(found[name].shape), tuple(weights.shape)
            raise ValueError(f"{path} is for another model: {name} is {was}, not {wanted}")
        weights.copy_(found[name])
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Add the adapters into the weights, in place, at the strength that they have.

    A plain network again, all of which can be trained, with the names of before; returns it.
    Raises ValueError for a model without adapters.
    """
    for name, layer in _adapted(model, needed=True).items():
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer.get_base_layer())
    del model.peft_config
    return model.requires_grad_(True)


def _adapted(model: nn.Module, needed: bool = False) -> dict[str, nn.Module]:
    """The layers with adapters, by name."""
    found = {name: m for name, m in model.named_modules() if hasattr(m, "lora_A")}
    if needed and not found:
        raise ValueError("model has no LoRA: add_lora(model, rank) gives it one")
    return found
