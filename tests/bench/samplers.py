"""Distance against network calls: `python tests/bench/samplers.py`.

Draws butterflies with the pipeline that ships, by the schedulers of diffusers and by the course's
`sample`, from the same noise, and writes course_utils/results/samplers.json.
"""

import argparse
import json
from pathlib import Path

import pandas
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from tqdm import tqdm

from course_utils import PRETRAINED, NoiseSchedule, draw_butterflies, sample
from course_utils.evaluation.benchmarks import SAMPLERS
from course_utils.evaluation.distances import frechet_distance, kernel_distance
from course_utils.runtime import hardware

CALLS = (5, 8, 10, 15, 20, 30, 50)
THEIRS = {
    "DDPM": DDPMScheduler,
    "DDIM": DDIMScheduler,
    "DPM-Solver++": DPMSolverMultistepScheduler,
    "UniPC": UniPCMultistepScheduler,
}
OURS = {
    "sample, eta=1": {"eta": 1.0},
    "sample, order=1": {},
    "sample, order=2": {"order": 2},
}


def by_diffusers(pipeline: DDPMPipeline, name: str, x_T: torch.Tensor, num_calls: int, fresh):
    """The pipeline's loop, from given noise."""
    scheduler = THEIRS[name].from_config(pipeline.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(num_calls)
    x_t = x_T
    options = {"generator": fresh} if name in ("DDPM", "DDIM") else {}
    for t in scheduler.timesteps:
        with torch.no_grad():
            model_output = pipeline.unet(x_t, t).sample
        x_t = scheduler.step(model_output, t, x_t, **options).prev_sample
    return x_t


def by_the_course(pipeline: DDPMPipeline, name: str, x_T: torch.Tensor, num_calls: int, fresh):
    """The last step of `sample`."""
    schedule = NoiseSchedule(pipeline.scheduler.alphas_cumprod)
    settings = {"num_steps": num_calls, "prediction_type": "v_prediction", **OURS[name]}
    return list(sample(pipeline.unet, schedule, x_T, generator=fresh, **settings))[-1].x_t


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=400)
    options.add_argument("--only", type=int, help="the first so many walks")
    options.add_argument("--output", type=Path, default=SAMPLERS)
    args = options.parse_args()
    pipeline = DDPMPipeline.from_pretrained(PRETRAINED / "butterflies-32")
    held = draw_butterflies(1200, 32, seed=6)[0]
    floor = draw_butterflies(args.samples, 32, seed=7)[0]
    x_T = torch.randn(args.samples, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    walks = [(name, calls) for name in [*THEIRS, *OURS] for calls in CALLS]
    walks.append(("DDPM", 1000))
    rows = []
    for name, calls in tqdm(walks[: args.only], disable=None):
        walk = by_diffusers if name in THEIRS else by_the_course
        fresh = torch.Generator().manual_seed(2)  # one for all parts: no two get the same noise
        parts = [walk(pipeline, name, part, calls, fresh) for part in x_T.split(60)]
        x = torch.cat(parts).clamp(-1, 1)
        rows.append(
            {
                "sampler": name,
                "calls": calls,
                "frechet": round(frechet_distance(x, held), 2),
                "kernel": round(kernel_distance(x, held), 4),
            }
        )
    result = {
        "machine": hardware(),
        "samples": args.samples,
        "floor": round(frechet_distance(floor, held), 2),
        "kernel_floor": round(kernel_distance(floor, held), 4),
        "rows": rows,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware(), f"{args.samples} samples, floor {result['floor']}")
    table = pandas.DataFrame(rows)
    print(table.pivot(index="calls", columns="sampler", values="frechet").to_string())


if __name__ == "__main__":
    main()
