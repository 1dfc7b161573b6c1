"""What fine-tuning is worth: `python tests/bench/finetuning.py`.

The shipped butterflies learn 160 smileys in as many steps, by all weights, by a LoRA, or from
random weights, with each seed. After some of the steps the averaged weights draw: how near to
held-out smileys, how near to butterflies still. Seconds are the process's own, of one thread.
Writes course_utils/results/finetuning.json, which notebook 03 shows.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean

import torch
from diffusers import UNet2DModel
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    Trained,
    add_lora,
    count_parameters,
    draw_butterflies,
    draw_smileys,
    frechet_distance,
    kernel_distance,
    load_trained,
    lora_strength,
    make_loader,
    seed_everything,
    train,
)
from course_utils.evaluation.benchmarks import FINETUNING
from course_utils.models.lora import has_lora, lora_weights
from course_utils.runs.checkpoints import weights_of
from course_utils.runtime import hardware

RATES = {"full": 2e-3, "lora": 1e-2, "scratch": 6e-3}
RANK, PICTURES, BATCH = 3, 160, 16


def begin(method: str, seed: int) -> Trained:
    """The model before the first step."""
    trained = load_trained(PRETRAINED / "butterflies-32")
    seed_everything(seed)
    if method == "lora":
        add_lora(trained.model, RANK)
    if method == "scratch":
        trained = trained._replace(model=UNet2DModel.from_config(trained.model.config))
    return trained


def measure(trained: Trained, num: int, before: Tensor, real: dict[str, Tensor]) -> dict:
    """Distances of what it draws, and how far each picture is from what the same noise gave."""
    x = trained.draw(num, seed=1)
    numbers = {
        "frechet": frechet_distance(x, real["smileys"]),
        "kernel": kernel_distance(x, real["smileys"]),
        "butterflies": frechet_distance(x, real["butterflies"]),
        "moved": (x - before).square().mean().sqrt().item(),
    }
    return {name: round(number, 3) for name, number in numbers.items()}


def kilobytes(model: nn.Module) -> int:
    """Of the file that holds what was learned."""
    learned = lora_weights(model) if has_lora(model) else weights_of(model)
    return len(save({name: w.contiguous() for name, w in learned.items()})) // 1000


def learn(method: str, seed: int, marks: list[int], num: int, before: Tensor, real: dict) -> list:
    """One training; a row for each mark."""
    trained = begin(method, seed)
    model, generator = trained.model, torch.Generator().manual_seed(seed)
    loader = make_loader(draw_smileys(PICTURES), BATCH, generator=generator)
    ema, rows = EMA(model, decay=0.99), []
    options = {"num_steps": max(marks), "lr": RATES[method], "optimizer": "muon", "ema": ema}
    options |= {"prediction_type": trained.prediction_type, "generator": generator}
    options |= {"timestep_sampling": "logit_normal"}
    about = {"method": method, "seed": seed, "parameters": count_parameters(model)}
    about |= {"kilobytes": kilobytes(model)}
    seconds, began = 0.0, time.process_time()
    for done in train(model, loader, trained.schedule, **options):
        if done.step in marks:
            seconds += time.process_time() - began
            with ema.applied(model):
                found = measure(trained, num, before, real)
            rows.append({**about, "step": done.step, "seconds": round(seconds, 1), **found})
            began = time.process_time()
    if method == "lora":
        ema.copy_to(model)
        lora_strength(model, 0)
        off = {"method": "lora off", "step": max(marks), "seconds": rows[-1]["seconds"]}
        rows.append({**about, **off, **measure(trained, num, before, real)})
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100, 200])
    options.add_argument("--samples", type=int, default=200)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--output", type=Path, default=FINETUNING)
    args = options.parse_args()
    num, real = args.samples, {"smileys": draw_smileys(1000, seed=1)}
    real["butterflies"], _ = draw_butterflies(1200, seed=6)
    before = load_trained(PRETRAINED / "butterflies-32").draw(num, seed=1)
    start = measure(load_trained(PRETRAINED / "butterflies-32"), num, before, real)
    faces = draw_smileys(num, seed=2)
    floor = {"frechet": frechet_distance(faces, real["smileys"])}
    floor |= {"kernel": kernel_distance(faces, real["smileys"])}
    result = {"machine": hardware(), "samples": num, "pictures": PICTURES, "rank": RANK}
    result |= {"before": start, "floor": {k: round(v, 3) for k, v in floor.items()}, "rows": []}
    for seed in args.seeds:
        for method in tqdm(RATES, f"seed {seed}", disable=None):
            result["rows"] += learn(method, seed, args.steps, num, before, real)
            args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report(result, max(args.steps))


def report(result: dict, last: int) -> None:
    """What the text may say of it."""
    print(result["machine"], result["before"], sep="\n")
    ends = [row for row in result["rows"] if row["step"] == last]
    for method in dict.fromkeys(row["method"] for row in ends):
        rows = [row for row in ends if row["method"] == method]
        shown = ("seconds", "frechet", "kernel", "butterflies", "moved")
        means = ", ".join(f"{name} {mean(row[name] for row in rows):.2f}" for name in shown)
        few = f"{rows[0]['parameters']:,} numbers, {rows[0]['kilobytes']:,} kB"
        print(f"{method:8} {last} steps: {means}; {few}")
    for name in ("frechet", "kernel"):
        own = {(r["method"], r["seed"]): result["before"][name] - r[name] for r in ends}
        shares = [own["lora", s] / own["full", s] for m, s in own if m == "full"]
        print(f"of full fine-tuning's gain, {name}: {', '.join(f'{s:.0%}' for s in shares)}")
    print(f"{result['samples']} samples, floor {result['floor']}")


if __name__ == "__main__":
    main()
