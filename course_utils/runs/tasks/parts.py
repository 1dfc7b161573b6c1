"""The parts of a pipeline that lie in folders of runs, of pipelines, or ship."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

from course_utils.runtime import quiet_loading, trained_folder

MAKERS = {  # of each part, the recipe that leaves it
    "vae": "emoji-autoencoder-cpu",
    "text_encoder": "emoji-words-cpu",
    "tokenizer": "emoji-words-cpu",
}


class Parts(NamedTuple):
    """What stays as it is while the UNet between them is trained."""

    autoencoder: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    @property
    def fingerprint(self) -> str:
        """A hash of all weights and tokens."""
        digest = sha256(json.dumps(self.tokenizer.get_vocab(), sort_keys=True).encode())
        for module in self[:2]:
            for weights in module.state_dict().values():
                digest.update(weights.cpu().numpy().tobytes())
        return digest.hexdigest()


def open_parts(folders: Sequence[Path | str]) -> Parts:
    """Each from the first folder that has it. Raises FileNotFoundError for one that none has."""
    autoencoder = open_autoencoder(find_part(folders, "vae"))
    return Parts(autoencoder, *open_text_encoder(folders))


def open_autoencoder(folder: Path) -> AutoencoderKL:
    """At rest, and frozen."""
    with quiet_loading():
        return AutoencoderKL.from_pretrained(folder, use_safetensors=True).requires_grad_(False)


def open_text_encoder(folders: Sequence[Path | str]) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """At rest, and frozen; and its tokenizer."""
    encoder, tokenizer = (find_part(folders, part) for part in ("text_encoder", "tokenizer"))
    with quiet_loading():
        text_encoder = CLIPTextModel.from_pretrained(encoder, use_safetensors=True)
        return text_encoder.eval().requires_grad_(False), CLIPTokenizer.from_pretrained(tokenizer)


def config_of(folders: Sequence[Path | str], part: str) -> dict:
    """The settings of a part, without its weights."""
    return json.loads((find_part(folders, part) / "config.json").read_text(encoding="utf-8"))


def find_part(folders: Sequence[Path | str], part: str) -> Path:
    """Where the first of the folders has it."""
    for folder in map(trained_folder, folders):
        if (folder / part).is_dir():
            return folder / part
    raise FileNotFoundError(
        f"none of start.parts {', '.join(map(str, folders))} holds {part!r}: add the folder of a "
        f"run of {MAKERS[part]}, or 'emoji-stable-diffusion', which ships"
    )
