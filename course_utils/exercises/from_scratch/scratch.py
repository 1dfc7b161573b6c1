"""The empty page: training and sampling for points in the plane, judged by what is drawn."""

from itertools import pairwise

import torch
from torch import nn

from course_utils.exercises.judge.creation import Creation
from course_utils.exercises.judge.exercise import Slip
from course_utils.language import N_


def my_diffusion(points, generator):
    """points (N, 2), mean 0 and standard deviation 1 → N new points: trained, then drawn."""
    widths = [3, 128, 128, 128]
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.SiLU())]
    model = nn.Sequential(*layers, nn.Linear(128, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(1500):
        x0 = points[torch.randint(len(points), (256,), generator=generator)]
        noise, sigma = torch.randn(256, 2, generator=generator), torch.rand(256, 1)
        x_t = (1 - sigma) * x0 + sigma * noise
        v_pred = model(torch.cat([x_t, sigma], dim=1))
        loss = ((v_pred - (noise - x0)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, levels = torch.randn(len(points), 2, generator=generator), torch.linspace(1, 0, 51)
    for sigma_t, sigma_s in pairwise(levels):
        with torch.no_grad():
            x0_pred = x - sigma_t * model(torch.cat([x, sigma_t.expand(len(x), 1)], dim=1))
        ratio = (1 - sigma_t) / (1 - sigma_s)
        added = sigma_t**2 - ratio**2 * sigma_s**2
        mean = (ratio * sigma_s**2 * x + (1 - sigma_s) * added * x0_pred) / sigma_t**2
        x = mean + sigma_s * added**0.5 / sigma_t * torch.randn(x.shape, generator=generator)
    return x


def _moons(draw):
    """Two half circles that reach into each other."""
    angle, upper = torch.pi * draw.uniform(600), draw.uniform(600) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    return torch.stack([x, torch.where(upper, angle.sin(), 0.5 - angle.sin())], dim=1)


def _spiral(draw):
    """One arm, one and a half times around."""
    angle = 3 * torch.pi * draw.uniform(600).sqrt()
    return torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)


def _data(draw):
    """Both, each turned by chance: nobody knows them by heart."""
    for shape in (_moons, _spiral):
        angle = 2 * torch.pi * draw.uniform(1)
        cos, sin = angle.cos(), angle.sin()
        points = shape(draw) @ torch.stack([cos, sin, -sin, cos]).view(2, 2)
        points = (points - points.mean(0)) / points.std() + 0.03 * draw.normal(600, 2)
        yield points, draw.generator()


empty_page = Creation(
    name="empty_page",
    answer=my_diffusion,
    cases=_data,
    slips=(
        Slip(
            lambda points, generator: points + 0,
            N_("Those are the training points. Train on them, and draw new ones from noise."),
        ),
        Slip(
            lambda points, generator: torch.randn(points.shape, generator=generator),
            N_("Pure noise: nothing has been trained, or no step has been taken."),
        ),
        Slip(
            lambda points, generator: points.mean(0).expand(len(points), 2) + 0,
            N_("The mean of all points: that is the answer of one single step from pure noise."),
        ),
    ),
    hints=(
        N_("A network of four layers will do: it takes x_t and sigma, 3 numbers, and gives 2."),
        N_("Train on random batches, each point with a sigma of its own, to predict noise - x0."),
        N_("Draw: begin with noise, go down 50 levels from 1 to 0, with the step of DDPM or DDIM."),
    ),
    why=N_(
        "It is all that you have learned, on an empty page: mix, predict, square the error; then "
        "step down the levels. Pictures need a larger network and nothing else."
    ),
    notice=N_(
        "Nothing in it knew which data would come. You can write diffusion models: keep this "
        "function, it is the seed of every one."
    ),
)
