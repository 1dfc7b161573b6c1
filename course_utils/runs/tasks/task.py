"""A task: a network, what a batch of it is, its loss, and what is left in the end."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from course_utils.recipes import Recipe


class Place(NamedTuple):
    """Which process of how many this is, and where it computes."""

    device: torch.device
    share: int  # pictures of each batch that are this process's
    rank: int = 0
    num_processes: int = 1


class Task(ABC):
    """What the trainer asks, whatever is trained. All chance is a function of seed and step.

    `model` is the network whose weights are trained, averaged and saved; `network` what is called,
    in several processes through one wrapper: the model, or a module around it. `num_pictures` is
    None where they were not counted, `classes` names those that the network is told, and
    `fingerprints` tell by name what a run must go on with.
    """

    model: nn.Module
    network: nn.Module
    num_pictures: int | None
    fingerprints: dict[str, str]
    classes: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, recipe: Recipe, seed: int, place: Place, folder: Path | None = None):
        """Random weights, or those that a finished run left in `folder`."""

    @classmethod
    @abstractmethod
    def rehearse(cls, recipe: Recipe, num_images: int) -> tuple[nn.Module, Float[Tensor, ""]]:
        """The network as shapes without numbers, and a loss of so many pictures, to count by."""

    @abstractmethod
    def draw(self, step: int) -> Any:
        """What is random about a step, for the whole batch, the same in each process."""

    @abstractmethod
    def batch(self, step: int, places: Int64[Tensor, " b"], chance: Any) -> Any:
        """What the network gets to see at these places of the batch."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Float[Tensor, ""]:
        """The mean over the batch; `network` is `self.network`, perhaps in its wrapper."""

    @abstractmethod
    def sheet(self) -> UInt8[Tensor, "C H W"]:
        """A grid of pictures that shows how far the training is."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what is left in the end."""

    @abstractmethod
    def measure(self, num_images: int) -> dict:
        """How good it is, on so many pictures or fewer, rounded."""
