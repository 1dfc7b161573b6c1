"""How long the course's first moves take: `python tests/bench/basics.py`.

The import, in fresh processes, butterflies, drawn and in batches, and the answer to a slider that
is moved; medians of repetitions.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from unittest.mock import patch

import ipywidgets
import torch

from course_utils import draw_butterflies, make_loader, widgets
from course_utils.runtime import hardware
from course_utils.widgets import noising


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The median time of `action`, after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return median(times[1:])


def import_seconds(repeats: int) -> float:
    """What `import course_utils` adds to `import torch`, in fresh processes."""
    code = (
        "import time, torch; t = time.perf_counter(); import course_utils; "
        "print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    return median(float(subprocess.check_output(command)) for _ in range(repeats))


def answer_seconds() -> float:
    """The workshop's answer, the heaviest one, to a slider that is moved: at most 0.1 s is good."""
    with patch.object(noising, "is_live", lambda: True):
        workshop = widgets.workshop(torch.zeros(1, 3, 32, 32))
    cosine = workshop.children[1]
    (offset,) = (each for each in cosine.children if isinstance(each, ipywidgets.FloatSlider))

    def move():
        offset.value = (offset.value + offset.step) % offset.max

    return seconds(move, 20)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--pictures", type=int, default=1000)
    args = options.parse_args()
    print(hardware())
    print(f"import course_utils after torch      {import_seconds(args.repeats) * 1e3:8.0f} ms")
    for size in (32, 64):
        took = seconds(lambda size=size: draw_butterflies(args.pictures, size), args.repeats)
        print(f"{args.pictures:,} butterflies at {size} px           {took * 1e3:8.0f} ms")
    loader = make_loader(draw_butterflies(args.pictures, 32)[0], 64, flip=True)
    took = seconds(lambda: sum(1 for _ in loader), args.repeats) / len(loader)
    print(f"a batch of 64 of them, from memory   {took * 1e3:8.2f} ms")
    print(f"an answer to a moved slider          {answer_seconds() * 1e3:8.1f} ms")


if __name__ == "__main__":
    main()
