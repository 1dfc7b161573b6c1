"""Encoded pictures, whatever people have in a folder or the Hub in a table, as uint8 tensors."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.language import _
from course_utils.runtime import is_headless

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # no EPS: it would run Ghostscript
OS_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"}


def read_folder(
    path: str | os.PathLike, size: int
) -> tuple[UInt8[Tensor, "N 3 size size"], list[Path]]:
    """All usable pictures below `path` in sorted order, and where they lie in it.

    Prints one line if files were skipped. Raises FileNotFoundError, NotADirectoryError, and
    ValueError where no picture is usable.
    """
    root, files = list_folder(path)
    images, used, skipped = [], [], []
    for file in tqdm(files, _("Reading pictures"), disable=is_headless() or len(files) < 100):
        image = read_picture(file, size)
        (skipped if image is None else used).append(file.relative_to(root))
        images += [] if image is None else [image]
    if not used:
        raise ValueError(
            f"path {str(path)!r} holds no usable picture, only {_kinds(files)}: put "
            f"{', '.join(FORMATS)} files there, and convert others"
        )
    if skipped:
        names = ", ".join(file.as_posix() for file in skipped[:3])
        more = _(" and {count} more").format(count=len(skipped) - 3)
        names += more if len(skipped) > 3 else ""
        line = _("Skipped {count} of {total} files, not usable pictures: {names}")
        print(line.format(count=len(skipped), total=len(files), names=names))
    return torch.stack(images), used


def list_folder(path: str | os.PathLike) -> tuple[Path, list[Path]]:
    """The folder, and all its visible files. Raises FileNotFoundError or NotADirectoryError."""
    root = _check_folder(path)
    return root, list(_walk(root))


def to_square(picture: Image.Image, size: int) -> UInt8[Tensor, "3 size size"]:
    """A picture of any mode, upright, on white, its central square resized with anti-aliasing."""
    picture.draft(None, (2 * size, 2 * size))  # a big JPEG is decoded at a fraction of its size
    picture.load()
    with suppress(Exception):  # a broken EXIF block does not spoil the picture
        ImageOps.exif_transpose(picture, in_place=True)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = _to_rgb(picture.crop((left, top, left + side, top + side)))
    pixels = np.array(square.resize((size, size), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_digit(picture: Image.Image) -> UInt8[Tensor, "1 28 28"]:
    """A grey picture as it is. Raises ValueError unless it has 28 x 28 pixels."""
    if picture.size != (28, 28):
        raise ValueError(f"a digit must have 28 x 28 pixels, got {picture.size}")
    return torch.from_numpy(np.array(picture.convert("L")))[None]


def decode(
    cells: list[bytes], to_tensor: Callable[[Image.Image], Tensor]
) -> UInt8[Tensor, "N C H W"]:
    """Encoded pictures, such as a dataset on the Hub holds them, each through `to_tensor`.

    Raises ValueError or OSError for one that is no picture, is broken or claims too many pixels.
    """
    cells = tqdm(cells, _("Decoding pictures"), leave=False, disable=is_headless())
    return torch.stack([_guarded(BytesIO(cell), to_tensor) for cell in cells])


def read_picture(source: Path | bytes, size: int) -> UInt8[Tensor, "3 size size"] | None:
    """A file or what stands in one; None for what is no picture, is broken, or claims more pixels
    than PIL deems safe."""
    if isinstance(source, Path) and not source.is_file():  # a dead link, a pipe
        return None
    try:
        file = source if isinstance(source, Path) else BytesIO(source)
        return _guarded(file, lambda picture: to_square(picture, size))
    except Exception:  # for a broken file PIL raises nearly anything
        return None


def _guarded(file: Path | BytesIO, to_tensor: Callable[[Image.Image], Tensor]) -> Tensor:
    """What `to_tensor` makes of a picture of one of the `FORMATS`, unless it is a bomb."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=FORMATS) as picture:
            return to_tensor(picture)


def by_subfolder(files: list[Path]) -> tuple[Int64[Tensor, " N"] | None, tuple[str, ...]]:
    """Each file's class, by the folder it lies in; (None, ()) if one lies in none."""
    if any(len(file.parts) == 1 for file in files):
        return None, ()
    groups = [file.parts[0] for file in files]
    numbers = {name: number for number, name in enumerate(sorted(set(groups)))}
    return torch.tensor([numbers[name] for name in groups]), tuple(numbers)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return _to_8_bits(picture).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or float, to 8; the last two by the smallest range that holds them."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0)
    tops = (65535,) if picture.mode.startswith("I;16") else (1, 255, 65535)
    top = next((top for top in tops if values.max() <= top), 65535)
    return Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))


def _walk(root: Path) -> Iterator[Path]:
    """The visible files below `root`; linked folders too, unless they lead around in circles."""
    home, seen = root.resolve(), set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        if here in seen or here in home.parents:
            subfolders.clear()
            continue
        seen.add(here)
        subfolders[:] = sorted(filter(_is_visible, subfolders))
        yield from (Path(folder, name) for name in sorted(filter(_is_visible, names)))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in OS_FILES


def _kinds(files: list[Path]) -> str:
    """Such as "3 files (2 .txt, 1 .docx)"."""
    counts = Counter(file.suffix.lower() or "without suffix" for file in files).most_common(5)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts)
    return f"{len(files)} files" + (f" ({kinds})" if kinds else "")


def _check_folder(path: str | os.PathLike) -> Path:
    root = Path(os.path.expanduser(path))
    if not os.path.exists(path and root):
        raise FileNotFoundError(f"path {str(path)!r} does not exist: looked from {Path.cwd()}")
    if not root.is_dir():
        raise NotADirectoryError(
            f"path {str(path)!r} is a file: pass the folder that holds it, {str(root.parent)!r}"
        )
    return root
