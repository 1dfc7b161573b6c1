"""The widgets: still figures where nobody can move them, pictures that follow where someone can."""

import io
import re
import signal
from types import SimpleNamespace

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from moving import inside, movable, move, pixels, shown
from PIL import Image
from tiny import images, tiny

import course_utils as cu
from course_utils import widgets
from course_utils.widgets import controls, page, stopping, training

SCHEDULE = cu.NoiseSchedule.cosine(1000)
BATCH = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def sampled(num_steps=4):
    return list(cu.sample(lambda x, t: x * 0, SCHEDULE, BATCH, num_steps=num_steps))


def laps():
    samplers = {"DDPM": {"eta": 1.0}, "DDIM": {}}
    return widgets.run_race(lambda x, t: x * 0, SCHEDULE, BATCH, samplers, [2, 4], goal=4)


SCALES = [0, 1, 2.5]
CURVES = {"agreement": ([0.1, 0.6, 0.9], [0.1, 0.1, 0]), "distance": ([3, 1, 2], [1, 1, 1])}
MADE = {
    "noise": lambda: widgets.noise(BATCH),
    "workshop": lambda: widgets.workshop(BATCH[:1]),
    "film": lambda: widgets.film(sampled()),
    "race": lambda: widgets.race(laps()),
    "latent_walk": lambda: widgets.latent_walk(lambda x: x, BATCH[0], BATCH[1]),
    "gallery": lambda: widgets.gallery(
        torch.stack([BATCH, -BATCH])[:, :, None], {"label": ["a", "b"], "scale": SCALES}
    ),
    "price": lambda: widgets.price(SCALES, CURVES, BATCH[:, None]),
    "prompt": lambda: widgets.prompt(lambda text, scale, seed: BATCH[:1], prompt="a cat"),
    "search": lambda: widgets.search(lambda text: torch.tensor([len(text) % 3]), BATCH),
}
each_widget = pytest.mark.parametrize("make", MADE.values(), ids=MADE)


# --- without a person


@each_widget
def test_headless_shows_a_still_picture(make):
    open_figures = plt.get_fignums()
    figure = make()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == open_figures, "a notebook would show it twice"
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert np.asarray(Image.open(file).convert("RGB"), dtype=float).std() > 5


def test_headless_training_is_silent_and_ends_with_a_figure(capfd):
    losses, before = [], plt.get_fignums()
    for i in widgets.watch(range(3), losses, 3, look):
        losses.append(1 / (i + 1))
    assert len(losses) == 3
    assert capfd.readouterr() == ("", "")
    (number,) = set(plt.get_fignums()) - set(before)
    assert len(plt.figure(number).axes) == 3
    plt.close(number)


def test_a_loop_may_report_its_losses_to_what_watches():
    bar = widgets.watch(range(3), num_steps=3)
    for i in bar:
        bar.report(float(i))
    assert bar.losses == [0.0, 1.0, 2.0]


def test_headless_training_without_a_look_draws_nothing():
    losses, before = [], plt.get_fignums()
    for i in widgets.watch(range(3), losses, 3):
        losses.append(float(i))
    assert plt.get_fignums() == before


def test_a_terminal_gets_a_progress_bar(monkeypatch, capfd):
    monkeypatch.setattr(training, "is_headless", lambda: False)
    losses = []
    for i in widgets.watch(range(3), losses, 3):
        losses.append(float(i))
    assert "3/3" in capfd.readouterr().err


def test_where_no_kernel_runs_nothing_is_live():
    assert controls.running_kernel() is None
    assert not controls.is_live()


# --- with a person


@each_widget
def test_every_control_changes_the_picture(make, live):
    box = make()
    assert isinstance(box, ipywidgets.VBox)
    assert movable(box)
    for each in movable(box):
        before = shown(box)
        move(each)
        assert shown(box) != before, each.description


@each_widget
def test_an_answer_is_light(make, live, monkeypatch):
    """No figure, which takes long, and few bytes; `tests/bench/basics.py` measures the seconds."""
    box = make()
    monkeypatch.setattr(Figure, "__init__", lambda *_, **__: pytest.fail("an answer is a figure"))
    for each in movable(box):
        move(each)
        assert len(shown(box)) < 100_000, each.description


@each_widget
def test_everything_is_described(make, live):
    box = make()
    for each in movable(box):
        assert each.description
        assert each.tooltip
    html = shown(box)
    assert "<img" in html
    assert len(re.findall(r'<img alt="[^"]+"', html)) == html.count("<img")
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+"', html)) == html.count("<svg")


@each_widget
def test_only_core_widgets_are_used(make, live):
    for each in inside(make()):
        assert type(each).__module__.startswith("ipywidgets.")


@pytest.mark.parametrize("name", ["film", "latent_walk"])
def test_the_play_button_is_linked_with_its_slider(name, live):
    box = MADE[name]()
    (play,) = (each for each in inside(box) if isinstance(each, ipywidgets.Play))
    slider = movable(box)[0]
    assert (play.min, play.max, play.value) == (slider.min, slider.max, slider.value)
    assert play.interval >= 100


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#111111"])
def test_lines_stand_out_from_both_themes(paper):
    """WCAG 2.2, 1.4.11: graphics need a contrast of at least 3."""
    assert all(contrast(colour, paper) >= 3 for colour in page.LINES)


@each_widget
def test_text_has_the_colour_of_the_theme(make, live):
    html = shown(make())
    assert set(re.findall(r"[^-]color:\s*([^;\"]+)", html)) == {page.INK}
    assert set(re.findall(r"<text[^>]*fill=\"([^\"]+)\"", html)) <= {"currentColor"}


# --- each one's own


def test_the_noisy_picture_is_the_schedules(live):
    box = widgets.noise(BATCH, {"cosine": SCHEDULE}, timestep=700)
    alpha, sigma, snr = (t[700].item() for t in (SCHEDULE.alphas, SCHEDULE.sigmas, SCHEDULE.snr))
    assert f"{alpha:.3f} · x0 + {sigma:.3f} · noise" in shown(box)
    assert f"ratio {snr:.3g}" in shown(box)


def test_the_workshop_says_how_much_signal_is_left(live):
    box = widgets.workshop(BATCH[:1])
    beta_end = next(each for each in movable(box) if each.description == "beta_end")
    beta_end.value = 0.002
    alpha = cu.NoiseSchedule.linear(1000, 1e-4, 0.002).alphas[-1].item()
    assert alpha > 0.3
    assert f"{alpha:.1%}" in shown(box)


def test_a_lap_counts_its_calls_and_draws_what_the_sampler_draws():
    calls = []
    model = lambda x, t: calls.append(t) or x * 0  # noqa: E731
    (lap,) = widgets.run_race(model, SCHEDULE, BATCH, {"DDIM": {}}, [3])
    assert lap.calls == 3 == len(calls) - 64  # the goal's
    assert torch.equal(lap.pictures, sampled(3)[-1].x_t)
    assert lap.seconds > 0


def test_a_lap_knows_how_far_its_pictures_are_from_the_goal():
    model = lambda x, t: 0.5 * x  # noqa: E731
    racers = {"DDIM": {}, "order 2": {"order": 2}}
    laps = widgets.run_race(model, SCHEDULE, BATCH, racers, [4, 8], goal=8)
    goal = list(cu.sample(model, SCHEDULE, BATCH, num_steps=8, order=2))[-1].x_t
    for lap in laps:
        expected = (lap.pictures - goal).pow(2).mean().sqrt().item()
        assert lap.distance == pytest.approx(expected)
    assert laps[-1].distance == 0 < laps[0].distance


def test_a_race_without_laps_says_what_to_pass():
    with pytest.raises(ValueError, match="run_race"):
        widgets.race([])


def test_the_walk_is_drawn_once_for_all_frames(live):
    sizes = []
    draw = lambda x: sizes.append(len(x)) or x  # noqa: E731
    box = widgets.latent_walk(draw, BATCH[0], BATCH[1], num_frames=5)
    for each in movable(box):
        move(each)
    assert sizes == [5]


def test_digits_are_ink_on_paper():
    html = page.picture(-torch.ones(1, 1, 4, 4), "nothing", width=8)
    assert pixels(html).min() == 255


def test_a_curve_leaves_out_what_is_not_finite():
    html = page.curves({"loss": [1.0, float("nan"), 0.1]}, "loss", xlabel="step", log=True)
    assert "nan" not in html


# --- slerp


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(0, 1))
def test_slerp_stays_on_the_sphere(seed, share):
    start, end = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
    end = end * start.norm() / end.norm()
    between = cu.slerp(start, end, share)
    torch.testing.assert_close(between.norm(), start.norm())
    angle = torch.nn.functional.cosine_similarity
    whole = angle(start.flatten(), end.flatten(), dim=0).acos()
    part = angle(start.flatten(), between.flatten(), dim=0).clamp(-1, 1).acos()
    assert abs(part - share * whole) < 1e-6


def test_slerp_begins_and_ends_exactly():
    assert torch.equal(cu.slerp(BATCH[0], BATCH[1], 0), BATCH[0])
    assert torch.equal(cu.slerp(BATCH[0], BATCH[1], 1), BATCH[1])


def test_slerp_between_parallel_noises_is_the_line():
    torch.testing.assert_close(cu.slerp(BATCH[0], BATCH[0], 0.3), BATCH[0])
    torch.testing.assert_close(cu.slerp(BATCH[0], 3 * BATCH[0], 0.5), 2 * BATCH[0])


def test_slerp_between_opposite_noises_says_so():
    with pytest.raises(ValueError, match="opposite"):
        cu.slerp(BATCH[0], -BATCH[0], 0.5)


# --- training


def look():
    return widgets.Look(BATCH, [100, 500, 900], torch.tensor([0.3, 0.1, 0.2]))


@pytest.fixture
def displayed(live, monkeypatch):
    """The boxes that a cell shows."""
    boxes = []
    monkeypatch.setattr("IPython.display.display", boxes.append)
    return boxes


def the(box, kind):
    return next(each for each in inside(box) if isinstance(each, kind))


def train(losses, on_step, num_steps=50, look=None):
    """A tiny model, trained until it is done or stopped."""
    model = tiny()
    ema = cu.EMA(model, decay=0.9)
    steps = cu.train(model, [images()], SCHEDULE, num_steps=num_steps, lr=1e-2, ema=ema)
    for step in widgets.watch(steps, losses, num_steps, look):
        losses.append(step.loss)
        on_step(step.step)
    return model, ema


def test_the_view_renews_while_the_loop_runs(displayed, monkeypatch):
    monkeypatch.setattr(training, "CURVE_SECONDS", 0)
    pages, losses = [], []
    train(losses, lambda step: pages.append(shown(displayed[0])), 6, look)
    assert len(set(pages[1:])) == 5
    assert pages[-1].count("<svg") == 2
    assert "<img" in pages[-1]
    assert "done: 6 steps" in shown(displayed[0])
    assert the(displayed[0], ipywidgets.Button).disabled
    assert the(displayed[0], ipywidgets.IntProgress).value == 6


def test_looking_takes_at_most_a_tenth_of_the_time(displayed, monkeypatch):
    now, looks, losses = [0.0], [], []
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(training, "LOOK_SECONDS", 0)

    def pass_time(seconds):
        now[0] += seconds

    def slow_look():
        looks.append(now[0])
        pass_time(0.05)
        return look()

    for _ in widgets.watch(range(400), losses, 400, slow_look):
        losses.append(1.0)
        pass_time(0.005)
    _start, *between, _end = looks
    assert len(between) >= 3
    assert 0.05 * len(between) <= 0.1 * now[0]


@pytest.mark.parametrize("way", ["button", "interrupt"])
def test_stopping_leaves_a_usable_model(way, displayed):
    def stop_at_five(step):
        if step == 5 and way == "button":
            the(displayed[0], ipywidgets.Button).click()
        elif step == 5:
            signal.raise_signal(signal.SIGINT)

    before, losses = signal.getsignal(signal.SIGINT), []
    model, ema = train(losses, stop_at_five)
    assert len(losses) == 5
    assert ema.num_updates == 5
    assert "stopped after 5 of 50 steps" in shown(displayed[0])
    assert signal.getsignal(signal.SIGINT) is before
    with ema.applied(model):
        *_, last = cu.sample(model, SCHEDULE, torch.randn(2, 1, 4, 4), num_steps=2)
    assert last.x_t.isfinite().all()
    assert not torch.equal(model.conv.weight, tiny().conv.weight)


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
def test_a_second_interrupt_is_an_interrupt(before, displayed):
    """A shell starts background processes, such as a CI's, with interrupts ignored."""

    def interrupt(step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    own = signal.signal(signal.SIGINT, before)
    try:
        with pytest.raises(KeyboardInterrupt):
            train([], interrupt)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, own)


class OldKernel:
    """A kernel that keeps messages in a queue while a cell runs, as ipykernel 6 does."""

    def __init__(self, *messages):
        self.shell_stream = SimpleNamespace(flush=lambda events: None)
        self.msg_queue = SimpleNamespace(_queue=[(0, print, (m,)) for m in messages])
        self.session = SimpleNamespace(
            feed_identities=lambda frames, copy: ([], frames), unpack=lambda frame: frame
        )


def message(kind, comm_id):
    frame = lambda content: SimpleNamespace(bytes=content)  # noqa: E731
    parts = ("signature", {"msg_type": kind}, {}, {}, {"comm_id": comm_id})
    return [frame(part) for part in parts]


def test_a_click_is_seen_in_the_queue_of_an_old_kernel():
    kernel = OldKernel(message("execute_request", "a"), message("comm_msg", "b"))
    assert stopping.click_waits(kernel, "b")
    assert not stopping.click_waits(kernel, "a")
    assert len(kernel.msg_queue._queue) == 2, "it must still be there after the cell"
    assert not stopping.click_waits(None, "b")
    assert not stopping.click_waits(SimpleNamespace(), "b")


def test_a_click_is_overheard_where_the_kernel_asks_for_its_way():
    heard, comm = [], SimpleNamespace(_reply_subshell_for=lambda data, default: "main")
    stopping.overhear(comm, lambda: heard.append(1))
    assert comm._reply_subshell_for({"method": "update"}, None) == "main"
    assert not heard
    assert comm._reply_subshell_for({"method": "custom", "content": {}}, None) == "main"
    assert heard
    stopping.overhear(SimpleNamespace(), heard.clear)  # another kernel: nothing to do
