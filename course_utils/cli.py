"""The course on the command line: `python -m course_utils.cli train --recipe digits-cpu …`."""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import tyro

from course_utils.checks import check_choice
from course_utils.images import to_uint8
from course_utils.recipes import Options, Recipe, load_recipe, parse_recipe, recipe_names
from course_utils.runtime import pick_device, trained_folder

Bare = tyro.conf.arg(name="")  # its fields are options without a prefix


@dataclass(frozen=True)
class Train:
    """Train a model by a recipe; every field of the recipe can be changed."""

    recipe: str  # a name that `recipes` lists, or the path of a .toml file
    options: Annotated[Options, Bare]
    fields: Annotated[Recipe, Bare]
    max_steps: int | None = None  # the budget in steps, in place of the recipe's
    max_seconds: float | None = None  # the budget in seconds; of both, the first to end
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = (
        None  # a trained model's folder or name to go on
    )
    dry_run: bool = False  # show the plan, and stop

    def run(self) -> int:
        recipe = self.fields
        if self.max_steps is not None or self.max_seconds is not None:
            budget = {"max_steps": self.max_steps, "max_seconds": self.max_seconds}
            recipe = replace(recipe, training=replace(recipe.training, **budget))
        if self.from_ is not None:
            recipe = replace(recipe, start=replace(recipe.start, folder=self.from_))
        recipe = parse_recipe(asdict(recipe))
        if self.dry_run:
            from course_utils.runs.scoreboard import plans

            print(json.dumps(asdict(recipe), indent=1), plans({self.recipe: recipe}), sep="\n")
            return 0
        from course_utils.runs.trainer import train_recipe

        return train_recipe(recipe, self.options)


@dataclass(frozen=True)
class Sample:
    """Draw pictures with a trained model."""

    model: Path  # the folder of a run or a pipeline of diffusers, or a name of weights that ship
    output: Path  # .npz: one uint8 array (N, C, H, W), "images"; .png: a sheet
    num_images: int = 16
    label: str | None = None  # the class to draw, by name or number; None: each by chance
    prompt: str | None = None  # what to draw, in words, with a model that reads
    negative_prompt: str = ""  # what guidance leads away from, in words
    guidance: float | None = None  # how much label or prompt counts; None: as the recipe chose
    num_steps: int | None = None  # network calls for a picture; None: as the recipe chose
    seed: int = 0
    batch_size: int = 64  # pictures that are drawn together

    def run(self) -> int:
        import torch

        from course_utils.runs.outputs import save_images
        from course_utils.trained import load_trained

        if self.output.suffix not in (".npz", ".png"):  # known before anything is drawn
            raise ValueError(f"output must end in .npz or .png, got {str(self.output)!r}")
        trained = load_trained(trained_folder(self.model))
        trained.model.to(pick_device())
        options = {name: getattr(self, name) for name in ("num_steps", "seed", "batch_size")}
        chosen = trained.sampler.guidance if self.guidance is None else self.guidance
        options |= {"guidance": chosen}
        if self.label is not None:
            labels = torch.tensor([trained.label(self.label)])
            options |= {"condition": {"class_labels": labels}}
        if self.prompt is not None:
            options |= {"condition": trained.prompt(self.prompt)}
            options |= {"without": trained.prompt(self.negative_prompt)}
        save_images(to_uint8(trained.draw(self.num_images, **options)), self.output)
        print(f"{self.num_images} pictures in {self.output}")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained model: distances beside their floor, and the share of copies."""

    model: Path  # the folder of a run
    num_images: int = 500

    def run(self) -> int:
        from course_utils.runs.measuring import evaluate

        for name, value in evaluate(self.model, self.num_images).items():
            print(f"{name:16} {value:,.3f}" if isinstance(value, float) else f"{name:16} {value}")
        return 0


@dataclass(frozen=True)
class Recipes:
    """List the recipes and what they cost; or the scoreboard of what came of them."""

    results: tuple[Path, ...] | None = None  # runs to add to the scoreboard, which is shown

    def run(self) -> int:
        from course_utils.runs.scoreboard import plans, scoreboard

        if self.results is not None:
            print(scoreboard(self.results))
        else:
            print(plans({name: load_recipe(name) for name in recipe_names()}))
        return 0


@dataclass(frozen=True)
class Speedrun:
    """Race on a track: train with three seeds, judge, write an entry. Without one: the board."""

    track: str | None = None  # one of those on the board
    recipe: str | None = None  # a name, or the path of a .toml file; None: the best entry's
    output_dir: Path | None = None  # where the runs and entry.json go; None: runs/speedrun/TRACK
    changed: str = ""  # one line for the board: what this entry changes
    check: Path | None = None  # only check this entry.json by the rules

    def run(self) -> int:
        from course_utils import speedrun

        if self.check is not None:
            entry = speedrun.check_entry(json.loads(self.check.read_text(encoding="utf-8")))
            print(f"{self.check} is a valid entry of track {entry['track']!r}")
        elif self.track is None:
            print(speedrun.board())
        else:
            check_choice("track", self.track, speedrun.TRACKS)
            track = speedrun.TRACKS[self.track]
            recipe = load_recipe(self.recipe) if self.recipe else speedrun.best_recipe(track)
            folder = self.output_dir or Path("runs", "speedrun", self.track)
            print(speedrun.board(entries=[speedrun.race(track, recipe, folder, self.changed)]))
            print(f"The entry is {folder / 'entry.json'}; CONTRIBUTING.md says where it goes")
        return 0


@dataclass(frozen=True)
class Push:
    """Upload a run's folder, whole, to the Hub, after showing what will be sent."""

    model: Path  # the folder of a run, or of a pipeline of diffusers
    repo_id: str  # "your-name/your-model"
    yes: bool = False  # do not ask
    private: bool = False  # only you can see it

    def run(self) -> int:
        from course_utils.sharing.upload import files_to_share, share

        files = files_to_share(self.model)
        for path in files:
            print(f"{path.stat().st_size:>13,} bytes  {path.relative_to(self.model)}")
        question = f"Send these {len(files)} files to {self.repo_id}?"
        if not self.yes:
            if not sys.stdin.isatty():
                raise ValueError(f"{question} Nobody is there to answer: add --yes")
            if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
                print("Nothing was sent")
                return 1
        print(share(self.model, self.repo_id, private=self.private))
        return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. What is wrong is said in one line on stderr."""
    args = list(sys.argv[1:] if args is None else args)
    try:
        return _parse(args).run()
    except (ValueError, TypeError, OSError, ArithmeticError, RuntimeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parse(args: list[str]) -> Train | Sample | Evaluate | Recipes | Speedrun | Push:
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    named.add_argument("--recipe", nargs="?")  # its fields are the other options' defaults
    recipe = load_recipe(named.parse_known_args(args)[0].recipe or "butterflies-32-cpu")
    train = Train(tyro.MISSING, Options(tyro.MISSING), recipe)
    command = tyro.conf.subcommand
    commands = Annotated[Train, command(default=train)] | Sample | Evaluate | Recipes
    commands = commands | Speedrun | Push
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(commands, args=args, prog="course-utils", config=config)
    finally:
        print(said.getvalue() + _in_one_line(said.getvalue()), end="", file=sys.stderr)


def _in_one_line(box: str) -> str:
    """What the parser says in a box, up to its first rule, once more as a plain line."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    said = takewhile(lambda line: not line.startswith("─"), lines)
    return f"error: {' '.join(said)}\n" if lines else ""


if __name__ == "__main__":
    sys.exit(main())
