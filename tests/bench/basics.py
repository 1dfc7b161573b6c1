"""How long the course's basic operations take here: `python tests/bench/basics.py`.

Medians of several repetitions in one process; prints a table. Compare lines of one run only.
"""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from diffusers import UNet2DModel

from course_utils import (
    BasicUNet,
    NoiseSchedule,
    UNet,
    cycle,
    draw_butterflies,
    load_digits,
    make_loader,
    seed_everything,
    train,
)


def seconds(action: Callable[[], object], repeats: int = 5) -> float:
    """The median time of `action`, after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return median(times[1:])


def import_seconds() -> float:
    """What `import course_utils` adds to `import torch`, in fresh processes."""
    code = (
        "import time, torch; t = time.perf_counter(); import course_utils; "
        "print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    return median(float(subprocess.check_output(command)) for _ in range(5))


def butterfly_unet() -> UNet2DModel:
    """The network that notebook 01 trains."""
    return UNet2DModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(16, 32, 64, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )


def main() -> None:
    generator = seed_everything(0)
    schedule = NoiseSchedule.cosine(1000)
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"import course_utils after torch      {import_seconds() * 1e3:8.0f} ms")
    for size in (32, 64):
        took = seconds(lambda size=size: draw_butterflies(1000, size), 3)
        print(f"1,000 butterflies at {size} px           {took * 1e3:8.0f} ms")
    butterflies = draw_butterflies(1000, 32)[0]
    digits = load_digits("train", "offline").images
    for name, model, images, batch_size in (
        ("notebook 01's UNet2DModel", butterfly_unet(), butterflies, 16),
        ("BasicUNet", BasicUNet(), digits, 64),
        ("UNet", UNet(channels=(32, 64)), digits, 64),
    ):
        loader = make_loader(images, batch_size, flip=True, generator=generator)
        batches = cycle(loader)
        loading = seconds(lambda batches=batches: next(batches), 50)
        steps = train(model, loader, schedule, num_steps=30, lr=1e-3)
        step = seconds(lambda steps=steps: next(steps), 20)
        print(f"a step of {name:26} {step * 1e3:8.1f} ms, loader {loading / step:.1%}")


if __name__ == "__main__":
    main()
