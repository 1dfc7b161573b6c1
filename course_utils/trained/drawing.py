"""A network and how pictures are drawn with it: the same ones for the same seed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils.checks import check_int, check_positive
from course_utils.models import Condition, Guidance, Scale, num_classes_of
from course_utils.runtime import is_headless
from course_utils.sampling import Sampler, sample
from course_utils.schedule import NoiseSchedule


class Trained(NamedTuple):
    """A network, and how pictures are drawn with it.

    `shape` (C, H, W) is that of what the network works on; `decode` turns latents into pictures in
    model range, None where the network works on pictures. `classes` names the class labels;
    `encode` turns texts into what a network is told that draws by a prompt.
    """

    model: nn.Module
    schedule: NoiseSchedule
    prediction_type: str
    shape: tuple[int, int, int]
    sampler: Sampler = Sampler()
    classes: tuple[str, ...] = ()
    decode: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[Sequence[str]], Tensor] | None = None

    def draw(
        self,
        num_images: int,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        without: Condition | None = None,
        guidance: Scale = 1.0,
        num_steps: int | None = None,
        batch_size: int = 64,
    ) -> Float[Tensor, "N C H W"]:
        """Pictures in model range, on the CPU; the same for the same seed.

        `condition` has a row for each picture, or one for all; a network with classes that is given
        none gets a class by chance for each picture, one that reads texts an empty one. `guidance`
        is how much it counts, 1 as it was learned, or by the timestep, and `without` what it leads
        away from, see `Guidance`; `num_steps` None takes the sampler's.
        Raises ValueError for other numbers of rows, or guidance without a condition.
        """
        check_positive(num_images=num_images, batch_size=batch_size)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(num_images, *self.shape, generator=generator)
        if condition is None:
            condition = self._untold(num_images, generator)
        if not condition and guidance != 1:
            raise ValueError(
                f"guidance {guidance} strengthens a condition, and there is none: leave it at 1"
            )
        if without is None and self.encode is not None:
            without = self.prompt("")
        condition = self._rows(condition, num_images)
        without = without and self._rows(without, num_images)
        options = self._walk(num_steps) | {"generator": generator}

        device = next(self.model.parameters()).device
        places = torch.arange(num_images).split(batch_size)
        drawn = []
        quiet = is_headless() or len(places) == 1
        for chosen in tqdm(places, "Drawing", disable=quiet, leave=False):
            told, other = _chosen(condition, chosen), without and _chosen(without, chosen)
            model = Guidance(self.model, told, other, guidance) if told else self.model
            *_, last = sample(model, self.schedule, noise[chosen].to(device), **options)
            drawn.append(self._decoded(last.x_t).clamp(-1, 1).cpu())
        return torch.cat(drawn)

    def label(self, name_or_number: str | int) -> int:
        """The number of a class, by its name or as it is. Raises ValueError for another."""
        word = str(name_or_number)
        if word in self.classes:
            return self.classes.index(word)
        if not self.classes:
            raise ValueError(f"this model knows no classes: draw without the label {word!r}")
        if not word.isdecimal() or int(word) >= len(self.classes):
            raise ValueError(
                f"label must be one of {', '.join(self.classes)}, or a number below "
                f"{len(self.classes)}; got {word!r}"
            )
        return int(word)

    def prompt(self, *texts: str) -> dict[str, Tensor]:
        """The condition that says these texts, a row each. Raises ValueError for a network that
        does not read."""
        if self.encode is None:
            raise ValueError(f"this model reads no text: draw without the prompt {texts[0]!r}")
        return {"encoder_hidden_states": self.encode(texts)}

    def _walk(self, num_steps: int | None) -> dict:
        return {
            "num_steps": self.sampler.num_steps if num_steps is None else num_steps,
            "prediction_type": self.prediction_type,
            "eta": self.sampler.eta,
            "order": self.sampler.order,
        }

    def _untold(self, num_images: int, generator: torch.Generator) -> Condition:
        if num_classes := num_classes_of(self.model):
            labels = torch.randint(num_classes, (num_images,), generator=generator)
            return {"class_labels": labels}
        return {} if self.encode is None else self.prompt("")

    def _rows(self, condition: Condition, num_images: int) -> Condition:
        """A row for each picture."""
        num_classes = num_classes_of(self.model)
        for name, values in condition.items():
            if len(values) not in (1, num_images):
                raise ValueError(
                    f"condition must have {num_images} rows, one for each picture, or one for "
                    f"all; got {len(values)} of {name}"
                )
            if name == "class_labels" and num_classes:
                for label in values.tolist():
                    check_int(name, label, 0, num_classes)
        return {k: v.expand(num_images, *v.shape[1:]) for k, v in condition.items()}

    def _decoded(self, x: Tensor) -> Tensor:
        if self.decode is None:
            return x
        with torch.no_grad():
            return self.decode(x)


def _chosen(condition: Condition, places: Tensor) -> dict[str, Tensor]:
    return {name: values[places] for name, values in condition.items()}
