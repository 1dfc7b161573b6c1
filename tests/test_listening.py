"""Notebook 03: what it builds is what the package holds, its formulas are right, and what it says
about the shipped results is true of them."""

import copy
from functools import partial

import lifting
import pytest
import torch

import course_utils as cu
from course_utils.models import drop_condition, unconditioned
from course_utils.sampling import trailing_timesteps

lift = partial(lifting.lift, "03_guidance_and_fine_tuning")
COSINE = cu.NoiseSchedule.cosine(1000)
NAMES, WAYS = ("digits", "butterflies"), ("all levels", "interval", "twin")


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    network = cu.UNet(channels=(8, 16), num_classes=10)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    return network.eval()


# --- what is built is what is imported


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_the_notebooks_guidance_is_the_packages(unet, scale, generator):
    x_t, labels = torch.randn(3, 1, 8, 8, generator=generator), torch.tensor([7, 0, 3])
    timesteps = torch.tensor([5, 500, 999])
    built = lift("guided").guided(unet, x_t, timesteps, labels, scale)
    package = cu.Guidance(unet, {"class_labels": labels}, scale=scale)(x_t, timesteps)
    torch.testing.assert_close(built, package)


def test_dropping_a_label_is_what_the_package_does(unet, generator):
    condition = {"class_labels": torch.randint(10, (20,), generator=generator)}
    dropped = torch.rand(20, generator=generator) < 0.5
    theirs = drop_condition(condition, dropped, unconditioned(unet, condition))
    assert torch.equal(condition["class_labels"].masked_fill(dropped, 10), theirs["class_labels"])
    assert "masked_fill(dropped.to(device), 10)" in lifting.source(
        "03_guidance_and_fine_tuning", "train"
    )


# --- what guidance samples


def test_the_exact_denoiser_is_the_posterior_mean():
    """Against a sum over a fine grid of clean values."""
    exact = lift("tilt", cosine=COSINE).exact
    x0 = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    for label, width in enumerate((0.5, 1.0)):
        for t in (20, 500, 900):
            alpha, sigma = COSINE.alphas[t].double(), COSINE.sigmas[t].double()
            x_t = torch.tensor([-1.2, 0.3, 2.0], dtype=torch.float64)
            log_p = -((x0 / width) ** 2) / 2 - ((x_t[:, None] - alpha * x0) / sigma) ** 2 / 2
            mean = log_p.softmax(dim=1) @ x0
            told = torch.full((3,), label)
            found = exact(x_t[:, None], torch.full((3,), t), told)
            torch.testing.assert_close(found.flatten(), mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_guided_gaussians_end_at_the_width_that_the_notebook_says(scale):
    exact = lift("tilt", cosine=COSINE).exact
    one = torch.ones(1, dtype=torch.long)
    model = cu.Guidance(exact, {"class_labels": 0 * one}, {"class_labels": one}, scale)
    start = torch.ones(1, 1, dtype=torch.float64)  # the walk is linear: one point tells the width
    steps = {"num_steps": 1000, "prediction_type": "sample", "order": 2}
    *_, last = cu.sample(model, COSINE, start, **steps)
    assert last.x_t.item() == pytest.approx(0.5 * 0.5 ** (scale - 1), rel=0.01)


def test_the_sharpened_density_is_wider():
    """Its variance from the product of the two bells, on a grid."""
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    told, untold = (torch.distributions.Normal(0.0, width).log_prob(x) for width in (0.5, 1.0))
    weights = (3 * told - 2 * untold).softmax(dim=0)
    assert ((weights * x**2).sum() ** 0.5).item() == pytest.approx(0.316, abs=0.001)


def test_the_wings_share_no_point_and_the_middle_empties(generator):
    angle = torch.linspace(0, 2 * torch.pi, 401)[:-1]
    radius = angle.sin().exp() - 2 * (4 * angle).cos()
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1) / 1.5
    right = points[points[:, 0] > 0]
    assert torch.cdist(right, points[points[:, 0] <= 0]).min() > 0
    built = lift("wings", cosine=COSINE, points=points, right=right)
    start, found = torch.randn(400, 2, generator=generator), []
    for scale in (1, 2, 4):
        model = partial(built.perfect, scale=scale)
        *_, last = cu.sample(model, COSINE, start, num_steps=60, prediction_type="sample")
        found.append((last.x_t[:, 0] < 0.3).float().mean().item())
    assert found[0] > 0.2
    assert found[0] / 2 > found[1] > found[2]
    assert found[2] < 0.02


# --- steering, LoRA


@pytest.mark.parametrize("level", [100, 600])
def test_the_notebooks_steering_is_the_packages(level, generator):
    network = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    x_t = torch.randn(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    timesteps = torch.full((3,), level)

    def model(x, timesteps):
        return network(x)

    def loss(x):
        return (x.mean((1, 2, 3)) - 0.3) ** 2

    built = lift("steer", schedule=COSINE, cu=cu).steered(model, x_t, timesteps, loss, 20.0)
    package = cu.Steered(model, loss, COSINE, "v_prediction", 20.0)(x_t, timesteps)
    torch.testing.assert_close(built, package)


def test_the_notebooks_lora_is_pefts(generator):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(6, 4, 3, stride=2, padding=1)
    built = lift("lora-layer").LoRA(copy.deepcopy(conv), rank=2, alpha=6)
    x = torch.randn(2, 6, 9, 9, generator=generator)
    assert torch.equal(built(x), conv(x))
    torch.nn.init.normal_(built.B.weight)
    model = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 1), copy.deepcopy(conv))
    cu.add_lora(model, 2, alpha=6, layers=["1"])
    model[1].lora_A["default"].weight.data = built.A.weight.data
    model[1].lora_B["default"].weight.data = built.B.weight.data
    torch.testing.assert_close(model[1](x), built(x))
    trained = [weights.shape for weights in built.parameters() if weights.requires_grad]
    assert trained == [built.A.weight.shape, built.B.weight.shape]


def test_filling_in_once_a_level_is_the_packages_kept_model(unet, generator):
    names = {"schedule": COSINE, "cu": cu, "trailing_timesteps": trailing_timesteps}
    fill_in = lift("keep", **names, num_steps=16, generator=generator).fill_in
    known, x_T = torch.randn(2, 3, 1, 8, 8, generator=generator)
    mask = (torch.arange(8) < 4).expand(3, 1, 8, 8)
    kept = cu.Kept(unet, known, mask, COSINE, "v_prediction")
    steps = {"num_steps": 8, "prediction_type": "v_prediction"}
    *_, last = cu.sample(kept, COSINE, x_T, **steps)
    torch.testing.assert_close(fill_in(unet, known, mask, x_T, 1, 8), last.x_t)
    again = fill_in(unet, known, mask, x_T, 3, 4)
    assert torch.equal(again[mask], known[mask])
    assert not torch.equal(again, fill_in(unet, known, mask, x_T, 3, 4))  # fresh noise


# --- what is said about the shipped results


@pytest.fixture(scope="module")
def table():
    return cu.guidance()


def by_scale(table, data, way, number):
    """For each scale the mean over the seeds."""
    part = table[(table.data == data) & (table.way == way)]
    assert part.groupby("scale").seed.nunique().min() == 3
    return part.groupby("scale")[number].mean()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("data", ["digits", "butterflies"])
def test_the_three_curves_have_the_shape_that_the_text_says(table, data, seed):
    part = table[(table.data == data) & (table.way == "all levels") & (table.seed == seed)]
    part = part.set_index("scale").sort_index()
    assert part.agreement[1.5] >= part.agreement[1.0] > part.agreement[0.0]
    assert part.agreement[1.5:].min() > 0.98
    assert part.frechet.idxmin() in (1.0, 1.5)
    assert part.frechet[1.5:].is_monotonic_increasing
    assert part.diversity[:4.0].is_monotonic_decreasing


def test_the_price_of_a_scale(table):
    digits, butterflies = (by_scale(table, d, "all levels", "frechet") for d in NAMES)
    assert digits[4] > 2 * digits[1]
    assert butterflies[4] > 7 * butterflies[1]
    agreement = by_scale(table, "digits", "all levels", "agreement")
    assert round(agreement[1], 2) == 0.96
    assert agreement[1.5] > 0.99
    assert by_scale(table, "butterflies", "all levels", "agreement")[1] > 0.99


def test_the_interval_wins_and_the_twin_keeps_diversity(table):
    scales = [1.5, 2, 3, 4]
    for data in NAMES:
        distances = (by_scale(table, data, way, "frechet")[scales] for way in WAYS)
        everywhere, inside, twin = distances
        assert (inside < everywhere).all()
        assert by_scale(table, data, "interval", "agreement").min() > 0.98
        for way in WAYS[1:]:
            kept = by_scale(table, data, way, "diversity")
            assert kept[4] > by_scale(table, data, "all levels", "diversity")[4] * 1.1
    assert everywhere[4] > 7.5 * inside[4]  # the butterflies'
    assert inside.max() / inside.min() < 1.2
    assert (twin[[3, 4]] > everywhere[[3, 4]]).all()


def test_what_fine_tuning_is_worth():
    table = cu.finetuning()
    before = table.attrs["before"]["frechet"]
    steps = table.set_index(["method", "step", "seed"]).sort_index()
    assert (steps.frechet["full", 25] < before / 2).all()
    assert (steps.frechet["scratch", 25] > 0.8 * before).all()
    end = steps.loc[(slice(None), 200), :].droplevel("step")
    gain = (before - end.frechet["lora"]) / (before - end.frechet["full"])
    assert gain.min() > 0.8
    assert (before - end.frechet["scratch"]).min() > 0.75 * before
    assert (end.parameters["lora"] / end.parameters["full"]).max() < 0.05
    assert end.kilobytes["lora"].max() < 400
    assert 8_750 < end.kilobytes["full"].min() < 8_850
    for method in ("full", "lora", "scratch"):
        assert end.butterflies[method].min() > 15 * table.attrs["before"]["butterflies"]
    assert (end.moved["lora off"] == 0).all()
    late, early = steps.frechet["lora", 100], steps.frechet["full", 50]
    assert late.mean() == pytest.approx(early.mean(), rel=0.5)


def test_how_soon_the_branch_obeys():
    table = cu.silhouettes()
    learning = table[table.network == "trained here"]
    by_seed = learning.pivot(index="pictures", columns="seed", values="overlap")
    assert by_seed.shape == (5, 3)
    assert by_seed.diff().dropna().min().min() > 0
    assert by_seed.loc[800].mean() == pytest.approx(0.82, abs=0.01)
    assert by_seed.loc[1600].min() > 0.9
    assert by_seed.iloc[-1].mean() == pytest.approx(0.98, abs=0.005)
    assert table.attrs["floor"]["overlap"] == pytest.approx(0.98, abs=0.005)
    assert table.attrs["floor"]["shuffled"] == pytest.approx(0.74, abs=0.005)
    shipped = table[table.network == "shipped"]
    assert shipped.overlap.min() > 0.9


def test_where_steering_leaves_the_data():
    table = cu.steering()
    table = table[table.loss == "colour"]
    assert table.seed.nunique() == 3
    means = table.groupby(["through", "scale"])[["colour", "off_palette"]].mean()
    through, past = means.loc[True], means.loc[False]
    assert through.colour.is_monotonic_decreasing
    assert through.colour[50] < through.colour[0] / 2
    assert (through.off_palette.loc[:50] < 1.2 * through.off_palette[0]).all()
    assert 1.5 * through.off_palette[0] < through.off_palette[100] < 0.4 * through.off_palette[200]
    for _, point in past.loc[100:].iterrows():  # as near to the wish, odder
        nearer = through[through.colour <= point.colour]
        assert nearer.off_palette.iloc[0] < point.off_palette
