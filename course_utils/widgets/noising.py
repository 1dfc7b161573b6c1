"""Noise by hand: one picture at any timestep of any schedule, and schedules made to measure."""

import ipywidgets
import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.checks import check_images
from course_utils.language import _
from course_utils.plotting import plot_schedule, show_corruption, show_images
from course_utils.schedule import NoiseSchedule
from course_utils.widgets.controls import control, is_live, panel, still
from course_utils.widgets.page import beside, curves, picture, words

NUM_LEVELS = 8


def noise(
    x0: Float[Tensor, "B C H W"],
    schedules: dict[str, NoiseSchedule] | None = None,
    *,
    timestep: int = 500,
    seed: int = 0,
) -> ipywidgets.VBox | Figure:
    """A picture of x0 in [-1, 1], the same one noisy, and where its timestep lies on the curves.

    Moves: the picture, the timestep, the schedule (default: cosine, linear and straight). The
    noise, drawn from `seed`, stays.
    """
    x0 = check_images("x0", x0).detach().cpu()
    schedules = schedules or {
        _("cosine"): NoiseSchedule.cosine(),
        _("linear"): NoiseSchedule.linear(),
        _("straight"): NoiseSchedule.straight(),
    }
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=x0.dtype)
    if not is_live():
        return _noise_figure(x0[:1], schedules, timestep, eps[:1])
    return _noise_panel(x0, schedules, timestep, eps)


def _noise_panel(x0, schedules, timestep, eps):
    def show(image, timestep, schedule):
        chosen, one = schedules[schedule], slice(image, image + 1)
        x_t = chosen.add_noise(x0[one], eps[one], torch.tensor([timestep]))
        numbers = _numbers(chosen, timestep)
        noisy = _("the noisy picture, {numbers}").format(numbers=numbers)
        return beside(
            picture(x0[one], _("the clean picture"), "x0", width=160),
            picture(x_t, noisy, f"x_t, t = {timestep}", width=160),
            _mix_curves(chosen, timestep),
            words(numbers),
        )

    longest = max(map(len, schedules.values())) - 1
    slider = ipywidgets.IntSlider
    return panel(
        show,
        image=control(slider, _("picture"), _("which picture"), value=0, min=0, max=len(x0) - 1),
        timestep=control(slider, _("timestep t"), _("how noisy"), value=timestep, max=longest),
        schedule=control(
            ipywidgets.Dropdown, _("schedule"), _("which curves"), options=list(schedules)
        ),
    )


def _numbers(schedule, t):
    alpha, sigma, snr = (
        table[t].item() for table in (schedule.alphas, schedule.sigmas, schedule.snr)
    )
    text = _("x_t = {alpha:.3f} · x0 + {sigma:.3f} · noise; signal-to-noise ratio {snr:.3g}")
    return text.format(alpha=alpha, sigma=sigma, snr=snr)


def _mix_curves(schedule, marker=None):
    lines = {_("signal α"): schedule.alphas.tolist(), _("noise σ"): schedule.sigmas.tolist()}
    alt = _("two curves over the timestep: the signal falls, the noise rises")
    return curves(lines, alt, xlabel=_("timestep t"), marker=marker, limits=(0, 1))


def _noise_figure(x0, schedules, timestep, eps):
    _figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 2.6), layout="constrained", facecolor="white", width_ratios=(1, 1.4)
    )
    name, first = next(iter(schedules.items()))
    plot_schedule(first, left, title=name)
    left.axvline(timestep, color="black", lw=1)
    when = torch.tensor([timestep])
    x_t = [schedule.add_noise(x0, eps, when) for schedule in schedules.values()]
    captions = [f"{name}\nSNR {s.snr[timestep]:.3g}" for name, s in schedules.items()]
    title = _("one picture at t = {t}").format(t=timestep)
    pictures, captions = torch.cat([x0, *x_t]), [_("clean") + "\n", *captions]
    show_images(pictures, right, columns=len(captions), captions=captions, title=title)
    return still(left)


def workshop(x0: Float[Tensor, "1 C H W"]) -> ipywidgets.VBox | Figure:
    """Two schedules to shape, and at once their curves and what they do to the picture x0.

    Moves: beta_start and beta_end of the linear schedule, the offset of the cosine one.
    """
    x0 = check_images("x0", x0)[:1].detach().cpu()
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0), dtype=x0.dtype)
    if not is_live():
        return _workshop_figure(x0, eps)

    def show_linear(beta_start, beta_end):
        return _strip(x0, eps, NoiseSchedule.linear(1000, beta_start, beta_end))

    def show_cosine(offset):
        return _strip(x0, eps, NoiseSchedule.cosine(1000, offset))

    log = {"min": -5, "max": -1, "step": 0.05, "readout_format": ".5f"}
    log_slider, slider = ipywidgets.FloatLogSlider, ipywidgets.FloatSlider
    linear = panel(
        show_linear,
        beta_start=control(log_slider, "beta_start", _("the first beta"), value=1e-4, **log),
        beta_end=control(log_slider, "beta_end", _("the last beta"), value=0.02, **log),
    )
    span = {"min": 0.0, "max": 0.5, "step": 0.002, "readout_format": ".3f"}
    tip = _("how far from the clean picture the cosine begins")
    cosine = panel(
        show_cosine, offset=control(slider, _("cosine offset"), tip, value=0.008, **span)
    )
    return ipywidgets.VBox([linear, cosine])


def _strip(x0, eps, schedule):
    timesteps = torch.linspace(0, len(schedule) - 1, NUM_LEVELS).long()
    x_t = schedule.add_noise(
        x0.expand(NUM_LEVELS, -1, -1, -1), eps.expand(NUM_LEVELS, -1, -1, -1), timesteps
    )
    alpha = schedule.alphas[-1].item()
    left = _("at the last timestep {alpha:.1%} of the signal is left").format(alpha=alpha)
    alt = _("one picture at eight timesteps, noisier to the right")
    return beside(_mix_curves(schedule), picture(x_t, alt, left, width=440))


def _workshop_figure(x0, eps):
    kinds = {_("linear"): NoiseSchedule.linear(), _("cosine"): NoiseSchedule.cosine()}
    _figure, rows = plt.subplots(
        2, 2, figsize=(8, 4.4), layout="constrained", facecolor="white", width_ratios=(1, 1.6)
    )
    for (name, schedule), (left, right) in zip(kinds.items(), rows, strict=True):
        plot_schedule(schedule, left, title=name)
        show_corruption(x0, schedule, right, noise=eps, num_levels=6)
    return still(rows[0, 0])
