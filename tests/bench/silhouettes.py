"""How a network learns to follow a drawing: `python tests/bench/silhouettes.py`.

Branches beside the frozen `butterflies-32-classes`, trained for ever longer with each seed, draw
into silhouettes that they have not seen. Counted is how far the shapes overlap, with the silhouette
asked for and, for chance, with another. Writes course_utils/results/silhouettes.json, which
notebook 03 shows.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate
from tqdm import tqdm

from course_utils import (
    EMA,
    PRETRAINED,
    SPECIES,
    Controlled,
    Trained,
    agreement,
    draw_butterflies,
    draw_silhouettes,
    find_silhouettes,
    load_trained,
    make_loader,
    off_palette,
    overlap,
    seed_everything,
    to_model_range,
    to_uint8,
    train,
)
from course_utils.evaluation.benchmarks import SILHOUETTES
from course_utils.runtime import fast_arithmetic, hardware, pick_device

BATCH, GUIDANCE = 32, 1.5
DEVICE = pick_device()


def follow(
    base: Trained,
    num_steps: int,
    seed: int,
    model: Controlled | None = None,
    cut: bool = False,
    num: int = 10_000,
) -> Trained:
    """A branch beside the network, trained on drawings and their exact silhouettes, mirrored, too;
    with `cut` as many again, cut out by scissors. One picture in four is not told its species."""
    generator = seed_everything(seed)
    model = (model or Controlled(base.model.float())).to(DEVICE)
    (images, labels), shapes = draw_butterflies(num, seed=1), draw_silhouettes(num, seed=1)
    if cut:
        pieces = cut_out(images, shapes, generator)
        images, shapes = (torch.cat(pair) for pair in zip((images, shapes), pieces, strict=True))
        labels = labels.repeat(2)
    labels = torch.where(torch.rand(len(labels)) < 0.25, len(SPECIES), labels)
    images, shapes = (torch.cat([x, x.flip(-1)]) for x in (images, shapes))
    told = {"class_labels": labels.repeat(2), "controlnet_cond": shapes}
    loader = make_loader(images, BATCH, generator=generator, device=DEVICE, condition=told)
    ema = EMA(model, decay=max(0.0, min(0.998, 1 - 4 / num_steps)))
    steps = train(
        model,
        loader,
        base.schedule,
        num_steps=num_steps,
        lr=4e-3,
        prediction_type=base.prediction_type,
        timestep_sampling="logit_normal",
        optimizer="muon",
        ema=ema,
        generator=generator,
    )
    with fast_arithmetic(DEVICE):
        for _ in tqdm(steps, total=num_steps, disable=None, mininterval=10):
            pass
    ema.copy_to(model)
    return base._replace(model=model)


def cut_out(images: Tensor, shapes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces of wings, enlarged, of any shape: blots, and strokes as wide as a letter's.

    uint8 (N, 3, 32, 32) and silhouettes (N, 1, 32, 32) → the same, on the picture's own paper.
    """
    num = len(images)
    place = torch.zeros(num, 2, 3)
    place[:, 0, 0] = place[:, 1, 1] = 0.35 + 0.4 * torch.rand(num, generator=generator)
    place[:, :, 2] = 0.6 * torch.rand(num, 2, generator=generator) - 0.3
    grid = affine_grid(place, (num, 3, 32, 32), align_corners=False)
    near = {"grid": grid, "align_corners": False}
    x, paper = to_model_range(images), to_model_range(images[:, :, :1, :1])
    x = grid_sample(x, padding_mode="border", **near)
    inside = grid_sample(shapes.float() / 255, **near) > 0.5
    rough = torch.randn(num, 1, 7, 7, generator=generator)
    smooth = interpolate(rough, (32, 32), mode="bicubic")
    strokes = torch.rand(num, 1, 1, 1, generator=generator) < 0.5
    kept = inside & torch.where(strokes, smooth.abs() < 0.55, smooth > 0.2)
    return to_uint8(torch.where(kept, x, paper)), kept.to(torch.uint8) * 255


def measure(trained: Trained, shapes: Tensor, labels: Tensor, guidance: float, seed: int) -> dict:
    """Overlap with the silhouettes asked for, and with those of others; species as asked for."""
    told = {"class_labels": labels, "controlnet_cond": shapes}
    with fast_arithmetic(DEVICE):
        drawn = trained.draw(len(shapes), seed=seed, condition=told, guidance=guidance)
    found = find_silhouettes(drawn)
    numbers = {
        "overlap": overlap(found, shapes).mean().item(),
        "shuffled": overlap(found, shapes.roll(5, 0)).mean().item(),
        "agreement": agreement(drawn, labels),
        "off_palette": off_palette(drawn).mean().item(),
    }
    return {name: round(number, 4) for name, number in numbers.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    options.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    options.add_argument("--samples", type=int, default=60)
    options.add_argument("--pictures", type=int, default=10_000)
    options.add_argument("--calls", type=int, default=20)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--output", type=Path, default=SILHOUETTES)
    args = options.parse_args()
    base = load_trained(PRETRAINED / "butterflies-32-classes")
    base = base._replace(sampler=replace(base.sampler, num_steps=args.calls))
    (images, labels), shapes = (
        f(args.samples, seed=6) for f in (draw_butterflies, draw_silhouettes)
    )
    others = (labels + 1) % len(SPECIES)
    shipped = base._replace(model=Controlled.shipped(base.model).to(DEVICE))
    asked = {"shape's own": labels, "another's": others}
    rows = []
    for seed in tqdm(args.seeds, "seeds", disable=None):
        for guidance in args.guidance:
            for species, told in asked.items():
                row = {"network": "shipped", "guidance": guidance, "species": species, "seed": seed}
                rows.append(row | measure(shipped, shapes, told, guidance, seed))
        for num_steps in args.steps:
            row = {"network": "trained here", "pictures": num_steps * BATCH, "guidance": GUIDANCE}
            trained = follow(base, num_steps, seed, num=args.pictures)
            numbers = measure(trained, shapes, labels, GUIDANCE, seed)
            rows.append(row | {"species": "shape's own", "seed": seed} | numbers)
    floor = {
        "overlap": overlap(find_silhouettes(images), shapes).mean().item(),
        "shuffled": overlap(shapes, shapes.roll(5, 0)).mean().item(),
    }
    result = {"machine": hardware(), "samples": args.samples, "floor": floor, "rows": rows}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(hardware())
    for row in rows:
        print(*(f"{name} {value}," for name, value in row.items()))
    print(f"{args.samples} samples, floor {floor}")


if __name__ == "__main__":
    main()
