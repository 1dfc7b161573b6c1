"""Does it understand what it draws? `python tests/bench/composing.py`.

The Stable Diffusion that ships is asked for single emoji, which it has learned, by their names in
both languages, by other wordings and in more or fewer steps; and for people whom it has never seen,
but whose kind, gender and tone it knows. The picture's nearest emoji tells what was understood.
Writes course_utils/results/composing.json, which notebook 04 shows.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas
import torch
from torch import Tensor
from tqdm import tqdm
from train_stable_diffusion import FOLDER, Parts

from course_utils import EmojiData, Trained, load_emoji, load_trained
from course_utils.data.emoji import PARTS
from course_utils.evaluation.benchmarks import COMPOSING
from course_utils.runtime import fast_arithmetic, hardware, pick_device
from course_utils.text_to_image import latents_of, pictures_of
from course_utils.text_to_image.matching import small

DEVICE = pick_device()
GUIDANCE, SHARE = 3.0, 5  # usual guidance; one emoji in so many is asked for in more ways
NEVER_MIRRORED = "hard without mirror images"
WORDINGS = {
    "name": {"en": "{}", "ko": "{}"},
    "last word": {"en": "{}", "ko": "{}"},
    "an emoji of …": {"en": "an emoji of {}", "ko": "{} 이모지"},
    "… emoji, drawing on white": {
        "en": "{} emoji, drawing on white",
        "ko": "{} 이모지, 하얀 바탕의 그림",
    },
}


class Task(NamedTuple):
    """What is asked for: these emoji, and how."""

    part: str
    own: Tensor  # the emoji's numbers
    language: str
    wording: str
    guidance: float
    num_steps: int

    def captions(self, emoji: EmojiData) -> list[str]:
        names = [emoji.captions[self.language][number] for number in self.own.tolist()]
        if self.wording == "last word":
            names = [name.split()[-1] for name in names]
        return [WORDINGS[self.wording][self.language].format(name) for name in names]


class Judges:
    """Finds among all emoji those that are nearest to a picture, by pixels and by the matcher.

    Of emoji with identical pictures, `group` numbers those alike, each counts as the other.
    """

    def __init__(self, emoji: EmojiData, matcher: Callable[[Tensor], Tensor]):
        self.people, self.group = emoji.people, identical(emoji.images)
        self.mirrored = torch.tensor([kind.endswith("facing right") for kind in emoji.kinds])
        self.views = {"pixels": lambda x: small(x).flatten(1), "matcher": matcher}
        self.known = {judge: view(emoji.images) for judge, view in self.views.items()}

    def judge(self, part: str, own: Tensor, pictures: Tensor) -> list[dict]:
        """The numbers of a part's pictures, a row each for who judges or what is left out."""
        found = {j: torch.cdist(view(pictures), self.known[j]) for j, view in self.views.items()}
        if part not in PARTS:
            of = {judge: ranks(far, own, self.group) for judge, far in found.items()}
            return [{"part": part, "judge": j, "pictures": len(own)} | shares(of[j]) for j in of]
        everyone = (self.people[:, 0] >= 0).nonzero()[:, 0]
        nearest = everyone[found["pixels"][:, everyone].argmin(1)]
        right = self.people[nearest] == self.people[own]
        kept = {part: torch.ones(len(own), dtype=torch.bool)}
        if part == "hard":
            kept[NEVER_MIRRORED] = ~self.mirrored[self.people[own, 0]]
        judged = {"judge": "pixels"}
        return [
            {"part": name, **judged, "pictures": int(rows.sum())} | factors(right[rows])
            for name, rows in kept.items()
            if rows.any()
        ]

    def chance(self, held: Tensor) -> dict:
        """What a picture of any emoji, or of any of the people, would get."""
        alike = (self.group == self.group[:, None]).float().mean().item()
        people = self.people[self.people[:, 0] >= 0]
        right = (people == self.people[held][:, None]).flatten(0, 1)
        return {"nearest": round(alike, 6), "among_five": round(5 * alike, 6)} | factors(right)


def identical(images: Tensor) -> Tensor:
    """(N,): the same number for the same picture."""
    return torch.unique(images.flatten(1), dim=0, return_inverse=True)[1]


def ranks(distances: Tensor, own: Tensor, group: Tensor) -> Tensor:
    """How many are nearer than one's own picture, or its twin."""
    others = group != group[own, None]
    nearest_own = distances.masked_fill(others, torch.inf).amin(1, keepdim=True)
    return (distances < nearest_own).sum(1)


def shares(found: Tensor) -> dict:
    """Of ranks that count from 0."""
    nearest, five = ((found < few).float().mean().item() for few in (1, 5))
    return {"nearest": round(nearest, 4), "among_five": round(five, 4)}


def factors(right: Tensor) -> dict:
    """Of (N, 3), whether kind, gender and tone are those asked for."""
    each = torch.cat([right, right.all(1, keepdim=True)], dim=1).float().mean(0).tolist()
    names = ("kind", "gender", "tone", "all")
    return {name: round(share, 4) for name, share in zip(names, each, strict=True)}


def tasks(
    emoji: EmojiData, num_captions: int, num_people: int | None, steps: Sequence[int], usual: int
) -> list[Task]:
    """All that is asked for, with each seed."""
    single = (emoji.people[:, 0] < 0).nonzero()[:, 0]
    single = single[torch.randperm(len(single), generator=torch.Generator().manual_seed(0))]
    some, few = single[:num_captions], max(1, num_captions // SHARE)
    long = [n for n in single.tolist() if all(" " in names[n] for names in emoji.captions.values())]
    asked = []
    for language in emoji.captions:
        for guidance in (1.0, GUIDANCE):
            asked.append(Task("remembered", some, language, "name", guidance, usual))
        for wording in WORDINGS:
            several = torch.tensor(long[:few])
            asked.append(Task("wording", several, language, wording, GUIDANCE, usual))
        for number, part in enumerate(PARTS[1:], 1):
            people = (emoji.held_out == number).nonzero()[:num_people, 0]
            asked.append(Task(part, people, language, "name", GUIDANCE, usual))
    return asked + [Task("steps", some[:few], "en", "name", GUIDANCE, number) for number in steps]


def draw(trained: Trained, task: Task, emoji: EmojiData, seed: int) -> Tensor:
    """A picture for each caption, in model range."""
    told = trained.prompt(*task.captions(emoji))
    options = {"seed": seed, "guidance": task.guidance, "num_steps": task.num_steps}
    with fast_arithmetic(DEVICE):
        return trained.draw(len(task.own), condition=told, **options)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--captions", type=int, default=200)
    options.add_argument("--people", type=int, help="the first so many of each held-out part")
    options.add_argument("--calls", type=int, default=12)
    options.add_argument("--steps", type=int, nargs="+", default=[4, 12, 50])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--folder", type=Path, default=FOLDER)
    options.add_argument("--output", type=Path, default=COMPOSING)
    args = options.parse_args()
    started, emoji, parts = time.perf_counter(), load_emoji(64), Parts.load(args.folder)
    trained, judges = load_trained(args.folder), Judges(emoji, parts.matcher.pictures)
    trained.model.to(DEVICE)
    asked = tasks(emoji, args.captions, args.people, args.steps, args.calls)
    rows, ceiling = [], []
    for seed, task in tqdm([(s, t) for s in args.seeds for t in asked], disable=None):
        told = {name: value for name, value in task._asdict().items() if name != "own"}
        judged = judges.judge(task.part, task.own, draw(trained, task, emoji, seed))
        rows += [told | {"seed": seed} | numbers for numbers in judged]
    for part, own in {task.part: task.own for task in asked}.items():
        back = pictures_of(parts.pipeline.vae, latents_of(parts.pipeline.vae, emoji.images[own]))
        ceiling += judges.judge(part, own, back)
    result = {"machine": hardware(), "seconds": round(time.perf_counter() - started)}
    result |= {"seeds": args.seeds, "samples": {row["part"]: row["pictures"] for row in ceiling}}
    result |= {"ceiling": ceiling, "chance": judges.chance((emoji.held_out > 0).nonzero()[:, 0])}
    result |= {"twins": twins(emoji, judges.group), "rows": rows}
    text = json.dumps(result, indent=1, ensure_ascii=False)
    args.output.write_text(text + "\n", encoding="utf-8")
    report(result)


def twins(emoji: EmojiData, group: Tensor) -> list[list[str]]:
    """The names of emoji with identical pictures."""
    number, times = group.unique(return_counts=True)
    alike = [(group == n).nonzero()[:, 0].tolist() for n in number[times > 1]]
    return [[emoji.captions["en"][n] for n in numbers] for numbers in alike]


def report(result: dict) -> None:
    """What was measured, the mean over the seeds."""
    print(result["machine"], f"{result['seconds']} s, samples {result['samples']}")
    columns = ["part", "language", "wording", "guidance", "num_steps", "judge"]
    table = pandas.DataFrame(result["rows"]).drop(columns=["seed", "pictures"])
    print(table.groupby(columns, sort=False).mean().round(3).to_string(na_rep=""))
    print(pandas.DataFrame(result["ceiling"]).to_string(na_rep=""), result["chance"], sep="\n")


if __name__ == "__main__":
    main()
