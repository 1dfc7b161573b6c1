"""Notebook 02: what it builds is what the package holds, and each formula against an oracle."""

import math
import textwrap
from functools import partial
from itertools import pairwise

import lifting
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import course_utils as cu
from course_utils.exercises import from_scratch as ex
from course_utils.exercises.judge.creation import how_far
from course_utils.models import blocks
from course_utils.schedule import circle, line

lift = partial(lifting.lift, "02_diffusion_models_from_scratch")
LEVELS = st.floats(0.05, 0.95)


@pytest.fixture
def points():
    return torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def x_t():
    return torch.randn(4, 2, generator=torch.Generator().manual_seed(1)).double()


# --- what is built is what is imported


def test_the_notebooks_corrupt_is_the_packages():
    x, noise = torch.rand(4, 1, 5, 5), torch.rand(4, 1, 5, 5)
    amount = torch.linspace(0, 1, 4)
    ours = lift("corrupt").corrupt(x, amount, noise)
    assert torch.equal(ours, cu.corrupt(x, amount, noise))


def test_the_notebooks_toy_is_the_packages():
    torch.manual_seed(0)
    theirs, ours = cu.BasicUNet(), lift("unet").BasicUNet()
    assert cu.count_parameters(ours) == cu.count_parameters(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(ours(x), theirs(x))


def test_the_notebooks_walk_is_the_packages_sampler():
    torch.manual_seed(0)
    network, x = cu.BasicUNet(), torch.rand(2, 1, 28, 28)
    ours, history = lift("walk").walk(network, x, 8)
    straight = cu.NoiseSchedule.straight(1000)
    options = {"num_steps": 8, "prediction_type": "sample"}
    steps = list(cu.sample(network, straight, x, **options))
    torch.testing.assert_close(ours, steps[-1].x_t, rtol=1e-4, atol=1e-5)
    assert len(history) == 8


def test_the_notebooks_schedule_is_the_packages():
    straight = cu.NoiseSchedule.straight(1000)
    mine = lift("schedule").Schedule(straight.alphas, straight.sigmas)
    x0, noise, timesteps = (
        torch.randn(3, 1, 2, 2),
        torch.randn(3, 1, 2, 2),
        torch.tensor([0, 9, 99]),
    )
    assert torch.equal(
        mine.add_noise(x0, noise, timesteps), straight.add_noise(x0, noise, timesteps)
    )


@pytest.mark.parametrize("width_out", [16, 24])
def test_the_notebooks_block_is_the_packages(width_out):
    torch.manual_seed(0)
    theirs, ours = (module.ResBlock(16, width_out, 5) for module in (blocks, lift("block")))
    x, time = torch.randn(2, 16, 4, 4), torch.randn(2, 5)
    nn.init.normal_(theirs.conv2.weight)
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours(x, time), theirs(x, time))


def test_the_notebooks_ddpm_step_is_the_packages_sampler():
    step, straight = lift("ddpm-step").ddpm_step, cu.NoiseSchedule.straight(10)
    x = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    options = {"num_steps": 10, "prediction_type": "sample", "eta": 1.0}
    own, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    steps = cu.sample(lambda x, t: x.tanh(), straight, x, generator=theirs, **options)
    for i, found in zip(range(10, 1, -1), steps, strict=False):
        levels = 1 - i / 10, i / 10, 1 - (i - 1) / 10, (i - 1) / 10
        x = step(x, x.tanh(), *levels, own)
        torch.testing.assert_close(x, found.x_t, rtol=1e-5, atol=1e-6)


def test_the_notebooks_average_is_the_packages():
    """The loop's own two lines, taken from the cell, beside EMA after its warm-up."""
    lines = lifting.source("02_diffusion_models_from_scratch", "train-unet").splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.strip().startswith("for mean, weights")]
    update = textwrap.dedent("\n".join(lines[start : start + 2]))
    torch.manual_seed(0)
    unet, average = nn.Linear(3, 2), nn.Linear(3, 2)
    average.load_state_dict(unet.state_dict())
    ema = cu.EMA(unet, decay=0.9)
    ema.num_updates = 1000
    with torch.no_grad():
        for weights in unet.parameters():
            weights.add_(1)
    exec(update, {"average": average, "unet": unet, "decay": 0.9, "zip": zip})
    ema.update(unet)
    for ours, theirs in zip(average.parameters(), ema.shadow, strict=True):
        torch.testing.assert_close(ours.data, theirs)


# --- the perfect denoiser


@settings(deadline=None, max_examples=20)
@given(alpha=LEVELS, sigma=LEVELS)
def test_the_perfect_denoiser_is_the_posterior_mean(alpha, sigma):
    """Against Bayes' rule, one point and one term at a time."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 2, generator=generator).double()
    x_t = torch.randn(4, 2, generator=generator).double()
    found = lift("denoise").denoise(x_t, points, alpha, sigma)
    for x, mean in zip(x_t, found, strict=True):
        density = torch.distributions.Normal(alpha * points, sigma).log_prob(x).sum(1).exp()
        torch.testing.assert_close((density[:, None] * points).sum(0) / density.sum(), mean)


def test_no_answer_has_a_smaller_squared_error(points):
    """And the error splits into what the answer adds and the floor, as the section says."""
    denoise, generator = lift("denoise").denoise, torch.Generator().manual_seed(0)
    which = torch.randint(6, (20_000,), generator=generator)
    x0, noise = points[which], torch.randn(20_000, 2, generator=generator).double()
    x_t = 0.6 * x0 + 0.4 * noise
    best = denoise(x_t, points, 0.6, 0.4)
    floor = ((x0 - best) ** 2).sum(1).mean()
    for other in (x_t, x_t / 0.6, points.mean(0).expand_as(x0), best + 0.1):
        error, added = ((x0 - other) ** 2).sum(1).mean(), ((best - other) ** 2).sum(1).mean()
        assert error > floor
        assert error.item() == pytest.approx((floor + added).item(), rel=0.03)


@settings(deadline=None, max_examples=20)
@given(alpha=LEVELS, sigma=LEVELS)
def test_the_score_is_the_gradient_of_log_p(alpha, sigma):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 2, generator=generator).double()
    x_t = torch.randn(4, 2, generator=generator).double().requires_grad_()
    gaussians = torch.distributions.Normal(alpha * points, sigma)
    log_p = gaussians.log_prob(x_t[:, None]).sum(2).logsumexp(1).sum()
    (gradient,) = torch.autograd.grad(log_p, x_t)
    x0_pred = lift("denoise").denoise(x_t.detach(), points, alpha, sigma)
    torch.testing.assert_close(ex.score.answer(x_t.detach(), x0_pred, alpha, sigma), gradient)
    noise = (x_t.detach() - alpha * x0_pred) / sigma
    torch.testing.assert_close(-noise / sigma, gradient)


def test_the_ode_of_a_gaussian_scales_it():
    """Data of width h: at each level x_t has width sqrt(sigma² + alpha² h²), and keeps its rank."""
    h, levels = 0.5, torch.linspace(0.999, 0.001, 4000).double()
    x = torch.ones(1, 1).double()
    widths = (levels**2 + (1 - levels) ** 2 * h**2).sqrt()
    for now, following in pairwise(levels):
        alpha, sigma = 1 - now, now
        x0 = alpha * h**2 / (sigma**2 + alpha**2 * h**2) * x
        x = x + (following - now) * ((x - alpha * x0) / sigma - x0)
    assert x.item() == pytest.approx((widths[-1] / widths[0]).item(), rel=1e-3)


def test_the_line_and_the_circle_are_one_path_in_other_units(points):
    denoise = lift("denoise").denoise
    ode = lift("curves", denoise=denoise, points=points).ode
    ratio = torch.logspace(2, -2, 30).double()
    start = ratio[0] * torch.randn(5, 2, generator=torch.Generator().manual_seed(2)).double()
    ends = []
    for alpha in (1 / (1 + ratio), (1 + ratio**2) ** -0.5):
        ends.append(ode(start * alpha[0], alpha, ratio * alpha) / alpha[:, None, None])
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


def test_perfection_copies(points):
    assert ex.perfect.answer() == "copies"
    ratios = torch.logspace(-3, 2, 50)
    schedule = cu.NoiseSchedule(ratios / (1 + ratios), line)
    denoise = lift("denoise").denoise
    perfect = lift("paths", denoise=denoise).perfect
    model = partial(perfect, data=points.float(), schedule=schedule)
    start = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    *_, last = cu.sample(model, schedule, start, num_steps=50, prediction_type="sample")
    assert (torch.cdist(last.x_t, points.float()).amin(1) < 1e-3).float().mean() > 0.9


def test_a_window_over_everything_makes_the_local_denoiser_the_perfect_one():
    generator = torch.Generator().manual_seed(0)
    pictures, x_t = torch.randn(5, 1, 6, 6, generator=generator), torch.randn(2, 1, 6, 6)
    ours = lift("local").denoise_locally(x_t, pictures, 0.5, 2.0, 13)
    theirs = lift("denoise").denoise(x_t.flatten(1), pictures.flatten(1), 0.5, 2.0)
    torch.testing.assert_close(ours.flatten(1), theirs, rtol=1e-4, atol=1e-4)


def test_a_window_of_one_pixel_looks_at_that_pixel_alone():
    pictures, x_t = torch.randn(5, 1, 4, 4), torch.randn(2, 1, 4, 4)
    ours = lift("local").denoise_locally(x_t, pictures, 0.5, 0.7, 1)
    one = lift("denoise").denoise(x_t[:, 0, 1, 2, None], pictures[:, 0, 1, 2, None], 0.5, 0.7)
    torch.testing.assert_close(ours[:, 0, 1, 2, None], one)


# --- three targets


@settings(deadline=None, max_examples=20)
@given(level=LEVELS)
def test_the_table_of_losses(level):
    """L_noise = SNR L_x0 and L_v = L_x0 / sigma², on the circle and on the line."""
    generator = torch.Generator().manual_seed(0)
    x0, noise, guess = torch.randn(3, 50, generator=generator).double()
    for point in (circle(torch.tensor(level).double()), line(torch.tensor(level).double())):
        x_t, found = point.mix(x0, noise), {}
        for kind in ("sample", "epsilon", "v_prediction"):
            answer = point.target(guess, point.noise(guess, x_t, "sample"), kind)
            torch.testing.assert_close(point.x0(answer, x_t, kind), guess)
            found[kind] = ((answer - point.target(x0, noise, kind)) ** 2).mean()
        snr = (point.alpha / point.sigma) ** 2
        torch.testing.assert_close(found["epsilon"], snr * found["sample"])
        torch.testing.assert_close(found["v_prediction"], found["sample"] / point.sigma**2)


def test_the_velocity_is_the_derivative_on_the_circle():
    x0, noise = torch.randn(2, 3, 1, 2, 2).double()
    angle = torch.tensor([0.3, 0.7, 1.2]).double()
    stretched = angle.reshape(-1, 1, 1, 1)
    _x_t, velocity = torch.func.jvp(
        lambda angle: angle.cos() * x0 + angle.sin() * noise,
        (stretched,),
        (torch.ones_like(stretched),),
    )
    ours = ex.circle.answer(x0, noise, angle.cos(), angle.sin())
    torch.testing.assert_close(ours, velocity)


def test_each_kl_of_the_bound_is_half_a_difference_of_snrs():
    """Two Gaussians of the posterior's width, one around x0's mean, one around a guess's."""
    schedule = cu.NoiseSchedule.linear(1000)
    alphas, sigmas = schedule.alphas.double(), schedule.sigmas.double()
    for t in (1, 100, 900):
        s, (x0, guess, x_t) = t - 1, torch.tensor([0.3, -0.5, 0.8]).double()
        ratio = alphas[t] / alphas[s]
        added = sigmas[t] ** 2 - ratio**2 * sigmas[s] ** 2
        means = [
            (ratio * sigmas[s] ** 2 * x_t + alphas[s] * added * x) / sigmas[t] ** 2
            for x in (x0, guess)
        ]
        width = sigmas[s] * added**0.5 / sigmas[t]
        both = [torch.distributions.Normal(mean, width) for mean in means]
        kl = torch.distributions.kl_divergence(*both)
        snr = (alphas / sigmas) ** 2
        expected = (snr[s] - snr[t]) / 2 * (x0 - guess) ** 2
        torch.testing.assert_close(kl, expected, rtol=1e-4, atol=1e-10)


# --- the steps


@pytest.mark.parametrize("t", [1, 250, 999])
def test_the_posterior_one_step_below_is_ddpms(t):
    """Equations 6 and 7 of Ho et al. 2020, as diffusers takes the step."""
    theirs = DDPMScheduler(1000, clip_sample=False, prediction_type="sample")
    theirs.set_timesteps(1000)
    x_t, x0 = torch.randn(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    step = theirs.step(x0, t, x_t, generator=torch.Generator().manual_seed(5))
    bars = theirs.alphas_cumprod
    levels = [level**0.5 for i in (t, t - 1) for level in (bars[i], 1 - bars[i])]
    own = torch.Generator().manual_seed(5)
    ours = lift("ddpm-step").ddpm_step(x_t, x0, *levels, own)
    torch.testing.assert_close(ours, step.prev_sample, rtol=1e-3, atol=1e-3)


def test_the_posterior_is_the_product_of_its_two_gaussians():
    """Density by density on a grid, with nothing but Gaussians."""
    (alpha_t, sigma_t), (alpha_s, sigma_s), x0, x_t = (0.4, 0.8), (0.7, 0.5), 0.9, -0.2
    grid = torch.linspace(-6, 6, 200_001).double()
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    normal = torch.distributions.Normal
    density = normal(alpha_s * x0, sigma_s).log_prob(grid).exp()
    density *= normal(ratio * grid, added**0.5).log_prob(torch.tensor(x_t).double()).exp()
    density /= density.sum()
    mean = (density * grid).sum().item()
    std = (density * (grid - mean) ** 2).sum().sqrt().item()
    one, many = torch.ones(200_000, 1, 1, 1).double(), torch.Generator().manual_seed(0)
    drawn = ex.ddpm_step.answer(x_t * one, x0 * one, alpha_t, sigma_t, alpha_s, sigma_s, many)
    assert drawn.mean().item() == pytest.approx(mean, abs=5 * std / math.sqrt(200_000))
    assert drawn.std().item() == pytest.approx(std, rel=0.01)


def test_half_a_step_ahead_is_the_packages_second_order():
    straight, x = cu.NoiseSchedule.straight(1000), torch.randn(2, 1, 2, 2).double()
    options = {"num_steps": 5, "prediction_type": "sample", "order": 2}
    first, second, *_ = cu.sample(lambda x, t: (t[0] / 500 * x).tanh(), straight, x, **options)
    levels = [straight.point(t, x) for t in (999, 799, 599)]
    lambdas = [(level.alpha / level.sigma).log() for level in levels]
    h_before, h = lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]
    ahead = ex.second_order.answer(second.x0_pred, first.x0_pred, h, h_before)
    noise = levels[1].noise(ahead, first.x_t, "sample")
    torch.testing.assert_close(levels[2].mix(ahead, noise), second.x_t)


# --- the empty page


@pytest.mark.parametrize("seed", [1, 2])
def test_the_empty_pages_answer_draws_the_data_and_a_lazy_one_does_not(seed):
    (points, generator), *_ = ex.empty_page.all_cases(seed)
    drawn = ex.empty_page.answer(points, generator)
    assert ex.empty_page.difference(points, drawn) == ""
    noisy = points + 0.5 * torch.randn(points.shape, generator=generator)
    assert "away from the data" in ex.empty_page.difference(points, noisy)
    assert "training points" in ex.empty_page.difference(points, points)
    assert "not finite" in ex.empty_page.difference(points, points / 0)
    half = drawn[points[:, 0].argsort()[:300]].repeat(2, 1)  # only a part of the data
    assert how_far(half, points) > how_far(drawn, points)


# --- what the text says of the shipped results


def bars(table, *columns):
    """For each row of the figure its mean and one standard deviation of three seeds."""
    found = table.groupby(list(columns), sort=False).frechet
    assert (found.count() >= 3).all()
    return found.mean(), found.std()


def test_the_ladders_bars_are_as_the_text_reads_them():
    mean, std = bars(cu.ladder(), "half", "rung")

    def parted(one, other):
        """The first is better, and the bars do not touch."""
        return mean[one] + std[one] < mean[other] - std[other]

    toy, best = ("added", "the toy"), ("taken", "the best recipe")
    for helps in ("a better UNet", "five times the steps"):
        assert mean["added", helps] < 0.6 * mean[toy]
        assert parted(("added", helps), toy)
    for harms in ("falling learning rate", "target: velocity", "target: noise, from 98 %"):
        assert parted(toy, ("added", harms))
    lost = {"AdamW", "uniform timesteps", "the toy's network", "half the noise"}
    lost |= {"target: noise", "target: noise, from 98 %", "a fifth of the steps"}
    for rung in lost:
        assert parted(best, ("taken", rung))
    nothing = {"not told the time", "no average of the weights", "constant learning rate"}
    for rung in nothing | {"circle (cosine)", "pixels from 0 to 1"}:
        assert not parted(best, ("taken", rung))
        assert not parted(("taken", rung), best)
    assert parted(("taken", "target: clean picture"), best)
    assert mean["taken", "target: noise"] > 10 * mean["taken", "target: noise, from 98 %"]
    assert mean["taken"].idxmin() == "target: clean picture"


def test_fresh_noise_costs_with_few_calls_and_pays_with_many():
    table = cu.fresh_noise()
    mean, std = bars(table, "steps", "calls", "eta")
    for steps in table.steps.unique():
        assert mean[steps, 4, 0.0] + std[steps, 4, 0.0] < mean[steps, 4, 1.0] - std[steps, 4, 1.0]
        assert all(mean[steps, calls, 1.0] < mean[steps, calls, 0.0] for calls in (32, 64))
    gap = {steps: mean[steps, 64, 0.0] - mean[steps, 64, 1.0] for steps in (100, 3000)}
    reach = {steps: std[steps, 64, 0.0] + std[steps, 64, 1.0] for steps in (100, 3000)}
    assert gap[3000] > reach[3000]
    assert gap[100] < reach[100]
    butterflies = cu.sampler_distances()  # of notebook 01's shipped network
    ddpm, ddim = (butterflies[butterflies.sampler == name] for name in ("DDPM", "DDIM"))
    assert ddpm.frechet.min() > ddim.frechet.min()
