"""The course's command in processes of its own, forked from one that has loaded the libraries.

They start at once; where a system can't fork, each loads them anew.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from course_utils.cli import main

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
CONTEXT.set_forkserver_preload(
    [
        *("course_utils.cli", "course_utils.runs.trainer", "torch.utils.tensorboard"),
        *("diffusers.pipelines.ddpm", "diffusers.models.unets.unet_2d", "torchmetrics.image.fid"),
    ]
)


class Command(CONTEXT.Process):
    """A command under way; `output` is what it has said."""

    def __init__(self, words: list[str], log: Path | str, **environment: str):
        super().__init__(daemon=True)  # none outlives the tests
        self.words, self.log, self.environment = words, Path(log), environment
        self.start()

    def run(self) -> None:
        os.environ.update(self.environment)
        with open(self.log, "w") as log:
            for standard in (1, 2):
                os.dup2(log.fileno(), standard)
        sys.exit(main(self.words))

    def output(self) -> str:
        return self.log.read_text()
