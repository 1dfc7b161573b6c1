"""Noise schedules: the two curves of the mix, and several schedules beside each other."""

from matplotlib.axes import Axes

from course_utils.language import N_, _
from course_utils.plotting.style import MARKERS, add_note, finish, line_style, new_axes
from course_utils.schedule import NoiseSchedule

SNR_LIMITS = (1e-6, 1e6)
TIMESTEP, SIGNAL, NOISE = N_("timestep $t$"), N_(r"signal $\alpha_t$"), N_(r"noise $\sigma_t$")
VIEWS = {
    "snr": (TIMESTEP, N_(r"signal-to-noise ratio $\alpha_t^2 / \sigma_t^2$")),
    "alphas": (TIMESTEP, SIGNAL),
    "sigmas": (TIMESTEP, NOISE),
    "plane": (
        N_(r"signal $\alpha_t$ (1: the clean image)"),
        N_(r"noise $\sigma_t$ (1: noise alone)"),
    ),
}


def plot_schedule(
    schedule: NoiseSchedule,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    label: str | None = None,
) -> Axes:
    """The curves alpha_t and sigma_t of the mix; `label` names the schedule in the legend."""
    ax = new_axes(ax, 7, 3.5)
    for values, name in ((schedule.alphas, SIGNAL), (schedule.sigmas, NOISE)):
        name = f"{label}: {_(name)}" if label else _(name)
        ax.plot(range(len(values)), values.tolist(), label=name, **line_style(len(ax.lines)))
    loc = "best" if label else "above"
    return finish(ax, _(TIMESTEP), _("share in the mix"), title, loc)


def compare_schedules(
    schedules: dict[str, NoiseSchedule], ax: Axes | None = None, *, what: str = "snr"
) -> Axes:
    """One line for each schedule, with a dot after every tenth of its timesteps.

    `what`: "snr" (log axis), "alphas" or "sigmas" over time, or "plane", the path (alpha, sigma).
    """
    if what not in VIEWS or not schedules:
        raise ValueError(
            f"schedules must not be empty and what must be one of {', '.join(VIEWS)}; "
            f"got {len(schedules)} schedules, what={what!r}"
        )
    ax = new_axes(ax, *((5, 5) if what == "plane" else (7, 3.5)))
    for i, (name, schedule) in enumerate(schedules.items()):
        x = schedule.alphas.tolist() if what == "plane" else range(len(schedule))
        y = schedule.sigmas if what == "plane" else getattr(schedule, what)
        y = y.clamp(*SNR_LIMITS) if what == "snr" else y
        ax.plot(x, y.tolist(), label=name, **_dotted(i, len(schedule)))
    finish(ax, *map(_, VIEWS[what]))
    if what == "snr":
        ax.set_yscale("log")
        if any((s.snr != s.snr.clamp(*SNR_LIMITS)).any() for s in schedules.values()):
            add_note(ax, _("values outside [10⁻⁶, 10⁶], 0 among them, are drawn on that edge"))
    if what == "plane":
        ax.set(aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        add_note(ax, _("a dot after every tenth of the timesteps"))
    return ax


def _dotted(index, T):
    """Ten dots on the way; later lines are thinner, so that two on one path are both seen."""
    dots = {"marker": MARKERS[index % len(MARKERS)], "markevery": max(1, T // 10), "mec": "white"}
    sizes = {"lw": max(1.2, 3.6 - 1.1 * index), "ms": max(5, 9.5 - 1.75 * index), "mew": 0.8}
    return line_style(index) | dots | sizes
