"""Which pictures a step sees: a function of the seed and the step, so that nothing is saved."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from course_utils.data import ImageData
from course_utils.recipes import Data, Recipe
from course_utils.recipes.build import (
    NUM_TIMESTEPS,
    load_pictures,
    picture_rows,
    picture_shape,
    timestep_sampling,
    to_pixels,
)
from course_utils.schedule import Timesteps
from course_utils.training.loss import draw_timesteps


def open_pictures(recipe: Recipe, seed: int, share: int, rank: int, num_processes: int):
    """The recipe's pictures for a process that takes `share` of each batch."""
    if recipe.data.streaming:
        return Streamed(recipe.data, share, seed, rank, num_processes)
    return InMemory(load_pictures(recipe.data), recipe.training.batch_size, seed)


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
    """Each picture once in an epoch, in an order of its own; epochs follow without a seam."""

    def __init__(self, images: UInt8[Tensor, "N C H W"], batch_size: int, seed: int):
        self.images, self.batch_size = images, batch_size
        self.fingerprint = sha256(images.numpy()).hexdigest()
        self._order = lru_cache(2)(lambda epoch: self._shuffled(seed, epoch))

    def batch(self, step: int, places: Int64[Tensor, " b"]):
        """The pictures at these places of the batch of `step`, both counted from 0."""
        turns = (step * self.batch_size + places).tolist()
        turns = [divmod(turn, len(self.images)) for turn in turns]
        return self.images[[self._order(epoch)[place] for epoch, place in turns]], None

    classes = ()

    @property
    def num_pictures(self):
        return len(self.images)

    def some(self):
        return ImageData(self.images, None, (), "")

    def _shuffled(self, seed: int, epoch: int) -> list[int]:
        return torch.randperm(
            len(self.images), generator=generator_of("cpu", seed, epoch, 1)
        ).tolist()


class Streamed:
    """Pictures of a folder or a Hub dataset as they are read; each process reads its share.

    A run that goes on reads its way, without decoding, to where it was.
    """

    def __init__(self, data: Data, share: int, seed: int, rank: int, num_processes: int):
        from datasets.distributed import split_dataset_by_node

        rows = picture_rows(data).shuffle(seed=seed, buffer_size=1000)
        self.rows = split_dataset_by_node(rows, rank, num_processes)
        self.data, self.share, self.fingerprint = data, share, data.path
        self.stream: Iterator | None = None

    def batch(self, step: int, places: Int64[Tensor, " b"]):
        """The next pictures of this process, as many as there are places."""
        if self.stream is None:
            self.stream = islice(self._endless(), step * self.share, None)
        return torch.stack([to_pixels(next(self.stream), self.data) for _ in places]), None

    classes = ()

    @property
    def num_pictures(self):
        return len(self.some())

    def some(self):
        """The first thousand pictures."""
        images = torch.stack([to_pixels(row, self.data) for row in self.rows.take(1000)])
        return ImageData(images, None, (), "")

    def _endless(self) -> Iterator[dict]:
        epoch, row = 0, None
        while epoch == 0 or row is not None:
            self.rows.set_epoch(epoch)
            for row in self.rows:
                yield row
            epoch += 1
        raise ValueError(f"data.path {self.data.path!r} has no picture for this process")
