"""Draws the pictures of the README, without words, for every language: `python .ci/header.py`.

`header.png`: training pictures, noise at growing levels, and samples of the pipeline that ships.
`chain.png`: one butterfly on its way to noise and back, as a Markov chain.
"""

import io
from pathlib import Path

import torch
from diffusers import DDPMPipeline
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from course_utils import (
    PRETRAINED,
    NoiseSchedule,
    draw_butterflies,
    sample,
    to_display_range,
    to_model_range,
)
from course_utils.plotting import show_images

ROOT = Path(__file__).parent.parent
# Timesteps and their names; None is what is left out between them.
CHAIN = ((0, "$x_0$"), None, (400, "$x_{t-1}$"), (480, "$x_t$"), None, (999, "$x_T$"))
ARROW = {"arrowstyle": "-|>", "mutation_scale": 16, "color": "#222222", "lw": 1.4}


def draw_header(schedule: NoiseSchedule, network: torch.nn.Module, columns: int = 10) -> Figure:
    """Three rows: what is learned from, what becomes of it, what is drawn."""
    generator = torch.Generator().manual_seed(0)
    x0 = to_model_range(draw_butterflies(columns, 32)[0])
    x_T = torch.randn(x0.shape, generator=generator)
    timesteps = torch.linspace(100, 999, columns).long()
    settings = {"num_steps": 20, "prediction_type": "v_prediction", "order": 2}
    *_, last = sample(network, schedule, x_T, **settings)
    pictures = torch.cat([x0, schedule.add_noise(x0, x_T, timesteps), last.x_t])
    return show_images(pictures, columns=columns).figure


def draw_chain(schedule: NoiseSchedule) -> Figure:
    """x_0 to x_T from left to right; q above adds noise, p below takes it away."""
    x0 = to_model_range(draw_butterflies(6, 32)[0][5:])
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    figure, ax = plt.subplots(figsize=(9, 2.2), layout="constrained", facecolor="white")
    for place, link in enumerate(CHAIN):
        if link is None:
            ax.text(place, 0, "⋯", size=26, ha="center", va="center")
            continue
        t, name = link
        x_t = schedule.add_noise(x0, noise, torch.tensor([t]))[0]
        picture = to_display_range(x_t).clamp(0, 1).permute(1, 2, 0)
        box = (place - 0.33, place + 0.33, -0.33, 0.33)
        ax.imshow(picture, extent=box, interpolation="nearest")
        ax.text(place, -0.38, name, size=15, ha="center", va="top")
    for place in range(len(CHAIN) - 1):
        for height, (a, b) in ((0.2, (0.37, 0.63)), (-0.2, (0.63, 0.37))):
            ends = (place + a, height), (place + b, height)
            ax.add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **ARROW))
    middle = (len(CHAIN) - 1) / 2
    ax.text(middle, 0.42, "$q(x_t\\mid x_{t-1})$", size=14, ha="center", va="bottom")
    ax.text(middle, -0.68, "$p_\\theta(x_{t-1}\\mid x_t)$", size=14, ha="center", va="top")
    ax.set(xlim=(-0.4, len(CHAIN) - 0.6), ylim=(-1.0, 0.75), aspect="equal")
    ax.axis("off")
    return figure


def save(figure: Figure, name: str) -> None:
    """With a palette, which makes it small."""
    file = io.BytesIO()
    figure.savefig(file, dpi=200)
    picture = Image.open(file).convert("RGB").quantize(255, dither=Image.Dither.NONE)
    picture.save(ROOT / ".github" / name, optimize=True)


def main() -> None:
    pipeline = DDPMPipeline.from_pretrained(PRETRAINED / "butterflies-32")
    schedule = NoiseSchedule(pipeline.scheduler.alphas_cumprod)
    save(draw_header(schedule, pipeline.unet), "header.png")
    save(draw_chain(schedule), "chain.png")


if __name__ == "__main__":
    main()
