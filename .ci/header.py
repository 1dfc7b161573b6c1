"""Draws the picture at the top of the README: `python .ci/header.py`.

Training pictures, noise at growing levels, and samples of the pipeline that ships.
"""

import io
from pathlib import Path

import torch
from diffusers import DDPMPipeline
from PIL import Image

from course_utils import PRETRAINED, NoiseSchedule, draw_butterflies, sample, to_model_range
from course_utils.plotting import show_rows

ROOT = Path(__file__).parent.parent


def main(columns: int = 10) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = to_model_range(draw_butterflies(columns, 32)[0])
    pipeline = DDPMPipeline.from_pretrained(PRETRAINED / "butterflies-32")
    schedule = NoiseSchedule(pipeline.scheduler.alphas_cumprod)
    x_T = torch.randn(x0.shape, generator=generator)
    timesteps = torch.linspace(100, 999, columns).long()
    settings = {"num_steps": 20, "prediction_type": "v_prediction", "order": 2}
    *_, last = sample(pipeline.unet, schedule, x_T, **settings)
    rows = {"training": x0, "noise": schedule.add_noise(x0, x_T, timesteps), "new": last.x_t}
    file = io.BytesIO()
    show_rows(rows).figure.savefig(file, dpi=200)
    picture = Image.open(file).convert("RGB").quantize(255, dither=Image.Dither.NONE)
    picture.save(ROOT / ".github" / "header.png", optimize=True)


if __name__ == "__main__":
    main()
