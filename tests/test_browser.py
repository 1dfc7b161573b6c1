"""Each notebook in a real browser: JupyterLab in Chromium, every widget moved as a person would.

The quick walks take the Korean notebooks as far as the last widget; the slow ones take all of them
to their end. Screenshots of the widgets in both themes go to the folder that COURSE_SCREENSHOTS
names.
"""

import gettext
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from socket import socket

import nbformat
import pytest
from course import read_course
from pace import patience

from course_utils.language import LOCALE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parent.parent
COURSE = {notebook.name: notebook for notebook in read_course()}
KOREAN = [f"ko/{name}" for name in COURSE]
STOPPED = "stopped after {step:,} of {count:,} steps; the model keeps what it has learned"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
]
# What stands in for the badges' pictures, the only thing on the page that needs the network.
BADGE = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'
# For each exercise that the walk may do: a wrong answer and a right one.
ANSWERS = {
    "add_noise": (
        "def my_add_noise(x0, noise, timesteps, alphas_cumprod):\n    return x0",
        "def my_add_noise(x0, noise, timesteps, alphas_cumprod):\n"
        "    alpha_bar = alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)\n"
        "    return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise",
    ),
    "corrupt": (
        "def my_corrupt(x, amount, generator):\n    return x",
        "def my_corrupt(x, amount, generator):\n"
        "    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)\n"
        "    amount = amount.reshape(-1, 1, 1, 1)\n"
        "    return (1 - amount) * x + amount * noise",
    ),
    "frechet": (
        "def my_frechet(a, b):\n    return (a.mean() - b.mean()) ** 2",
        "def my_frechet(a, b):\n    return (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2",
    ),
    "guide": (
        "def my_guidance(told, untold, scale):\n    return told",
        "def my_guidance(told, untold, scale):\n    return untold + scale * (told - untold)",
    ),
    "scaling": (
        "def my_scaling(latents):\n    return latents.std()",
        "def my_scaling(latents):\n    return 1 / latents.std()",
    ),
}
PAD = """\
from course_utils import widgets

def count(mask):
    halves = mask[..., :8].sum(), mask[..., 8:].sum()
    return f"<p>{int(mask.sum())} cells, {int(halves[0])} in the left half</p>"

pad = widgets.paint(size=16, mirrored=%s, draw=count)
pad"""
PROMPT = """\
import time
import torch
from course_utils import widgets

drawn = []

def draw(text, guidance, seed):
    drawn.append(f"{text} {seed}")
    time.sleep(2)
    if text == "bad":
        raise ValueError(", ".join(drawn))
    return torch.full((1, 3, 8, 8), seed / 50 - 1)

widgets.prompt(draw, prompt="a cat")"""
KERNEL_IS_IDLE = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  return kernel?.connectionStatus === "connected" && kernel?.status === "idle";
}"""
SETTINGS = {  # all cells stay on the page, and nothing asks for news
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def browser_path(api) -> str:
    """Chromium on this machine, its own or playwright's; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, BROWSERS)), api.chromium.executable_path)
    if not Path(found).exists():
        pytest.skip("Chromium is missing: run `playwright install chromium`")
    return found


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as api:
        path = browser_path(api)
        with closing(api.chromium.launch(executable_path=path, args=FLAGS)) as chromium:
            yield chromium


@pytest.fixture(scope="module")
def screenshots():
    """The folder for them, or None where nobody will look."""
    folder = os.environ.get("COURSE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return folder and Path(folder)


def entry_of(name):
    """The catalogue's entry of a notebook in either language."""
    return COURSE[name.rpartition("/")[2]]


def file_name(name):
    return name.replace("/", "-")


def in_its_language(name, message):
    """What the package says in the notebook's language."""
    catalogue = gettext.translation("course_utils", LOCALE, [name[:2]], fallback=True)
    return catalogue.gettext(message)


def copy_notebook(name, folder, whole):
    """The notebook with a long training in it; if not `whole`, as far as the walk has to do."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    entry = entry_of(name)
    visited = {*entry.widgets, *exercises_to_do(notebook)}
    if training := entry.training:
        visited.add(training["cell"])
        longer = training["longer"]
        (cell,) = (cell for cell in notebook.cells if cell.id == longer["cell"])
        assert longer["old"] in cell.source
        cell.source = cell.source.replace(longer["old"], longer["new"])
    if not whole:
        last = max(i for i, cell in enumerate(notebook.cells) if cell.id in visited)
        notebook.cells = notebook.cells[: last + 1]
    (folder / name).parent.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return notebook


def exercises_to_do(notebook):
    """The first exercise that has ANSWERS: its cell, and the line that checks it."""
    cells = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", [])]
    calls = {c.id: re.search(r"(?m)^ex\.(\w+)\.check\(.*$", c.source) for c in cells}
    known = [(cell_id, call) for cell_id, call in calls.items() if call and call[1] in ANSWERS]
    assert known or not cells, "ANSWERS has none of this notebook's exercises"
    return dict(known[:1])


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    """The address of a JupyterLab with a home of its own, and the folder it serves."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("notebooks")
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    places = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "IPYTHONDIR": home / "ipython",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    run = {"COURSE_PROFILE": "smoke", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env = os.environ | run | {name: str(path) for name, path in places.items()}
    env.pop("MPLBACKEND", None)
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.expose_app_in_browser=True"]
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
        try:
            yield wait_for(f"http://127.0.0.1:{port}", token, server, home / "lab.log"), folder
        finally:
            server.terminate()
            server.wait()


def wait_for(address, token, server, log):
    deadline = time.monotonic() + patience(60)
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).close()
            return address, token
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def answer_for_a_badge(route):
    """A picture; anything else that is asked of the network fails, and the console says so."""
    if route.request.resource_type == "image":
        route.fulfill(body=BADGE, content_type="image/svg+xml")
    else:
        route.abort()


class Walk:
    """One notebook on one page: its cells by their ids, and what the console said."""

    def __init__(self, page, address, token, name, notebook):
        self.page, self.complaints = page, []
        page.set_default_timeout(patience(60_000))
        self.places = {cell.id: i for i, cell in enumerate(notebook.cells)}
        page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.route(re.compile(r"^https://"), answer_for_a_badge)
        page.goto(f"{address}/lab/workspaces/{file_name(name)}/tree/{name}.ipynb?token={token}")
        page.locator(".jp-Notebook .jp-Cell").nth(len(notebook.cells) - 1).wait_for()
        page.locator(".jp-Notebook .jp-MarkdownCell").first.click()
        page.wait_for_function(KERNEL_IS_IDLE)

    def command(self, name, **options):
        """A command of JupyterLab; the page goes on without waiting for its end."""
        script = "([name, options]) => {jupyterapp.commands.execute(name, options)}"
        self.page.evaluate(script, [name, options])

    def cell(self, cell_id):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.places[cell_id])

    def wait_until(self, what, condition, seconds=30):
        deadline = time.monotonic() + patience(seconds)
        while not condition():
            assert self.errors() == []
            assert time.monotonic() < deadline, f"waited in vain for: {what}"
            self.page.wait_for_timeout(100)

    def errors(self):
        """The tracebacks that cells show."""
        shown = self.page.locator('[data-mime-type="application/vnd.jupyter.error"]')
        return shown.all_inner_texts()

    def prompts(self):
        return self.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()

    def run_all(self):
        before = self.prompts()
        self.command("notebook:run-all-cells")
        self.wait_until("the cells to be queued", lambda: self.prompts() != before)

    def wait_for_all(self):
        self.wait_until("all cells", lambda: "[*]:" not in self.prompts(), seconds=150)

    def shown(self, cell_id):
        """What a widget shows: its text, its pictures and its curves."""
        html = self.cell(cell_id).locator(".widget-html-content")
        return "".join(html.evaluate_all("views => views.map(view => view.innerHTML)"))

    def changes(self, cell_id, action, seconds=10):
        before = self.shown(cell_id)
        action()
        self.wait_until(f"{cell_id} to change", lambda: self.shown(cell_id) != before, seconds)

    def is_still(self, cell_id):
        before = self.shown(cell_id)
        self.page.wait_for_timeout(patience(1000))
        return self.shown(cell_id) == before

    def photograph(self, cell_id, folder, name):
        for theme in ("Light", "Dark") if folder else ():
            self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            light = str(theme == "Light").lower()
            self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")
            self.page.wait_for_timeout(300)
            output = self.cell(cell_id).locator(".jp-Cell-outputWrapper")
            picture = f"{file_name(name)}-{cell_id}-{theme.lower()}.png"
            output.screenshot(path=folder / picture)


@pytest.fixture
def start(lab, browser, tmp_path):
    """`start(name, whole)`: the walk through a copy of the notebook, its name, and the copy."""
    (address, token), folder = lab
    with closing(browser.new_page(viewport={"width": 1280, "height": 1000})) as page:

        def walk(name, whole):
            notebook = copy_notebook(name, folder, whole)
            return Walk(page, address, token, name, notebook), name, notebook

        yield walk
        page.screenshot(path=tmp_path / "last.png")


def move_every_control(walk, cell_id):
    """Each slider by its keys, each list by its options, each text box: the pictures follow."""
    cell = walk.cell(cell_id)
    for slider in cell.locator("[role=slider]").all():
        at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
        key = "ArrowLeft" if at_end else "ArrowRight"
        walk.changes(cell_id, lambda slider=slider, key=key: slider.press(key))
    for chooser in cell.locator("select").all():
        options = chooser.locator("option").all_inner_texts()
        last = options[-1]
        walk.changes(cell_id, lambda chooser=chooser, last=last: chooser.select_option(last))
    for box in cell.locator("input[type=text]:visible").all():
        walk.changes(cell_id, lambda box=box: (box.fill("고양이"), box.press("Enter")))
    assert all(image.get_attribute("alt") for image in cell.locator("img").all())


def play_and_stop(walk, cell_id):
    button = walk.cell(cell_id).locator(".widget-play button, .jupyter-widget-play button").first
    walk.changes(cell_id, button.click)
    walk.changes(cell_id, lambda: None)  # and goes on by itself
    button.click()
    walk.wait_until(f"{cell_id} to stand still", lambda: walk.is_still(cell_id))


def stop_the_training(walk, cell_id, folder, name):
    button = walk.cell(cell_id).get_by_role("button", name=in_its_language(name, "Stop"))
    walk.wait_until("the stop button", button.is_visible, seconds=120)
    button.scroll_into_view_if_needed()
    for _ in range(3):  # it renews by itself
        walk.changes(cell_id, lambda: None, seconds=30)
    walk.photograph(cell_id, folder, name + "-running")
    button.press("Enter")
    stopped = in_its_language(name, STOPPED).split("{")[-1].partition("}")[2]
    walk.cell(cell_id).get_by_text(stopped.strip()).wait_for()
    assert button.is_disabled()


def answer(walk, cell_id, source):
    """Write into the cell and run it; returns what it then shows."""
    editor = walk.cell(cell_id).locator(".cm-content")
    editor.click()
    walk.page.keyboard.press("ControlOrMeta+a")
    walk.page.keyboard.insert_text(source)
    walk.page.keyboard.press("Shift+Enter")
    walk.page.wait_for_timeout(300)
    walk.wait_until("the answer", lambda: "[*]:" not in walk.prompts())
    return walk.cell(cell_id).locator(".jp-Cell-outputWrapper").inner_text()


def do_an_exercise(walk, name, notebook):
    for cell_id, call in exercises_to_do(notebook).items():
        wrong, right = (f"{text}\n\n\n{call[0]}" for text in ANSWERS[call[1]])
        assert in_its_language(name, "Not right yet") in answer(walk, cell_id, wrong)
        shown = answer(walk, cell_id, right)
        assert in_its_language(name, "Right") in shown
        assert in_its_language(name, "Not right yet") not in shown


def walk_through(walk, name, notebook, screenshots):
    entry = entry_of(name)
    walk.run_all()
    if entry.training:
        stop_the_training(walk, entry.training["cell"], screenshots, name)
    walk.wait_for_all()
    for cell_id, plays in entry.widgets.items():
        move_every_control(walk, cell_id)
        if plays:
            play_and_stop(walk, cell_id)
        walk.photograph(cell_id, screenshots, name)
    if entry.training:
        walk.photograph(entry.training["cell"], screenshots, name)
    do_an_exercise(walk, name, notebook)
    assert walk.errors() == []
    assert "Traceback" not in walk.page.locator(".jp-Notebook").inner_text()
    assert walk.complaints == []


@pytest.mark.notebook
@pytest.mark.parametrize("name", KOREAN)
def test_everything_moves_and_answers(name, start, screenshots):
    walk_through(*start(name, whole=False), screenshots)


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.parametrize("name", [*COURSE, *KOREAN])
def test_everything_moves_and_answers_to_the_end(name, start, screenshots):
    walk_through(*start(name, whole=True), screenshots)


class Painter:
    """A pad of 16 by 16 cells on a page, and a hand that paints on it."""

    def __init__(self, walk):
        self.walk, self.cell = walk, walk.cell("pad")
        self.pad = self.cell.locator("svg[role=application]")
        self.pad.wait_for()

    def drag(self, *places):
        """From cell to cell (column, row), each by one movement of the mouse."""
        self.pad.scroll_into_view_if_needed()
        box, mouse = self.pad.bounding_box(), self.walk.page.mouse
        for i, (column, row) in enumerate(places):
            x, y = ((at + 0.5) * box["width"] / 16 for at in (column, row))
            mouse.move(box["x"] + x, box["y"] + y)
            if not i:
                mouse.down()
        mouse.up()

    def press(self, *keys):
        for key in keys:
            self.walk.page.keyboard.press(key)

    def push(self, name):
        self.cell.get_by_role("button", name=name).click()

    def holds(self, cells, left):
        """The kernel's mask has so many cells: the answer to the Draw button says so."""
        self.push("Draw")
        self.cell.get_by_text(f"{cells} cells, {left} in the left half", exact=True).wait_for()


@pytest.fixture
def run_one_cell(lab, browser):
    """`run_one_cell(name, source)`: a notebook of this name with one cell, also of this name."""
    (address, token), folder = lab
    with closing(browser.new_page(viewport={"width": 1280, "height": 1000})) as page:

        def start(name, source):
            title = nbformat.v4.new_markdown_cell(f"# {name}")
            code = nbformat.v4.new_code_cell(source, id=name)
            kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
            notebook = nbformat.v4.new_notebook(
                cells=[title, code], metadata={"kernelspec": kernel}
            )
            nbformat.write(notebook, folder / f"{name}.ipynb")
            walk = Walk(page, address, token, name, notebook)
            walk.run_all()
            walk.wait_for_all()
            return walk

        yield start


@pytest.fixture
def painter(run_one_cell):
    """`painter(mirrored)`: a notebook with nothing but a pad, run."""
    return lambda mirrored: Painter(run_one_cell("pad", PAD % mirrored))


@pytest.mark.notebook
def test_the_kernel_has_what_the_mouse_painted(painter, screenshots):
    hand = painter(mirrored=False)
    hand.drag((2, 3), (5, 3), (5, 12))  # the cells between are painted, too
    hand.holds(13, left=13)
    hand.drag((12, 8))
    hand.holds(14, left=13)
    hand.walk.photograph("pad", screenshots, "mouse")
    hand.push("Undo")
    hand.holds(13, left=13)
    hand.push("Erase")
    hand.drag((5, 3), (5, 40))  # and the mouse may leave the pad
    hand.holds(3, left=3)
    hand.push("Clear")
    hand.holds(0, left=0)
    hand.push("Undo")
    hand.holds(3, left=3)
    assert hand.walk.complaints == []


@pytest.mark.notebook
def test_the_kernel_has_what_the_keys_painted(painter, screenshots):
    hand = painter(mirrored=True)
    hand.pad.focus()
    hand.press(" ", "ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft", "ArrowUp", " ")
    assert "row 8, column 6: painted; 8 of 256" in hand.cell.inner_text()
    hand.walk.photograph("pad", screenshots, "keys")
    hand.holds(8, left=4)
    hand.pad.focus()
    hand.press(" ", *["ArrowUp"] * 20)
    assert "row 1, column 6: empty; 6 of 256" in hand.cell.inner_text()
    hand.holds(6, left=3)
    assert hand.walk.complaints == []


@pytest.mark.notebook
def test_a_prompt_is_drawn_at_enter_and_of_many_keys_the_last_counts(run_one_cell, screenshots):
    walk = run_one_cell("prompt", PROMPT)
    cell = walk.cell("prompt")
    said = lambda text: cell.get_by_text(text).wait_for()  # noqa: E731
    said("“a cat”, guidance scale 3, seed 0")
    box = cell.locator("input[type=text]:visible")
    box.fill("고양이")
    assert walk.is_still("prompt"), "typing alone draws nothing"
    box.press("Enter")
    said("“고양이”, guidance scale 3, seed 0")
    seed = cell.locator("[role=slider]").nth(1)
    for _ in range(8):
        seed.press("ArrowRight")
    said("“고양이”, guidance scale 3, seed 8")
    walk.photograph("prompt", screenshots, "prompt")
    box.fill("bad")
    cell.get_by_role("button", name="Draw").click()  # which also leaves the box
    said("ValueError: ")
    walk.page.wait_for_timeout(patience(3000))
    drawn = re.search(r"ValueError: ([^<]+)", walk.shown("prompt"))[1].split(", ")
    assert drawn[:2] == ["a cat 0", "고양이 0"]
    assert drawn[-2:] == ["고양이 8", "bad 8"], (
        "once, though the box was left and the button pressed"
    )
    assert len(drawn) < 3 + 8, "not each of the eight keys"
    box.fill("a dog")
    box.press("Enter")
    said("“a dog”, guidance scale 3, seed 8")
    assert walk.complaints == []
