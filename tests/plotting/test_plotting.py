"""The plots: the pixels and curves drawn, their labels, good manners, GIFs and error messages."""

import io
import os
import random
import subprocess
import sys
from collections import namedtuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DConditionModel
from matplotlib.colors import same_color, to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.transforms import Bbox
from PIL import Image
from tiny import tiny_unet

import course_utils
from course_utils import language, plotting
from course_utils.language import set_language
from course_utils.plotting import (
    animate_sampling,
    compare_bands,
    compare_curves,
    compare_schedules,
    plot_choices,
    plot_loss,
    plot_schedule,
    plot_unet,
    show_corruption,
    show_film,
    show_images,
    show_latents,
    show_poster,
    show_rows,
    show_words,
    style,
)
from course_utils.sampling import sample
from course_utils.schedule import NoiseSchedule

SCHEDULES = {
    "linear": NoiseSchedule.linear(100),
    "cosine": NoiseSchedule.cosine(100),
    "straight": NoiseSchedule.straight(100),
}
Step = namedtuple("Step", "timestep x_t x0_pred")


def images(b=3, c=3, h=5, w=4, seed=0):
    """Floats in [-1, 1], every one exact as (x + 1) / 2."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 257, (b, c, h, w), generator=g) / 128 - 1


def make_steps(n=20, b=8, c=3, size=32):
    """A real walk from noise: the model has learned one smooth picture by heart."""
    wave = torch.linspace(-1, 1, size)
    x0 = (wave[:, None] * wave).expand(b, c, size, size)
    x_T = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    walk = sample(
        lambda x, t: x0, NoiseSchedule.straight(), x_T, num_steps=n, prediction_type="sample"
    )
    return list(walk)


SUMMARY = pd.DataFrame(
    [
        ("target", "noise", 9.0, [5.0, 9.0, 20.0]),
        ("target", "velocity", 6.0, [3.0, 9.0]),
        ("EMA", True, 7.0, [7.0]),
    ],
    columns=["factor", "choice", "median", "distances"],
)
STEPS = make_steps(n=5, b=2, size=8)
MAPS = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(2))
PLOTS = {
    "show_images": lambda ax=None: show_images(images(), ax, captions="abc", title="words"),
    "show_rows": lambda ax=None: show_rows({"a": images(), "b": images(seed=1)}, ax),
    "show_corruption": lambda ax=None: show_corruption(images(2), SCHEDULES["linear"], ax),
    "show_poster": lambda ax=None: show_poster(images(5), ax, title="large", words="small"),
    "show_film": lambda ax=None: show_film(STEPS, ax, num_frames=3),
    "show_words": lambda ax=None: show_words(MAPS, ["a", "b"], images()[0], ax, title="words"),
    "show_latents": lambda ax=None: show_latents(MAPS - 0.5, ax, title="words"),
    "plot_schedule": lambda ax=None: plot_schedule(SCHEDULES["cosine"], ax),
    "compare_schedules": lambda ax=None: compare_schedules(SCHEDULES, ax),
    "plane": lambda ax=None: compare_schedules(SCHEDULES, ax, what="plane"),
    "plot_loss": lambda ax=None: plot_loss([3, 2, float("nan"), 1], ax),
    "compare_curves": lambda ax=None: compare_curves(
        {"a": ([1, 10], [2, 3]), "b": ([1, 10], [4, 1])}, ax, xlabel="calls", ylabel="distance"
    ),
    "compare_bands": lambda ax=None: compare_bands(
        {"a": ([1, 3], [2, 3], [0, 1]), "b": ([1, 3], [4, 1], [1, 1])}, ax, xlabel="w", ylabel="y"
    ),
    "plot_choices": lambda ax=None: plot_choices(SUMMARY, ax, floor=2.0),
}
PICTURES = [name for name in PLOTS if name.startswith("show")]
CURVES = [name for name in PLOTS if not name.startswith("show")]
each_plot = pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def frames(ax):
    """Where each picture lies: its left, upper, right and lower edge."""
    (lines,) = ax.collections
    return [path.get_extents().extents for path in lines.get_paths()]


def pixels(ax):
    """What is drawn inside each frame, as (H, W, 3); between them the page is seen."""
    (image,) = ax.images
    page = np.array(image.get_array())
    left, right, lower, upper = image.get_extent()
    assert page.shape == (lower - upper, right - left, 4)
    found = []
    for x0, y0, x1, y1 in np.array(frames(ax), dtype=int):
        picture = page[y0 - upper : y1 - upper, x0 - left : x1 - left]
        found.append(picture[..., :3].copy())
        assert (picture[..., 3] == 1).all()
        picture[..., 3] = 0
    assert not page[..., 3].any()
    return found


def expected(x):
    x = ((x + 1) / 2).clamp(0, 1)
    return list((1 - x if x.shape[1] == 1 else x).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy())


def same_pixels(ax, x):
    drawn, wanted = pixels(ax), expected(x)
    return len(drawn) == len(wanted) and all(map(np.array_equal, drawn, wanted))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def row_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- manners ---------------------------------------------------------------------------------


@each_plot
def test_draws_on_the_ax_it_is_given_and_returns_it(plot):
    _, (left, right) = plt.subplots(1, 2)
    assert plot(right) is right
    assert right.has_data()
    assert not left.has_data()
    assert len(plt.get_fignums()) == 1


@each_plot
def test_makes_a_figure_that_fits_a_notebook(plot):
    figure = plot().figure
    assert plt.get_fignums() == [figure.number]
    width, height = figure.get_size_inches()
    assert 2 <= width <= 9
    assert 1 <= height <= 9.5


@pytest.mark.usefixtures("no_shape_checks")  # beartype draws from `random` which item it checks
@each_plot
def test_never_shows_and_leaves_random_states_and_settings(plot, monkeypatch):
    def state():
        numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is the point
        return torch.get_rng_state().tolist(), repr(numpy_state), random.getstate()

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("show was called"))
    before, settings = state(), dict(plt.rcParams)
    plot().figure.canvas.draw()
    assert state() == before
    assert dict(plt.rcParams) == settings


def test_importing_the_plots_leaves_matplotlibs_settings():
    code = (
        "import matplotlib.pyplot as plt; before = dict(plt.rcParams);"
        "from course_utils import exercises, plotting, widgets; assert dict(plt.rcParams) == before"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"COURSE_LANGUAGE": ""}
    )


@pytest.fixture
def latin():
    """matplotlib as it was installed: a font without Hangul, in every language of the course."""
    with plt.rc_context({"font.family": ["sans-serif"]}):
        yield
    language._state.clear()


def drawn_titles(make_ax):
    """The pixels of a figure with either of two syllables as its title."""
    for text in ("가", "힣"):
        figure = make_ax(text).figure
        figure.canvas.draw()
        yield figure.canvas.buffer_rgba().tobytes()


@pytest.mark.parametrize(
    "make_ax",
    [
        lambda text: show_images(images(), title=text),
        lambda text: show_images(images(), captions=[text] * 3),
        lambda text: show_rows({text: images()}),
        lambda text: plot_schedule(SCHEDULES["cosine"], title=text),
        lambda text: plot_loss([3, 2, 1], plt.subplots()[1], label=text),
        lambda text: compare_curves({"a": ([1], [2])}, xlabel=text, ylabel="y"),
    ],
    ids=["title", "caption", "row", "curves", "legend", "axis"],
)
@pytest.mark.usefixtures("latin")
def test_our_figures_have_hangul_in_any_language(make_ax):
    one, other = drawn_titles(make_ax)
    assert one != other


@pytest.mark.usefixtures("latin")
def test_who_chooses_korean_has_hangul_in_figures_of_their_own():
    def own(text):
        _, ax = plt.subplots(figsize=(2, 1))
        ax.set_title(text)
        return ax

    set_language("en")
    assert plt.rcParams["font.family"] == ["sans-serif"]
    set_language("ko")
    one, other = drawn_titles(own)
    assert one != other


@each_plot
def test_own_figure_is_dark_on_white_in_a_dark_style(plot):
    darker = {"savefig.facecolor": "black", "xtick.labelcolor": "w", "ytick.labelcolor": "w"}
    with plt.style.context(["dark_background", darker]):
        ax = plot()
        file = io.BytesIO()
        ax.figure.savefig(file, dpi=40)
        labels = [*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
        labels += [ax.title, ax.xaxis.label, ax.yaxis.label]
        labels += ax.get_legend().get_texts() if ax.get_legend() else []
    page = Image.open(file).convert("RGB")
    width, height = page.size
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    assert {page.getpixel(corner) for corner in corners} == {(255, 255, 255)}
    assert same_color(ax.figure.get_facecolor(), "white")
    assert all(sum(to_rgb(label.get_color())) < 0.5 for label in labels)


@pytest.mark.parametrize("name", ["show_images", "plot_loss"])
def test_given_ax_keeps_the_users_style(name):
    with plt.style.context("dark_background"):
        _, ax = plt.subplots()
        PLOTS[name](ax)
        words = ax.texts or ax.get_legend().get_texts()
    assert all(same_color(word.get_color(), "white") for word in words)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_sharp_and_without_ticks(name):
    ax = PLOTS[name]()
    assert {image.get_interpolation() for image in ax.images} == {"nearest"}
    assert ax.get_xticks().size == 0
    assert all(line.get_markersize() == 0 for line in ax.yaxis.get_ticklines())
    assert not any(spine.get_visible() for spine in ax.spines.values())


@pytest.mark.parametrize("b", [1, 3, 8])
def test_pictures_and_labels_fill_the_page(b):
    rows = {"clean": images(b), "what the model\nthinks it will be": images(b)}
    for ax in (show_rows(rows, captions=range(b)), show_images(images(b), title="words")):
        figure = ax.figure
        figure.canvas.draw()
        width, height = figure.get_size_inches()
        drawn = figure.get_tightbbox()
        assert width < 8.6
        assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.05
        assert drawn.width > width - 0.4
        assert drawn.height > height - 0.3


@pytest.mark.parametrize("name", CURVES)
def test_curves_keep_the_users_axis_labels(name):
    _, ax = plt.subplots()
    ax.set(xlabel="my x", ylabel="my y")
    PLOTS[name](ax)
    assert ax.get_xlabel().split("\n")[0] == "my x"
    assert ax.get_ylabel() == "my y"


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_labelled_and_differ_by_more_than_colour(name):
    ax = PLOTS[name]()
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    bold = [line for line in ax.lines if not line.get_alpha()]
    assert len({line.get_linestyle() for line in bold}) == len(bold)
    assert len({line.get_color() for line in bold}) == len(bold)
    assert {line.get_color() for line in bold} <= set(style.COLOURS)


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1, 3])
def test_images_are_drawn_pixel_for_pixel(c):
    x = images(b=5, c=c) * 1.5  # a part of it is clipped
    ax = show_images(x)
    assert same_pixels(ax, x)


def test_one_colour_is_ink_on_white_paper():
    ax = show_images(torch.tensor([[[[-1.0, 1.0]]]]))
    assert pixels(ax)[0][0].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_one_image_uint8_and_other_ranges():
    x = images(1)
    assert same_pixels(show_images(x[0]), x)
    assert same_pixels(show_images((x + 1) / 2, value_range=(0, 1)), x)
    raw = torch.arange(60, dtype=torch.uint8).reshape(1, 3, 5, 4)
    wanted = raw[0].permute(1, 2, 0).numpy() / np.float32(255)
    assert np.array_equal(pixels(show_images(raw))[0], wanted)
    assert same_pixels(show_images(x.double().requires_grad_()), x)


def test_grid_places_pictures_row_by_row_and_captions_below_them():
    ax = show_images(images(5), columns=2, captions=["t=0", "t=1", "t=2", "t=3", "t=4"])
    corners = [(left, upper) for left, upper, *_ in frames(ax)]
    (x0, y0), (x1, _), (_, y1) = corners[:3]
    assert corners == [(x0, y0), (x1, y0), (x0, y1), (x1, y1), (x0, corners[4][1])]
    assert x1 > x0 + 4
    by_text = {text.get_text(): text.get_position() for text in ax.texts}
    for i, (left, upper, right, lower) in enumerate(frames(ax)):
        x, y = by_text[f"t={i}"]
        assert x == (left + right) / 2
        assert lower < y < lower + 0.25 * (lower - upper)


@pytest.mark.parametrize(("b", "columns"), [(1, 1), (3, 3), (8, 8), (9, 5), (10, 5), (64, 8)])
def test_default_grid_is_even(b, columns):
    ax = show_images(images(b, 1, 2, 2))
    assert len({left for left, *_ in frames(ax)}) == columns


def boxes_in_window(ax):
    """The pictures as they are drawn."""
    return [Bbox.from_extents(frame).transformed(ax.transData) for frame in frames(ax)]


CAPTIONED = {
    "3": lambda caption: show_images(images(3), captions=[caption] * 3, title="title"),
    "8": lambda caption: show_images(images(8), captions=[caption] * 8),
    "64": lambda caption: show_images(images(64), captions=[caption] * 64),
    "rows": lambda caption: show_rows({"가장 가까운 이미지": images(8)}, captions=[caption] * 8),
    "narrow": lambda caption: show_images(
        images(3), plt.subplots(figsize=(3, 2))[1], captions=[caption] * 3
    ),
}


@pytest.mark.parametrize("caption", ["t=900", "베낀 비율 0.12", "a\nSNR 0.97", "two blue wings"])
@pytest.mark.parametrize("draw", CAPTIONED.values(), ids=CAPTIONED)
def test_captions_are_readable_and_touch_neither_each_other_nor_pictures(draw, caption):
    ax = draw(caption)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    things = boxes + boxes_in_window(ax)
    assert {" ".join(text.get_text().split()) for text in ax.texts} == {" ".join(caption.split())}
    assert all(text.get_fontsize() >= 8 for text in ax.texts)
    for box in boxes:
        assert sum(box.overlaps(other) for other in things) == 1  # itself
        assert ax.figure.bbox.padded(1).containsx(box.x0)
        assert ax.figure.bbox.padded(1).containsy(box.y0)


def test_many_images_are_cut_and_the_title_says_so():
    x = images(12, 1, 2, 2)
    ax = show_images(x, max_images=4, captions=range(12), title="digits")
    assert same_pixels(ax, x[:4])
    assert ax.get_title() == "digits (the first 4 of 12)"
    assert sorted(texts(ax)) == ["0", "1", "2", "3"]
    assert show_images(x, max_images=4).get_title() == "images (the first 4 of 12)"
    assert show_images(x).get_title() == ""


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_pixels_that_are_not_finite_are_magenta_and_counted(bad):
    for c in (1, 3):
        x = images(2, c)
        x[1, 0, 2, 3] = bad
        ax = show_images(x)
        shown = pixels(ax)[1]
        assert tuple(shown[2, 3]) == (1, 0, 1)
        assert ax.get_xlabel() == "1 of 40 pixels are not finite (magenta)"
        assert (shown[0, 0] != (1, 0, 1)).any()
    assert show_images(images(), ax).get_xlabel() == ""


def test_drawing_again_replaces_the_pictures():
    ax = show_images(images(5), captions="abcde")
    show_images(images(2, seed=3), ax, captions="xy")
    assert same_pixels(ax, images(2, seed=3))
    assert sorted(texts(ax)) == ["x", "y"]


def test_rows_are_labelled_and_mix_dtypes():
    raw = torch.arange(120, dtype=torch.uint8).reshape(2, 3, 5, 4)
    ax = show_rows({"clean": raw, "noisy": images(2)}, captions=["t=1", "t=2"], title="rows")
    drawn = pixels(ax)
    assert np.array_equal(drawn[1], raw[1].permute(1, 2, 0).numpy() / np.float32(255))
    assert all(map(np.array_equal, drawn[2:], expected(images(2))))
    assert row_labels(ax) == ["clean", "noisy"]
    for label, (_, upper, _, lower) in zip(ax.get_yticks(), frames(ax)[::2], strict=True):
        assert label == (upper + lower) / 2
    assert ax.get_title() == "rows"
    last_row = frames(ax)[-1][3]
    assert all(text.get_position()[1] > last_row for text in ax.texts)
    assert sorted(texts(ax)) == ["t=1", "t=2"]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_corruption_is_the_schedules_mix(schedule):
    x0, noise = images(2), images(2, seed=5)
    ax = show_corruption(x0, schedule, num_levels=4, noise=noise)
    timesteps = [0, 33, 66, 99]
    assert sorted(texts(ax)) == sorted(f"t={t}" for t in timesteps)
    mixed = [schedule.alphas[t] * x0 + schedule.sigmas[t] * noise for t in timesteps]
    wanted = expected(torch.stack(mixed, dim=1).flatten(0, 1))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(pixels(ax), wanted, strict=True))


def test_corruption_draws_from_its_generator():
    def picture(**options):
        return np.stack(pixels(show_corruption(images(1), SCHEDULES["linear"], **options)))

    seeded = torch.Generator().manual_seed(0)
    assert np.array_equal(picture(), picture(generator=seeded))
    assert not np.array_equal(picture(), picture(generator=seeded))


def test_film_shows_first_and_last_step_and_the_chosen_image():
    steps = make_steps(n=20, b=2, size=4)
    ax = show_film(iter(steps), num_frames=3, image_index=1, title="film")
    chosen = [steps[0], steps[10], steps[19]]
    wanted = [step.x_t[1] for step in chosen] + [step.x0_pred[1] for step in chosen]
    assert same_pixels(ax, torch.stack(wanted))
    assert sorted(texts(ax)) == sorted(f"t={step.timestep}" for step in chosen)
    assert [label.split("\n")[0] for label in row_labels(ax)] == ["x_t", "x0_pred"]
    assert len(frames(show_film(steps[:1]))) == 2


# --- curves ----------------------------------------------------------------------------------


def test_schedule_curves_and_words():
    ax = plot_schedule(SCHEDULES["cosine"], title="cosine")
    signal, noise = ax.lines
    assert list(signal.get_ydata()) == SCHEDULES["cosine"].alphas.tolist()
    assert list(noise.get_ydata()) == SCHEDULES["cosine"].sigmas.tolist()
    assert list(signal.get_xdata()) == list(range(100))
    assert legend(ax) == [r"signal $\alpha_t$", r"noise $\sigma_t$"]
    assert ax.get_xlabel() == "timestep $t$"
    assert ax.get_title() == "cosine"
    plot_schedule(SCHEDULES["straight"], ax, label="straight")
    assert legend(ax)[2] == r"straight: signal $\alpha_t$"
    assert len({line.get_linestyle() for line in ax.lines}) == 4


@pytest.mark.parametrize("what", ["alphas", "sigmas", "snr"])
def test_compared_curves_are_the_tables(what):
    ax = compare_schedules(SCHEDULES, what=what)
    assert legend(ax) == list(SCHEDULES)
    for line, schedule in zip(ax.lines, SCHEDULES.values(), strict=True):
        table = getattr(schedule, what)
        table = table.clamp(1e-6, 1e6) if what == "snr" else table
        assert list(line.get_ydata()) == table.tolist()
    assert ax.get_yscale() == ("log" if what == "snr" else "linear")


def test_snr_note_only_where_something_is_clipped():
    assert "drawn on that edge" in compare_schedules(SCHEDULES).get_xlabel()
    plain = compare_schedules({"linear": SCHEDULES["linear"]})
    assert plain.get_xlabel() == "timestep $t$"


def test_plane_shows_circle_and_chord_with_equal_axes_and_dots():
    ax = compare_schedules(SCHEDULES, what="plane")
    for line, on_circle in zip(ax.lines, [True, True, False], strict=True):
        alpha, sigma = np.array(line.get_data())
        assert np.allclose(alpha**2 + sigma**2 if on_circle else alpha + sigma, 1, atol=1e-6)
        assert line.get_markevery() == 10
    assert ax.get_aspect() == 1
    assert len({line.get_marker() for line in ax.lines}) == 3


def test_loss_average_is_the_closed_form():
    losses = torch.rand(30, generator=torch.Generator().manual_seed(0)).double()
    ax = plot_loss(losses, smoothing=0.9)
    raw, smooth = ax.lines
    assert np.allclose(raw.get_ydata(), losses)
    weights = np.tril(0.9 ** (np.arange(30)[:, None] - np.arange(30)))
    wanted = weights @ losses.numpy() / weights.sum(axis=1)
    assert np.allclose(smooth.get_ydata(), wanted, rtol=1e-12)
    assert list(raw.get_xdata()) == list(range(1, 31))
    assert raw.get_alpha() < 0.5
    assert raw.get_linewidth() < smooth.get_linewidth()
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("training step", "loss", "log")
    assert legend(ax) == ["each step", "running average"]


def test_a_steady_loss_is_its_own_average():
    assert np.allclose(plot_loss([0.25] * 9).lines[1].get_ydata(), 0.25)
    assert plot_loss([3.0, 1.0], smoothing=0.0).lines[1].get_ydata().tolist() == [3, 1]
    assert plot_loss([1.0, 0.0]).get_yscale() == "linear"
    assert plot_loss([1.0, 2.0], log=False).get_yscale() == "linear"


def test_losses_that_are_not_finite_are_left_out_and_counted():
    ax = plot_loss([4.0, float("nan"), float("inf"), 2.0], label="run")
    assert list(ax.lines[0].get_xdata()) == [1, 4]
    assert ax.get_xlabel() == "training step\nrun: 2 of 4 not finite, left out"


def test_several_losses_on_one_ax_differ():
    ax = plot_loss([3, 2, 1], label="first")
    assert plot_loss([4, 3, 2], ax, label="second") is ax
    assert legend(ax) == ["first", "second"]
    first, second = ax.lines[1], ax.lines[3]
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_numbers_on_the_loss_axis_are_plain():
    ax = plot_loss([0.5, 0.2, 0.08])
    ax.figure.canvas.draw()
    assert {"0.1", "0.2", "0.5"} <= set(row_labels(ax))


# --- GIFs ------------------------------------------------------------------------------------


def read_gif(data):
    picture, frames, durations = Image.open(io.BytesIO(data)), [], []
    for index in range(picture.n_frames):
        picture.seek(index)
        frames.append(np.asarray(picture.convert("RGB")))
        durations.append(picture.info["duration"])
    return picture, frames, durations


def test_gif_frames_size_loop_and_hold(tmp_path):
    path = tmp_path / "new" / "folder" / "walk.gif"
    steps = make_steps(n=6, b=4, size=8)
    shown = animate_sampling(iter(steps), path, scale=2, frame_ms=50, hold_ms=900, columns=2)
    assert type(shown).__module__.startswith("IPython")
    assert path.read_bytes() == shown.data
    picture, frames, durations = read_gif(shown.data)
    assert picture.size == (2 * (2 * 10 + 2), 2 * (2 * 10 + 2))
    assert picture.info["loop"] == 0
    assert len(frames) == 6
    assert durations == [50] * 5 + [900]
    assert "image/gif" in shown._repr_mimebundle_()[0]


@pytest.mark.parametrize("c", [1, 3])
def test_gif_ends_on_the_last_picture(c):
    steps = make_steps(n=3, b=1, c=c, size=8)
    *_, last = read_gif(animate_sampling(steps, scale=3).data)[1]
    inner = last[3 * 2 + 1 : -3 * 2 : 3, 3 * 2 + 1 : -3 * 2 : 3] / 255
    assert np.abs(inner - expected(steps[-1].x_t)[0]).max() < 0.02
    assert np.array_equal(last[0, 0], [255, 255, 255])


def test_gif_bytes_are_the_same_each_time():
    steps = make_steps(n=4, b=2, size=8)
    assert animate_sampling(steps).data == animate_sampling(steps).data


@pytest.mark.parametrize("c", [1, 3])
def test_gif_is_small(c):
    assert len(animate_sampling(make_steps(c=c)).data) <= 300_000


def test_gif_spends_colours_to_keep_the_size():
    steps = make_steps(n=4, b=2, size=16)
    rich, poor = animate_sampling(steps), animate_sampling(steps, max_bytes=6_000)
    assert len(poor.data) <= 6_000 < len(rich.data)
    colours = [len(np.unique(read_gif(x.data)[1][0].reshape(-1, 3), axis=0)) for x in (rich, poor)]
    assert 5 < colours[1] < colours[0] <= 255
    assert np.array_equal(read_gif(rich.data)[1][-1], read_gif(poor.data)[1][-1])


# --- errors ----------------------------------------------------------------------------------

LINEAR, BATCH, BROKEN = SCHEDULES["linear"], images(2), torch.full((1, 3, 2, 2), torch.nan)
MISTAKES = {
    "no tensor": (
        TypeError,
        "x must be a uint8 or float tensor, got list",
        lambda: show_images([1]),
    ),
    "ints": (
        TypeError,
        "x must be a uint8 or float tensor, got a tensor of torch.int64",
        lambda: show_images(torch.zeros(1, 1, 2, 2, dtype=torch.int64)),
    ),
    "2 dimensions": (
        ValueError,
        r"x must be .* got \(2, 2\)",
        lambda: show_images(torch.ones(2, 2)),
    ),
    "empty": (ValueError, r"non-empty batch .* got \(0, 3, ", lambda: show_images(BATCH[:0])),
    "2 channels": (
        ValueError,
        r"C = 1 or 3, got \(2, 2, ",
        lambda: show_images(BATCH[:, :2]),
    ),
    "captions": (
        ValueError,
        r"captions must hold one text for each image, 2; got \['a'\]",
        lambda: show_images(BATCH, captions=["a"]),
    ),
    "range": (
        ValueError,
        r"value_range must be \(low, high\) .* got \(1, 1\)",
        lambda: show_images(BATCH, value_range=(1, 1)),
    ),
    "columns": (
        ValueError,
        "columns must be at least 1, got 0",
        lambda: show_images(BATCH, columns=0),
    ),
    "max_images": (
        ValueError,
        "max_images must be at least 1, got -1",
        lambda: show_images(BATCH, max_images=-1),
    ),
    "no rows": (ValueError, "rows must hold one or more batches", lambda: show_rows({})),
    "uneven rows": (
        ValueError,
        r"of one shape, got \{'a': \(2, .*'b': \(1, ",
        lambda: show_rows({"a": BATCH, "b": BATCH[:1]}),
    ),
    "bad row": (
        ValueError,
        r"rows\['b'\] must be a non-empty batch",
        lambda: show_rows({"a": BATCH, "b": BATCH[0]}),
    ),
    "row captions": (
        ValueError,
        "one text for each column, 2",
        lambda: show_rows({"a": BATCH}, captions=["1", "2", "3"]),
    ),
    "9 images": (
        ValueError,
        r"x0 must hold at most 8 images, got 9: pass x0\[:8\]",
        lambda: show_corruption(images(9), LINEAR),
    ),
    "1 level": (
        ValueError,
        "num_levels must be at least 2, .* got 1",
        lambda: show_corruption(BATCH, LINEAR, num_levels=1),
    ),
    "other noise": (
        ValueError,
        "noise must have the shape of x0",
        lambda: show_corruption(BATCH, LINEAR, noise=images(1)),
    ),
    "1 frame": (
        ValueError,
        "num_frames must be at least 2, .* got 1",
        lambda: show_film(STEPS, num_frames=1),
    ),
    "image_index": (
        ValueError,
        r"image_index must lie in \[0, 1\], got 2",
        lambda: show_film(STEPS, image_index=2),
    ),
    "no steps": (ValueError, "steps must not be empty", lambda: show_film([])),
    "no such steps": (TypeError, "sample.* yields, got Tensor", lambda: show_film([BATCH])),
    "what": (
        ValueError,
        "what must be one of snr, alphas, sigmas, plane; got 3 schedules, what='betas'",
        lambda: compare_schedules(SCHEDULES, what="betas"),
    ),
    "no schedules": (ValueError, "must not be empty .* 0 sched", lambda: compare_schedules({})),
    "no losses": (ValueError, "losses must hold .* got 0 values", lambda: plot_loss([])),
    "nan losses": (ValueError, "got 1 values, none finite", lambda: plot_loss([float("nan")])),
    "smoothing": (
        ValueError,
        r"smoothing must lie in \[0, 1\), got 1",
        lambda: plot_loss([1.0], smoothing=1),
    ),
    "no GIF steps": (ValueError, "steps must not be empty", lambda: animate_sampling([])),
    "scale": (
        ValueError,
        "scale must be at least 1, got 0",
        lambda: animate_sampling(STEPS, scale=0),
    ),
    "broken GIF": (
        ValueError,
        r"steps\[0\].x_t holds pixels that are not finite",
        lambda: animate_sampling([Step(0, BROKEN, BROKEN)]),
    ),
}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("error", "message", "call"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(error, message, call):
    with pytest.raises(error, match=message):
        call()
    assert plt.get_fignums() == []


def skips(ax):
    """The ends of each arc, as numbers of bars, and the heights at which they stand."""
    arcs = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return [(*map(round, (a[0], b[0])), a[1], b[1]) for a, b in (arc._posA_posB for arc in arcs)]


def bars(ax):
    """The height of each bar, and whether it is hatched."""
    drawn = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    return {round(bar.get_x() + 0.3): (bar.get_height(), bool(bar.get_hatch())) for bar in drawn}


def test_plot_unet_shows_where_each_level_works_and_what_skips():
    model = tiny_unet(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    ax = plot_unet(model, torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels[0] == "Down\n16×16\nchannels\n8"
    assert labels[1] == "Down\n8×8\nchannels\n16"
    heights = [bars(ax)[i] for i in range(5)]
    assert heights == [(16, False), (8, True), (8, True), (8, True), (16, False)]
    assert skips(ax) == [(0, 4, 16, 16), (1, 3, 8, 8)]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(legend) == {"convolutions", "with attention", "skip connections"}
    assert not model.conv_in._forward_hooks


@pytest.mark.parametrize(
    ("attention", "attending"),
    [(None, {3}), ((True, False, True), {0, 3}), ((True,) * 3, {0, 1, 3})],
)
def test_plot_unet_knows_the_courses_network(attention, attending):
    model = course_utils.UNet(3, channels=(8, 16, 24), attention=attention)
    ax = plot_unet(model, torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    labels = [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()]
    assert labels[:4] == [
        "Down 8×8 channels 8",
        "Down 4×4 channels 16",
        "Down 2×2 channels 24",
        "Mid 2×2 channels 24",
    ]
    assert [bars(ax)[i][0] for i in range(7)] == [8, 4, 2, 2, 2, 4, 8]
    assert {i for i, (_height, hatched) in bars(ax).items() if hatched} == attending
    assert skips(ax) == [(0, 6, 8, 8), (1, 5, 4, 4), (2, 4, 2, 2)]


def test_plot_unet_passes_a_condition_on():
    small = {"sample_size": 8, "block_out_channels": (8, 8), "layers_per_block": 1}
    kinds = {"norm_num_groups": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")}
    kinds["up_block_types"] = ("CrossAttnUpBlock2D", "UpBlock2D")
    model = UNet2DConditionModel(**small, **kinds, cross_attention_dim=6, num_class_embeds=2)
    x, t = torch.zeros(1, 4, 8, 8), torch.tensor([0])
    condition = {"encoder_hidden_states": torch.zeros(1, 3, 6), "class_labels": torch.tensor([1])}
    ax = plot_unet(model, x, t, condition=condition)
    names = [text.get_text().split("\n")[0] for text in ax.get_xticklabels()]
    assert names == ["Down", "Down", "Mid", "Up", "Up"]
    assert {i for i, (_height, hatched) in bars(ax).items() if hatched} == {1, 2, 3}
    with pytest.raises(ValueError, match="class_labels"):
        plot_unet(model, x, t, condition={"encoder_hidden_states": torch.zeros(1, 3, 6)})
    assert not model.conv_in._forward_hooks


def test_the_package_offers_every_plot():
    assert set(course_utils._PLOTS) == set(plotting.__all__) <= set(dir(course_utils))
    assert all(getattr(course_utils, name) is getattr(plotting, name) for name in plotting.__all__)


# --- curves that compare -----------------------------------------------------------------------


def test_curves_go_through_their_points():
    curves = {"a": ([1, 10, 100], [2.0, 3.0, 1.0]), "b": (range(2), iter([4, 1]))}
    ax = compare_curves(curves, xlabel="calls", ylabel="distance", title="words")
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[1, 2], [10, 3], [100, 1]],
        [[0, 4], [1, 1]],
    ]
    assert legend(ax) == ["a", "b"]
    assert len({(line.get_marker(), line.get_linestyle()) for line in ax.lines}) == 2
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("calls", "distance", "words")


def test_log_axes_have_plain_numbers_where_the_points_are():
    ax = compare_curves({"a": ([4, 20, 1000], [5, 50, 9])}, xlabel="x", ylabel="y", log="xy")
    ax.figure.canvas.draw()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "20", "1,000"]
    assert {"5", "10", "20", "50"} <= {label.get_text() for label in ax.get_yticklabels()}


def test_curves_that_cannot_be_drawn_are_named():
    with pytest.raises(ValueError, match=r"got 0 curves, log=''"):
        compare_curves({}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match=r"got 1 curves, log='z'"):
        compare_curves({"a": ([1], [1])}, xlabel="x", ylabel="y", log="z")


def test_bands_lie_one_standard_deviation_around_the_means():
    curve = ([1, 2, 4], torch.tensor([2.0, 3.0, 1.0]), iter([0.5, 0.0, 1.0]))
    ax = compare_bands({"a": curve}, xlabel="scale", ylabel="distance", marker=2, title="words")
    line, marker = ax.lines
    assert line.get_xydata().tolist() == [[1, 2], [2, 3], [4, 1]]
    assert set(marker.get_xdata()) == {2}
    (band,) = ax.collections
    edge = set(map(tuple, band.get_paths()[0].vertices.tolist()))
    assert edge == {(1, 1.5), (1, 2.5), (2, 3), (4, 0), (4, 2)}
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("scale", "distance", "words")
    words = {"xlabel": "x", "ylabel": "y"}
    assert len(compare_bands({"a": ([1], [1], [0])}, **words).lines) == 1
    ax = compare_bands({"a": ([1, 2], [1, 30], [0, 0])}, **words, floor=0.5, log=True)
    assert set(ax.lines[1].get_ydata()) == {0.5}
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()
    assert {"1", "2", "5", "10"} < {label.get_text() for label in ax.get_yticklabels()}


def test_bands_that_cannot_be_drawn_are_named():
    def draw(*points):
        compare_bands({"a": points}, xlabel="x", ylabel="y")

    with pytest.raises(ValueError, match="curves must not be empty"):
        compare_bands({}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match=r"a needs a mean.*got 2 x, 1 means, 2 standard"):
        draw([1, 2], [1], [0, 0])
    with pytest.raises(ValueError, match="got 0 x, 0 means"):
        draw([], [], [])
    with pytest.raises(ValueError, match=r"deviations of a must not be below 0, got \[-1"):
        draw([1], [1], [-1])


def test_choices_show_every_network_and_the_median_beside_the_floor():
    ax = plot_choices(SUMMARY, floor=2.0)
    *networks, medians = ax.collections
    dots = [points.get_offsets()[:, 0].tolist() for points in networks]
    assert dots == SUMMARY.distances.tolist()
    assert [ends[0, 0] for ends in medians.get_segments()] == SUMMARY["median"].tolist()
    assert ax.lines[0].get_xdata() == [2.0, 2.0]
    rows = ["target: noise", "target: velocity", "average of the weights (EMA): yes"]
    assert row_labels(ax) == rows
    assert legend(ax) == ["one network", "median", "real digits"]
    assert len(plot_choices(SUMMARY).lines) == 0
