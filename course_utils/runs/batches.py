"""Which pictures a step sees: a function of the seed and the step, so that nothing is saved."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from course_utils.data import ImageData
from course_utils.data.decoding import by_subfolder, list_folder, read_picture
from course_utils.data.loader import shuffled
from course_utils.recipes import Data, Recipe
from course_utils.recipes.build import (
    NUM_TIMESTEPS,
    load_data,
    open_rows,
    picture_shape,
    timestep_sampling,
)
from course_utils.schedule import Timesteps
from course_utils.training.loss import draw_timesteps

Pictures = tuple[UInt8[Tensor, "b C H W"], Int64[Tensor, " b"] | None]
SOME = 1000  # pictures, of those that are not in memory, to compare samples with


def open_pictures(
    recipe: Recipe, num_classes: int | None, seed: int, share: int, rank: int, num_processes: int
):
    """The recipe's pictures, and classes if its network is told some, for a process that takes
    `share` of each batch. Raises ValueError where the classes are not those of the network."""
    size, labelled = recipe.training.batch_size, num_classes is not None
    if not recipe.data.streaming:
        pictures = InMemory(load_data(recipe.data, labelled), size, seed, labelled)
    elif recipe.data.source == "folder":
        pictures = OnDisk(recipe.data, size, seed, labelled)
    else:
        pictures = Streamed(recipe.data, share, seed, rank, num_processes, num_classes)
    if labelled and len(pictures.classes) != num_classes:
        had = len(pictures.classes) or "no"
        if recipe.model is not None:
            ours = f"model.num_classes is {num_classes}"
            advice = "make them equal, or take num_classes away"
        else:
            ours = (
                f"the network of start.folder {recipe.start.folder!r} knows {num_classes} classes"
            )
            advice = f"sort them into {num_classes} subfolders, or start from one without classes"
        raise ValueError(f"{ours}, and the pictures have {had} classes: {advice}")
    return pictures


def generator_of(device: torch.device | str, *numbers: int) -> torch.Generator:
    """A generator that is a function of the numbers."""
    (state,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state) % 2**63)


class Chance(NamedTuple):
    """What is random about a step, for each picture of the whole batch."""

    mirrored: Bool[Tensor, "B 1 1 1"]
    timesteps: Timesteps
    noise: Float[Tensor, "B C H W"]
    dropped: Bool[Tensor, " B"]  # whose condition is kept from the network


def draw_chance(recipe: Recipe, seed: int, step: int, device: torch.device) -> Chance:
    """The same in each process; torch's own generator is seeded, too, for what a network draws."""
    chance = generator_of(device, seed, step)
    torch.manual_seed(chance.initial_seed())
    how, size = recipe.schedule, recipe.training.batch_size
    coins = torch.rand(size, 1, 1, 1, generator=chance, device=device)
    timesteps = draw_timesteps(size, NUM_TIMESTEPS, timestep_sampling(how), chance, device)
    shape = (size, *picture_shape(recipe.data))
    noise = torch.randn(shape, generator=chance, device=device)
    dropped = torch.rand(size, generator=chance, device=device) < recipe.training.drop
    return Chance(coins < recipe.data.flip / 2, timesteps, noise, dropped)


class InMemory:
    """Each picture once in an epoch, in an order of its own; epochs follow without a seam.

    `num_pictures` of `classes`, () where the network is told none; `fingerprint` tells whether a
    run goes on with the pictures that it began with.
    """

    def __init__(self, data: ImageData, batch_size: int, seed: int, labelled: bool = False):
        self.data, self.num_pictures, self.batch_size = data, len(data), batch_size
        self.labels = data.labels if labelled else None
        self.classes = data.classes if labelled else ()
        digest = sha256(data.images.numpy())
        digest.update(b"" if self.labels is None else self.labels.numpy())
        self.fingerprint = digest.hexdigest()
        self._order = self._orders(seed)

    def batch(self, step: int, places: Int64[Tensor, " b"]) -> Pictures:
        """The pictures at these places of the batch of `step`, both counted from 0."""
        return self._read(self.chosen(step, places))

    def chosen(self, step: int, places: Int64[Tensor, " b"]) -> list[int]:
        """Which pictures these are."""
        turns = (step * self.batch_size + places).tolist()
        turns = [divmod(turn, self.num_pictures) for turn in turns]
        return [self._order(epoch)[place] for epoch, place in turns]

    def some(self) -> ImageData:
        """Pictures to compare samples with."""
        return self.data

    def _read(self, chosen: list[int]) -> Pictures:
        return self.data.images[chosen], None if self.labels is None else self.labels[chosen]

    def _orders(self, seed: int):
        def order(epoch: int) -> list[int]:
            return shuffled(self.num_pictures, generator_of("cpu", seed, epoch, 1)).tolist()

        return lru_cache(2)(order)


class OnDisk(InMemory):
    """The same with the pictures of a folder, each read when its turn comes.

    In place of a file that is no usable picture stands the next one that is.
    """

    def __init__(self, data: Data, batch_size: int, seed: int, labelled: bool):
        self.root, files = list_folder(Path(data.path or "."))
        self.files = [file.relative_to(self.root) for file in files][: data.num_images]
        self.size, self.batch_size, self.num_pictures = data.size, batch_size, len(self.files)
        labels, classes = by_subfolder(self.files)
        self.labels, self.classes = (labels, classes) if labelled else (None, ())
        facts = [f"{file} {(self.root / file).stat().st_size}" for file in self.files]
        self.fingerprint = sha256("\n".join([*facts, *self.classes]).encode()).hexdigest()
        self._order, self.skipped = self._orders(seed), set()
        self._read([0] if self.files else [])  # whether there is a picture at all

    def some(self) -> ImageData:
        """The first thousand pictures."""
        images, labels = self._read(list(range(min(SOME, self.num_pictures))))
        return ImageData(images, labels, self.classes, str(self.root))

    def _read(self, chosen: list[int]) -> Pictures:
        found = [self._usable(place) for place in chosen]
        if not found:
            raise ValueError(f"data.path {str(self.root)!r} holds no picture: put some there")
        places, images = zip(*found, strict=True)
        labels = None if self.labels is None else self.labels[list(places)]
        return torch.stack(images), labels

    def _usable(self, place: int) -> tuple[int, Tensor]:
        for number in range(self.num_pictures):
            here = (place + number) % self.num_pictures
            image = read_picture(self.root / self.files[here], self.size)
            if image is not None:
                return here, image
            if here not in self.skipped:
                self.skipped.add(here)
                print(f"Skipped {self.files[here]}: not a usable picture", flush=True)
        raise ValueError(f"data.path {str(self.root)!r} holds no usable picture: put some there")


class Streamed:
    """Pictures of a Hub dataset as they are read over the network; each process takes its share.

    Those that are not usable are passed by. A run that goes on reads its way to where it was.
    `num_pictures` is None where the stream is too long to know.
    """

    def __init__(
        self,
        data: Data,
        share: int,
        seed: int,
        rank: int,
        num_processes: int,
        num_classes: int | None,
    ):
        self.rows = open_rows(data, labelled=num_classes is not None)
        self.seed, self.share, self.rank, self.num_processes = seed, share, rank, num_processes
        numbers = tuple(map(str, range(num_classes or 0)))
        self.classes = (self.rows.classes or numbers) if num_classes else ()
        self.fingerprint = data.path
        self.stream: Iterator | None = None
        self._some: ImageData | None = None

    def batch(self, step: int, places: Int64[Tensor, " b"]) -> Pictures:
        """The next pictures of this process, as many as there are places."""
        if self.stream is None:
            self.stream = islice(self._endless(), step * self.share, None)
        return _together([next(self.stream) for _ in places])

    def some(self) -> ImageData:
        """The first thousand pictures."""
        if self._some is None:
            images, labels = _together(list(islice(self.rows.usable(), SOME)))
            self._some = ImageData(images, labels, self.classes, self.rows.repo)
        return self._some

    @property
    def num_pictures(self) -> int | None:
        """How many there are, if they are few enough to count."""
        number = len(self.some())
        return number if number < SOME else None

    def _endless(self) -> Iterator[tuple[Tensor, int | None]]:
        rows = self.rows.rows.shuffle(seed=self.seed, buffer_size=SOME)
        for epoch in count():
            rows.set_epoch(epoch)
            picture = None
            for row in islice(rows, self.rank, None, self.num_processes):
                if (found := self.rows.picture(row)) is not None:
                    picture = found
                    yield found
            if picture is None:
                break
        raise ValueError(f"data.path {self.rows.repo!r} has no picture for this process")


def _together(pictures: list[tuple[Tensor, int | None]]) -> Pictures:
    images, labels = zip(*pictures, strict=True)
    return torch.stack(images), None if labels[0] is None else torch.tensor(labels)
