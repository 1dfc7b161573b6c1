"""What a recipe will cost: parameters, operations and time, before anything is trained."""

import time
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from course_utils.models import count_parameters
from course_utils.models.lora import has_lora
from course_utils.recipes import Recipe
from course_utils.runs.tasks import task_of
from course_utils.runtime import has_bfloat16, pick_device

PIECE = 2  # pictures that are counted; a batch costs in proportion
EFFICIENCY = 0.5  # how much of the rate of a large matrix product training reaches, roughly


class Plan(NamedTuple):
    """Costs of a recipe. FLOPs are counted; seconds are estimated for this machine.

    `num_parameters` is the network's own, `num_trained` how many numbers training changes: all of
    them, or those of a LoRA beside them.
    """

    num_parameters: int
    flops_per_step: int
    seconds: float
    num_trained: int


def make_plan(recipe: Recipe, rate: float | int | None = None) -> Plan:
    """Count on a model without memory; `rate` is the machine's, in FLOP/s (None: measured)."""
    training = recipe.training
    num_parameters, num_trained, flops = _count(recipe)
    flops = round(flops * training.batch_size / PIECE)
    seconds = (training.max_steps or 0) * flops / ((rate or matmul_rate()) * EFFICIENCY)
    if training.max_seconds:
        seconds = min(seconds or training.max_seconds, training.max_seconds)
    return Plan(num_parameters, flops, seconds, num_trained)


def matmul_rate(size: int = 1024, repeat: int = 8) -> float:
    """FLOP/s of this machine's device on a large matrix product, in the precision of training."""
    device = pick_device()
    gpu = device.type == "cuda"
    dtype = torch.bfloat16 if gpu and has_bfloat16(device) else torch.float32
    size = 8 * size if gpu else size
    a = torch.randn(size, size, device=device, dtype=dtype)
    (a @ a)[0, 0].item()
    started = time.perf_counter()
    for _ in range(repeat):
        b = a @ a
    b[0, 0].item()  # a GPU only has answered when asked
    return repeat * 2 * size**3 / (time.perf_counter() - started)


def _count(recipe: Recipe) -> tuple[int, int, int]:
    """Parameters of the network; those that are trained; FLOPs of a step on PIECE pictures."""
    with FlopCounterMode(display=False) as counter:
        model, loss = task_of(recipe).rehearse(recipe, PIECE)
        loss.backward()
    num_trained, everything = count_parameters(model), sum(w.numel() for w in model.parameters())
    num_parameters = everything - num_trained if has_lora(model) else everything
    return num_parameters, num_trained, counter.get_total_flops()
