"""Pictures in memory with what each may be called."""

from hashlib import sha256

import torch
from jaxtyping import Int64
from torch import Tensor

from course_utils.recipes import Recipe
from course_utils.recipes.build import load_data
from course_utils.runs.batches import InMemory
from course_utils.text_to_image import wordings


class Captioned(InMemory):
    """`wordings` are the captions of the recipe's pictures, with other names where data has some.

    Raises ValueError where data has no captions.
    """

    def __init__(self, recipe: Recipe, seed: int):
        data = load_data(recipe.data)
        if not data.captions:
            raise ValueError(
                f"model.kind {recipe.model.kind!r} reads captions, and data.source "
                f"{recipe.data.source!r} has none: use 'emoji'"
            )
        super().__init__(data, recipe.training.batch_size, seed)
        others = getattr(data, "aliases", None)
        self.wordings = wordings(data.captions, {"en": others} if others else None)
        words = sha256("\n".join(self.wordings.texts).encode())
        words.update(self.wordings.choices.numpy())
        self.fingerprints = {"pictures": self.fingerprint, "captions": words.hexdigest()}

    def told(self, chosen: list[int], luck: Tensor) -> Int64[Tensor, " b"]:
        """A text for each chosen picture, as its place in `wordings.texts`; `luck` in [0, 1)."""
        choices = self.wordings.choices[chosen]
        column = (luck.cpu() * choices.shape[1]).long()
        return choices[torch.arange(len(chosen)), column]

    def sample(self, num_images: int) -> list[int]:
        """So many pictures or all, by a chance that is always the same."""
        return torch.randperm(len(self.data), generator=torch.Generator().manual_seed(0)).tolist()[
            :num_images
        ]
