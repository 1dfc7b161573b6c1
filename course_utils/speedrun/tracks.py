"""The tracks of the speedrun: what each trains on, what it is judged by, and its limits."""

import sys
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from course_utils.evaluation.features import SECOND, weights_file
from course_utils.recipes import Data, Recipe, build

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RESULTS = Path(__file__).parents[1] / "results" / "speedrun"
SEEDS = (0, 1, 2)  # of every entry; what is ranked is the mean
COPIES = 0.05  # of the samples, at most


@dataclass(frozen=True)
class Track:
    """One of the races. Limits that a track does not have are None.

    `data` and `size` say what is drawn; `pictures` and `judged_by` how the pictures look that are
    trained on and compared with, see `looks`; `evaluator` is a hash of the networks that judge.
    """

    name: str
    about: dict[str, str]  # by language
    data: str
    size: int
    pictures: list[float | int]
    judged_by: list[float | int]
    evaluator: str
    num_samples: int = 1000  # to judge
    goal: float | None = None  # a Fréchet distance: who reaches it sooner is ahead; None: the
    calls: int | None = None  # lower distance is ahead, of so many network calls for a picture
    parameters: int | None = None
    tflop: float | None = None  # seconds times the machine's matrix rate

    def check_recipe(self, recipe: Recipe) -> None:
        """Raises ValueError for a recipe that is not allowed here, with what is."""
        allowed = Data(source=self.data, size=self.size, flip=recipe.data.flip)
        changed = {
            name: value
            for name, value in asdict(recipe.data).items()
            if name != "licence" and value != getattr(allowed, name)
        }
        if changed:
            raise ValueError(
                f"track {self.name!r} trains on its own pictures: remove data {changed}"
            )
        calls = recipe.sampler.num_steps
        if self.calls and calls > self.calls:
            raise ValueError(
                f"track {self.name!r} allows {self.calls} network calls for a picture, "
                f"sampler.num_steps is {calls}"
            )

    def check_numbers(self, num_parameters: int, calls: float | int, tflop: float | int) -> None:
        """Raises ValueError for a number above its limit."""
        measured = {"parameters": num_parameters, "calls": calls, "tflop": tflop}
        for name, value in measured.items():
            limit = getattr(self, name)
            if limit is not None and value > limit:
                raise ValueError(f"track {self.name!r} allows {limit:,} {name}, got {value:,.1f}")

    def open(self) -> tuple[UInt8[Tensor, "N C H W"], UInt8[Tensor, "M C H W"]]:
        """The training pictures and those to judge by.

        Raises ValueError where either is not the track's, where the networks that judge are others,
        or where a picture to judge by is among those to train on.
        """
        data = Data(source=self.data, size=self.size)
        training = build.load_data(data).images
        held_out, _ = build.real_pictures(data, training)
        known = {picture.numpy().tobytes() for picture in training}
        leaked = sum(picture.numpy().tobytes() in known for picture in held_out)
        if leaked:
            raise ValueError(
                f"{leaked} of the pictures to judge by are among the training pictures"
            )
        for role, pictures, known in (
            ("training pictures", training, self.pictures),
            ("pictures to judge by", held_out, self.judged_by),
        ):
            if not alike(looks(pictures), known):
                raise ValueError(
                    f"the {role} are not those of track {self.name!r}: {looks(pictures)} in place "
                    f"of {known} (count, mean, standard deviation)"
                )
        if evaluator_hash(self.data) != self.evaluator:
            raise ValueError(f"the evaluator is not that of track {self.name!r}: put it back")
        return training, held_out


def looks(pictures: UInt8[Tensor, "N C H W"]) -> list[float | int]:
    """How many, and the mean and standard deviation of their pixels: drawn pictures differ between
    machines in a last bit here and there, so that no hash of them would do."""
    pixels = pictures.double()
    return [len(pictures), round(pixels.mean().item(), 2), round(pixels.std().item(), 2)]


def alike(ours: list[float | int], theirs: list[float | int]) -> bool:
    """Whether two sets look the same."""
    near = (abs(a - b) <= 0.03 for a, b in zip(ours, theirs, strict=True))
    return ours[0] == theirs[0] and all(near)


def evaluator_hash(data: str) -> str:
    """Of the weights of both networks that judge."""
    digest = sha256()
    for name in (data, SECOND.format(data)):
        digest.update(weights_file(name).read_bytes())
    return digest.hexdigest()


@cache
def _tracks() -> dict[str, Track]:
    text = (RESULTS / "tracks.toml").read_text(encoding="utf-8")
    return {name: Track(name, **fields) for name, fields in tomllib.loads(text).items()}


TRACKS = _tracks()
