"""Where a training step's time goes, and how far the limit is: `python tests/bench/steps.py`.

For the networks of both notebooks: steps and pictures per second, the share of loader, forward,
backward, optimizer and EMA, and the arithmetic rate beside that of one large matrix product on the
same machine, each in float32, with channels last and, where the hardware is made for it, with
bfloat16; on a GPU also compiled. Then a roofline, by kind of operation: its share of the time,
operations, bytes read, and the rates beside those of the machine. Then the peak memory of each
profile's batch size, each in a process of its own.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import pandas
import torch
from common import DEVICE, butterfly_recipe, digit_recipe
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from course_utils import EMA, cycle, diffusion_loss, draw_butterflies, load_digits, make_optimizer
from course_utils.runtime import hardware, has_bfloat16

RECIPES = {
    "digits": (digit_recipe, cache(lambda: load_digits("train", "offline").images)),
    "butterflies": (butterfly_recipe, cache(lambda: draw_butterflies(1000, 32)[0])),
}
BATCHES = {"smoke": 4, "cpu": 16, "gpu": 128}  # notebook 01's
KINDS = {  # of operations, as the profiler and the counter call them
    "convolution, forward": (
        "aten::mkldnn_convolution",
        "aten::convolution",
        "aten::_conv_depthwise2d",
    ),
    "convolution, backward": ("aten::convolution_backward",),
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm"),
    "normalisation": ("aten::native_group_norm", "aten::native_group_norm_backward"),
    "activation": ("aten::silu", "aten::silu_backward"),
    "copies": ("aten::copy_", "aten::cat", "aten::upsample_nearest2d"),
    "elementwise": (
        "aten::add",
        "aten::add_",
        "aten::mul",
        "aten::mul_",
        "aten::lerp_",
        "aten::sub",
    ),
}
PARTS = ("loader", "forward", "backward", "optimizer", "EMA")


def gflops(action: Callable[[], object]) -> float:
    """Its multiplications and additions, in billions."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops() / 1e9


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """GFLOP/s of a square matrix product."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    clock = Clock(device)
    for _ in range(3):
        a @ b
    clock.lap()
    for _ in range(10):
        a @ b
    return 10 * 2 * size**3 / clock.lap() / 1e9


class Clock:
    """Seconds since the last lap, once the device has caught up."""

    def __init__(self, device: torch.device):
        self.device, self.then = device, time.perf_counter()

    def lap(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        passed, self.then = now - self.then, now
        return passed


def step_parts(recipe: dict, device: torch.device, variant: str, num_steps: int) -> dict:
    """The mean seconds of each part of a step, after a warm-up of a quarter of the steps."""
    model = recipe["model"].to(device)
    if "channels last" in variant:
        model = model.to(memory_format=torch.channels_last)
    network = torch.compile(model) if "compiled" in variant else model
    half = "bfloat16" in variant
    arithmetic = torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
    optimizer, ema = make_optimizer(model, recipe["lr"], recipe["optimizer"]), EMA(model)
    keys = ("prediction_type", "timestep_sampling")
    options = {key: recipe[key] for key in keys if key in recipe}
    batches, clock, sums = cycle(recipe["loader"]), Clock(device), dict.fromkeys(PARTS, 0.0)
    for step in range(-(num_steps // 4), num_steps):
        if step == 0:
            sums = dict.fromkeys(PARTS, 0.0)
        clock.lap()
        x0 = next(batches).to(device)
        sums["loader"] += clock.lap()
        with arithmetic:
            loss = diffusion_loss(network, recipe["schedule"], x0, **options)
        sums["forward"] += clock.lap()
        loss.backward()
        sums["backward"] += clock.lap()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        sums["optimizer"] += clock.lap()
        ema.update(model)
        sums["EMA"] += clock.lap()
    return {part: seconds / num_steps for part, seconds in sums.items()}


def step_of(recipe: dict) -> Callable[[], None]:
    """One training step in float32, to be called again and again."""
    model = recipe["model"]
    optimizer, ema = make_optimizer(model, recipe["lr"], recipe["optimizer"]), EMA(model)
    batches = cycle(recipe["loader"])

    def step() -> None:
        diffusion_loss(
            model, recipe["schedule"], next(batches), prediction_type="v_prediction"
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)

    return step


def kind_of(operation: str) -> str:
    """The row of the roofline that an operation belongs to."""
    return next((kind for kind, names in KINDS.items() if operation in names), "the rest")


def roofline(name: str, num_steps: int, matrix_size: int) -> list[dict]:
    """For each kind of operation: its share, and how near to the machine's limits it comes."""
    make, pictures = RECIPES[name]
    step = step_of(make(pictures()))
    for _ in range(3):
        step()
    with FlopCounterMode(display=False) as counter:
        step()
    work, took, read = dict.fromkeys((*KINDS, "the rest"), 0.0), {}, {}
    for operation, count in counter.get_flop_counts()["Global"].items():
        work[kind_of(f"{operation}".replace("aten.", "aten::"))] += count / 1e9
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        for _ in range(num_steps):
            step()
    for event in recorded.key_averages(group_by_input_shape=True):
        kind = kind_of(event.key)
        sizes = [math.prod(shape) for shape in event.input_shapes if shape]
        took[kind] = took.get(kind, 0.0) + event.self_cpu_time_total / 1e6 / num_steps
        read[kind] = read.get(kind, 0.0) + 4 * sum(sizes) * event.count / 1e9 / num_steps
    limit, all_of_it = matrix_rate(DEVICE, torch.float32, matrix_size), sum(took.values())
    return [
        {
            "network": name,
            "operations": kind,
            "share of time": f"{took[kind] / all_of_it:.1%}",
            "GFLOP": round(work[kind], 2),
            "GB read": round(read[kind], 3) if kind in KINDS else "-",
            "GFLOP/s": round(work[kind] / took[kind]),
            "of a matrix product": f"{work[kind] / took[kind] / limit:.0%}",
            "GB/s": round(read[kind] / took[kind], 1) if kind in KINDS else "-",
        }
        for kind in work
        if took.get(kind)
    ]


def variants(device: torch.device) -> list[str]:
    """The kinds of arithmetic that the device is made for."""
    low = ["bfloat16", "bfloat16, channels last"] if has_bfloat16(device) else []
    compiled = ["compiled", *(f"{kind}, compiled" for kind in low[1:])]
    return ["float32", "channels last", *low, *(compiled if device.type == "cuda" else ())]


def row(name: str, variant: str, num_steps: int, matrix_size: int) -> dict:
    make, pictures = RECIPES[name]
    images = pictures()
    recipe = make(images)
    x0 = next(iter(recipe["loader"]))
    work = gflops(lambda: diffusion_loss(recipe["model"], recipe["schedule"], x0).backward())
    parts = step_parts(make(images), DEVICE, variant, num_steps)
    seconds = sum(parts.values())
    shares = {part: f"{took / seconds:.1%}" for part, took in parts.items()}
    dtype = torch.bfloat16 if "bfloat16" in variant else torch.float32
    return {
        "network": name,
        "arithmetic": variant,
        "steps/s": round(1 / seconds, 1),
        "images/s": round(len(x0) / seconds),
        **shares,
        "GFLOP/s": round(work / seconds),
        "matrix product": round(matrix_rate(DEVICE, dtype, matrix_size)),
    }


def peak_memory(batch_size: int) -> None:
    """Print how much memory this process held at most while it trained notebook 01's network."""
    recipe = butterfly_recipe(draw_butterflies(1000, 32)[0])
    recipe["loader"] = replace(recipe["loader"], batch_size=batch_size)
    step_parts(recipe, DEVICE, "float32", 4)
    if DEVICE.type == "cuda":
        print(round(torch.cuda.max_memory_allocated() / 1e6), "MB")
    elif sys.platform == "win32":
        print("not measured on Windows")
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(round(peak / (1e6 if sys.platform == "darwin" else 1e3)), "MB")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--matrix-size", type=int, default=2048, help="of the product")
    options.add_argument("--profiles", nargs="+", default=[*BATCHES], choices=BATCHES)
    options.add_argument("--peak-memory", type=int, metavar="BATCH_SIZE", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.peak_memory:
        return peak_memory(args.peak_memory)
    print(hardware())
    rows = [
        row(name, variant, args.steps, args.matrix_size)
        for name in RECIPES
        for variant in variants(DEVICE)
    ]
    print(pandas.DataFrame(rows).to_string(index=False))
    if DEVICE.type == "cpu":
        for name in RECIPES:
            rows = roofline(name, args.steps, args.matrix_size)
            print(pandas.DataFrame(rows).to_string(index=False))
    for name in args.profiles:
        command = [sys.executable, __file__, "--peak-memory", str(BATCHES[name])]
        peak = subprocess.check_output(command, text=True).strip()
        print(f"peak memory, profile {name}, batch of {BATCHES[name]}: {peak}")
    return None


if __name__ == "__main__":
    main()
