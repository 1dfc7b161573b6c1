"""Sharing: a model's folder on the Hub, whole, and what to do where the Hub refuses."""

from pathlib import Path

SAVED = ("model_index.json", "model.safetensors", "vae/config.json", "text_encoder/config.json")
KEPT_BACK = ("checkpoints", "__pycache__")
ADVICE = {
    401: "it does not know your token: log in anew with `hf auth login`",
    403: "your token may not write there: take one with write access, and a name of your own",
    404: "there is no such place: the name must be your-name/your-model",
    409: "somebody else is changing it at this moment: try again",
    429: "too many questions: wait {wait}, and try again",
}


def files_to_share(folder: Path | str) -> list[Path]:
    """All files of a saved model, but for checkpoints and hidden files.

    Raises FileNotFoundError where the folder holds no saved model.
    """
    folder = Path(folder)
    check_saved_model(folder)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    inside = [(path, path.relative_to(folder).parts) for path in files]
    return [p for p, parts in inside if parts[0] not in KEPT_BACK and not _hidden(parts)]


def check_saved_model(folder: Path) -> None:
    """Raises FileNotFoundError where the folder holds no pipeline, part of one, or `UNet`."""
    if not any((folder / name).is_file() for name in SAVED):
        raise FileNotFoundError(
            f"folder {str(folder)!r} holds no pipeline (no model_index.json): "
            "save one there with pipeline.save_pretrained"
        )


def share(folder: Path | str, repo_id: str, *, private: bool = False) -> str:
    """Upload `files_to_share` to the Hub's `repo_id` ("your-name/name"); returns its address.

    Raises FileNotFoundError where the folder holds no saved model, PermissionError where nobody is
    logged in or the Hub refuses, ConnectionError where it fails.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    folder = Path(folder)
    files = [path.relative_to(folder).as_posix() for path in files_to_share(folder)]
    if get_token() is None:
        raise PermissionError(
            "nobody is logged in to the Hub: run `hf auth login`, or in a notebook `from "
            "huggingface_hub import notebook_login; notebook_login()`, with a token that may write"
        )
    card = folder / "README.md"
    if card.exists():
        text = card.read_text(encoding="utf-8").replace(f"your-name/{folder.name}", repo_id)
        card.write_text(text, encoding="utf-8")
    api = HfApi()
    try:
        address = api.create_repo(repo_id, exist_ok=True, private=private)
        api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=files)
    except ValueError:  # a name that can't be one
        raise
    except Exception as error:  # of whichever HTTP library the Hub's client is built on
        for known in (error, error.__cause__):
            if isinstance(known, HfHubHTTPError):
                raise _refusal(repo_id, known.response) from error
        why = f"{type(error).__name__}: {error}"
        raise ConnectionError(
            f"the connection to the Hub broke ({why}); nothing is lost here: share again"
        ) from error
    return str(address)


def _refusal(repo_id: str, response) -> OSError:
    status = response.status_code
    wait = response.headers.get("Retry-After")
    wait = f"{wait} s" if wait else "some minutes"
    advice = ADVICE.get(status, "try again later").format(wait=wait)
    kind = PermissionError if status in (401, 403) else ConnectionError
    return kind(f"the Hub refused {repo_id} with {status}: {advice}")


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts)
