"""Pictures in memory, with what is known of each, and their shuffled batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from course_utils.checks import check_int
from course_utils.images import to_model_range

Condition = Mapping[str, Tensor]  # what the network is told, by its keyword in diffusers' words
LATENTS = "; latents, which are float and of any range, need latents=True"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with, perhaps, a class and captions each. `source` is "hub", "offline" or the folder.

    `captions` holds one text for each image in each language, such as {"en": (…), "ko": (…)}.
    Raises TypeError for another dtype; ValueError for other shapes, for labels that do not index
    `classes`, or for another number of captions.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"] | None
    classes: tuple[str, ...]
    source: str
    captions: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self):
        _check_images("images", self.images)
        self._check_labels()
        for language, texts in (self.captions or {}).items():
            if not isinstance(texts, tuple):
                raise TypeError(f"captions[{language!r}] must be a tuple, got {texts!r:.80}")
            if len(texts) != len(self):
                wanted = f"one text for each of the {len(self)} images"
                raise ValueError(f"captions[{language!r}] must hold {wanted}, got {len(texts)}")

    def _check_labels(self) -> None:
        labels, n, k = self.labels, len(self.images), len(self.classes)
        if labels is None:
            return
        if labels.dtype != torch.int64:
            raise TypeError(f"labels must be int64, got {labels.dtype}: call .long() first")
        if labels.shape != (n,) or ((labels < 0) | (labels >= k)).any():
            wanted = f"one index below {k} (the number of classes) for each of the {n} images"
            got = f"shape {tuple(labels.shape)}, values {labels.unique().tolist()[:20]}"
            raise ValueError(f"labels must hold {wanted}, got {got}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        (n, c, h, w), name = self.images.shape, type(self).__name__
        return f"{name}({n:,} images {c}x{h}x{w}, {len(self.classes)} classes, {self.source!r})"

    def first(self, num_images: int | None) -> "ImageData":
        """The first so many images, or all; the classes stay."""
        labels = None if self.labels is None else self.labels[:num_images]
        captions = self.captions and {k: v[:num_images] for k, v in self.captions.items()}
        return replace(self, images=self.images[:num_images], labels=labels, captions=captions)


class Batch(NamedTuple):
    """Clean images, and what the network is told about each of them."""

    x0: Float[Tensor, "B C H W"]
    condition: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Loader:
    """One iteration is one epoch: each image once, in shuffled batches."""

    images: Shaped[Tensor, "N C H W"]
    batch_size: int
    flip: bool
    generator: torch.Generator | None
    condition: Condition | None = None

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[Float[Tensor, "B C H W"] | Batch]:
        for chosen in shuffled(len(self.images), self.generator).split(self.batch_size):
            chosen = chosen.to(self.images.device)
            x0 = self._pictures(chosen)
            if self.condition is None:
                yield x0
            else:
                yield Batch(x0, {name: told[chosen] for name, told in self.condition.items()})

    def _pictures(self, chosen: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        batch = self.images[chosen]
        if self.flip:
            heads = torch.rand(len(batch), 1, 1, 1, generator=self.generator) < 0.5
            batch = torch.where(heads.to(batch.device), batch.flip(-1), batch)
        return to_model_range(batch) if batch.dtype == torch.uint8 else batch


def shuffled(num_images: int, generator: torch.Generator | None) -> Int64[Tensor, " N"]:
    """The images' indices in the order of an epoch."""
    return torch.randperm(num_images, generator=generator)


def make_loader(
    data: ImageData | Shaped[Tensor, "N C H W"],
    batch_size: int,
    flip: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    *,
    condition: bool | Condition = False,
    latents: bool = False,
) -> Loader:
    """Shuffled batches of x0, float32 (B, C, H, W) in [-1, 1] on `device`, from memory.

    The uint8 images move to `device` once (None: they stay). `flip` mirrors each image left to
    right with probability 1/2. `generator` is a CPU generator, None the global one.
    `condition=True` yields `Batch(x0, {"class_labels": labels})`, a dict of tensors (N, …) their
    rows in its place. `latents=True` takes float tensors, and gives their rows as they are.
    Raises TypeError for another dtype; ValueError for no images, a batch_size below 1, a condition
    that data does not have or that has another length, or flipped latents.
    """
    images = data.images if isinstance(data, ImageData) else data
    _check_images("data", images, latents, LATENTS)
    check_int("batch_size", batch_size, 1)
    if len(images) == 0:
        raise ValueError("data must hold at least one image, got none")
    if flip and latents:
        raise ValueError("flip must be False with latents=True: encode mirrored images instead")
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(f"generator must be on the CPU, got {generator.device}: torch.Generator()")
    told = _told(data, condition)
    if told is not None:
        told = {name: rows.to(device or images.device) for name, rows in told.items()}
    return Loader(images.to(device), batch_size, flip, generator, told)


def _told(data: ImageData | Tensor, condition: bool | Condition) -> Condition | None:
    """The condition of every image, checked; None without one."""
    if condition is False:
        return None
    if condition is True:
        return {"class_labels": _labels_of(data)}
    if not isinstance(condition, Mapping):
        got = type(condition).__name__
        raise TypeError(f"condition must be True, False or a dict of tensors, got {got}")
    for name, rows in condition.items():
        if not isinstance(rows, Tensor):
            raise TypeError(f"condition[{name!r}] must be a tensor, got {type(rows).__name__}")
        if rows.ndim == 0 or len(rows) != len(data):
            wanted = f"one row for each of the {len(data)} images"
            raise ValueError(f"condition[{name!r}] must hold {wanted}, got {tuple(rows.shape)}")
    return condition


def _labels_of(data: ImageData | Tensor) -> Int64[Tensor, " N"]:
    if not isinstance(data, ImageData):
        raise ValueError("condition=True needs ImageData with labels, got a tensor: pass a dict")
    if data.labels is None:
        advice = (
            "source='offline' gives some" if data.source == "hub" else "sort it into subfolders"
        )
        raise ValueError(
            f"condition=True needs labels, and data from {data.source!r} has none: {advice}"
        )
    return data.labels


def _check_images(name: str, images: Tensor, latents: bool = False, advice: str = "") -> None:
    got = images.dtype if isinstance(images, Tensor) else type(images).__name__
    if latents and not (isinstance(images, Tensor) and images.is_floating_point()):
        raise TypeError(f"{name} must be a float tensor with latents=True, got {got}")
    if not latents and got != torch.uint8:
        raise TypeError(f"{name} must be a uint8 tensor, got {got}: pixels from 0 to 255{advice}")
    if images.ndim != 4:
        raise ValueError(f"{name} must have shape (N, C, H, W), got {tuple(images.shape)}")
