"""Notebooks: template and budgets in seconds, then whole runs with papermill and nbval."""

import ast
import base64
import builtins
import io
import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nbformat
import numpy as np
import papermill
import pytest
import torch
from course import FOLDERS, read_course
from diffusers import DDPMScheduler
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

import course_utils
import notebooks

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
TEMPLATE = {  # by folder: what is promised, and what stands at the end
    "notebooks": (
        ("What you'll do.", "What you'll learn.", "What you need."),
        *("On your own", "In practice", "Next"),
    ),
    "ko": (("할 일.", "배울 것.", "필요한 것."), "스스로 해 보기", "실제 모델에서는", "다음"),
}
SMOKE = {**os.environ, "COURSE_PROFILE": "smoke", "HF_HUB_OFFLINE": "1"}
SCRATCH = ROOT / "notebooks" / "02_diffusion_models_from_scratch.ipynb"


def name_of(path):
    return path.relative_to(ROOT / "notebooks").as_posix()


def executable(path):
    """The Korean, whose code is the English, only when asked."""
    marks = [pytest.mark.notebook, *[pytest.mark.slow] * (path.parent.name == "ko")]
    return pytest.param(path, marks=marks, id=name_of(path))


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
each_executed = pytest.mark.parametrize("path", [executable(path) for path in NOTEBOOKS])


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def cell_of(notebook, cell_id):
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def as_python(cell):
    return TransformerManager().transform_cell(cell.source)


def pictures(cell):
    """All PNGs that a cell shows, as arrays of RGB."""
    outputs = [output.get("data", {}) for output in cell.outputs]
    found = [data["image/png"] for data in outputs if "image/png" in data]
    opened = [Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB") for png in found]
    return [np.asarray(picture, dtype=float) for picture in opened]


# --- hygiene


def test_the_catalogue_names_every_notebook_in_each_language():
    named = [ROOT / n.path(language) for language in FOLDERS for n in read_course()]
    assert sorted(named) == NOTEBOOKS


def test_the_catalogue_names_cells_that_are_there():
    for entry in read_course():
        cells = {cell.id: cell.source for cell in read(ROOT / entry.path()).cells}
        assert set(entry.widgets) <= set(cells), entry.name
        assert all("widgets." in cells[cell_id] for cell_id in entry.widgets), entry.name
        if entry.training:
            longer = entry.training["longer"]
            assert entry.training["cell"] in cells
            assert cells[longer["cell"]].count(longer["old"]) == 1


@each_notebook
def test_the_file_is_valid_small_and_free_of_chance(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1_000_000
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info", "executed"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}, f"volatile metadata in {cell.id}"
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"{cell.id} stored an error"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@each_notebook
def test_cells_have_names_of_their_own(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", cell_id) for cell_id in ids), ids
    assert not any(re.fullmatch(r"[0-9a-f]{8}", cell_id) for cell_id in ids)


@each_notebook
def test_the_template_is_kept(path):
    notebook = read(path)
    first, overview = notebook.cells[0].source, notebook.cells[1].source
    assert first.startswith("# ")
    assert "<!-- badges:start -->" in first
    promises, own, practice, following = TEMPLATE[path.parent.name]
    for promise in promises:
        assert f"**{promise}**" in overview
    assert re.search(r"CPU.*GPU", overview, re.S), "say how long it takes, and on what"
    headings = [line for c in notebook.cells for line in c.source.splitlines() if "## " in line]
    assert f"## {own}" in headings
    assert f"## {practice}" in headings
    assert f"**{following}" in notebook.cells[-1].source


@each_notebook
def test_code_keeps_the_budget(path):
    notebook = read(path)
    lengths = {cell.id: len(cell.source.splitlines()) for cell in code_cells(notebook)}
    assert max(lengths.values()) <= 30, lengths
    assert median(lengths.values()) <= 8, lengths
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert "ccc" not in kinds, "at most two code cells in a row"


@each_notebook
def test_prose_keeps_the_budget(path):
    words = {c.id: len(c.source.split()) for c in read(path).cells if c.cell_type == "markdown"}
    assert median(words.values()) <= 65, words
    assert max(words.values()) <= 140, words


@each_notebook
def test_a_picture_at_least_every_third_code_cell(path):
    """Exercises are a kind of their own: what they show is up to the learner."""
    notebook = read(path)
    asking = {cell.id for cell in tagged(notebook, "exercise")}
    cells = [cell for cell in code_cells(notebook) if cell.id not in asking]
    since = 0
    for cell in cells[3:]:  # after set-up, parameters and imports
        shows = pictures(cell) or any("image/gif" in o.get("data", {}) for o in cell.outputs)
        since = 0 if shows else since + 1
        assert since < 3, f"no picture for three code cells at {cell.id}"


@each_notebook
def test_parameters_are_plain_literals(path):
    (cell,) = tagged(read(path), "parameters")
    values = {
        node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body
    }
    assert values["profile"] == "auto"
    assert values["seed"] == 0


@each_notebook
def test_shell_commands_stay_in_the_set_up_cell(path):
    for cell in code_cells(read(path)):
        if cell.id != "setup":
            assert not re.search(r"(?m)^\s*[!%]", cell.source), cell.id


@each_notebook
def test_names_are_known_before_they_are_used(path):
    known = set(dir(builtins))
    for cell in code_cells(read(path)):
        nodes = list(ast.walk(ast.parse(as_python(cell))))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        bound |= {(n.asname or n.name).split(".")[0] for node in imports for n in node.names}
        assert used - bound - known - {"get_ipython"} == set(), cell.id
        known |= bound


@each_notebook
def test_what_a_function_reads_is_never_given_another_value(path):
    """Else a cell that is run again would do something else than it did the first time."""
    readers = {}
    for cell in code_cells(read(path)):
        tree = ast.parse(as_python(cell))
        defined = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        nodes = [
            n for statement in tree.body if statement not in defined for n in ast.walk(statement)
        ]
        given = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        assert {name: readers[name] for name in given & set(readers)} == {}, cell.id
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
            own = {n.id for n in names if isinstance(n.ctx, ast.Store)}
            own |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
            readers |= {n.id: function.name for n in names if n.id not in own}


@each_notebook
def test_outputs_are_stored_and_belong_to_the_source(path):
    """Each code cell was run, in order, and what it prints word for word stands in its output."""
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        stored = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
        words = re.findall(r'print\(\s*"([^"{}]+)"', cell.source)
        assert all(word in stored for word in words), cell.id
        if "plotting.show_" in cell.source or "plotting.plot_" in cell.source:
            calls = len(re.findall(r"(?m)^plotting\.(?:show|plot|compare)_", cell.source))
            assert len(pictures(cell)) >= min(calls, 1), f"{cell.id} shows no picture"


@each_notebook
def test_stored_outputs_belong_to_the_stored_source(path):
    """`python .ci/notebooks.py` signs a notebook with the code that it ran."""
    notebook = read(path)
    signed = notebooks.fingerprint(notebook)
    assert notebook.metadata.executed == signed, "run python .ci/notebooks.py"


# --- what notebook 01 writes out is what the libraries hold


INTRODUCTION = NOTEBOOKS[0]


def test_the_loops_timesteps_are_logit_normal():
    (line,) = re.findall(
        r"timesteps = (.*sigmoid.*)", cell_of(read(INTRODUCTION), "training").source
    )
    torch.manual_seed(0)
    ours = eval(line, {"torch": torch, "x0": torch.zeros(1000), "device": "cpu"})
    torch.manual_seed(0)
    assert torch.equal(ours, course_utils.draw_timesteps(1000, 1000, "logit_normal"))


def test_the_velocity_and_its_units_are_as_the_text_says():
    """v = alpha noise - sigma x0; an error in it is sigma times as large in x0, alpha in noise."""
    text = cell_of(read(INTRODUCTION), "loop-text").source
    assert r"v = \alpha_t\, \mathrm{noise} - \sigma_t\, x_0" in text
    code = cell_of(read(INTRODUCTION), "loss").source
    assert '"clean picture": per_level * schedule.sigmas[at].cpu() ** 2' in code
    assert '"noise": per_level * schedule.alphas[at].cpu() ** 2' in code
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    schedule = course_utils.NoiseSchedule(scheduler.alphas_cumprod)
    x0, noise, error = torch.randn(3, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([50, 350, 650, 950])
    alpha, sigma = (table[t].view(-1, 1, 1, 1) for table in (schedule.alphas, schedule.sigmas))
    velocity, x_t = alpha * noise - sigma * x0, alpha * x0 + sigma * noise
    torch.testing.assert_close(scheduler.get_velocity(x0, noise, t), velocity)
    wrong = velocity + error
    in_x0 = schedule.predict_x0(wrong, x_t, t, "v_prediction") - x0
    in_noise = schedule.predict_noise(wrong, x_t, t, "v_prediction") - noise
    torch.testing.assert_close(in_x0.abs(), sigma * error.abs(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(in_noise.abs(), alpha * error.abs(), rtol=1e-3, atol=1e-4)


# --- the set-up cell


@each_notebook
def test_the_set_up_cell_leaves_a_machine_with_the_course_alone(path):
    asked = []
    shell = SimpleNamespace(run_line_magic=lambda *command: asked.append(command))
    exec(as_python(cell_of(read(path), "setup")), {"get_ipython": lambda: shell})
    assert asked == []


def run_set_up(path, folder):
    """The set-up cell where course_utils is not installed; what pip was asked, and sys.path."""
    code = f"""
import sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in str(f).lower()]
sys.path = [p for p in sys.path if p and {str(ROOT)!r} != p]
class Shell:
    def run_line_magic(self, *command): print(*command)
get_ipython = Shell
before = list(sys.path)
{as_python(cell_of(read(path), "setup"))}
print([p for p in sys.path if p not in before])
if "constraints" in globals():
    print(constraints.read_text())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@each_notebook
def test_in_a_clone_the_set_up_cell_finds_it_from_below(path):
    out = run_set_up(path, ROOT / "notebooks")
    assert "pip" not in out
    assert str(ROOT) in out


@each_notebook
def test_elsewhere_the_set_up_cell_installs_and_holds_the_hosts_versions(path, tmp_path):
    out = run_set_up(path, tmp_path)
    assert re.search(r"pip install -q -c \S+ https://github\.com/\S+\.zip", out)
    for name in ("torch", "numpy", "pyarrow"):
        assert f"{name}=={distribution(name).version}" in out


# --- whole runs


@cache
def executed(path):
    """What papermill leaves of the notebook in the smoke profile, run from an empty folder."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)  # kernels draw inline
        options = {"progress_bar": False, "kernel_name": "python3", "cwd": folder}
        out = str(Path(folder, "out.ipynb"))
        return papermill.execute_notebook(str(path), out, {"profile": "smoke"}, **options)


def texts(cell):
    """All that a cell prints or shows as text."""
    return [o.get("text") or o.get("data", {}).get("text/plain") for o in cell.outputs]


@each_executed
def test_papermill_runs_it_from_anywhere_and_every_picture_is_there(path):
    for cell in code_cells(read(path)):
        found = pictures(cell_of(executed(path), cell.id))
        assert len(found) == len(pictures(cell)), f"{cell.id} shows {len(found)} pictures"
        assert all(picture.std() > 5 for picture in found), f"{cell.id} shows an empty picture"


@each_executed
def test_nothing_that_is_printed_is_wrong(path):
    cells = executed(path).cells
    printed = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    assert "'smoke'" in printed
    assert "Traceback" not in printed
    assert ": False" not in printed  # "the same pictures: True" and its like
    assert "Warning" not in printed


@each_executed
def test_what_is_said_never_to_change_has_not_changed(path):
    checked = tagged(read(path), "nbval-check-output")
    assert checked, "tag the outputs that never change"
    for cell in checked:
        assert texts(cell_of(executed(path), cell.id)) == texts(cell), cell.id


@pytest.mark.parametrize("path", [executable(NOTEBOOKS[0])])
def test_the_same_seed_draws_the_same_pictures_again(path):
    """The finished butterflies do not depend on the profile, so the stored ones must come back."""
    notebooks = executed(path), read(path)
    (again,), (stored,) = (pictures(cell_of(notebook, "finished")) for notebook in notebooks)
    assert again.shape == stored.shape
    assert abs(again - stored).mean() < 4  # the stored picture has a palette of 255 colours


def run_nbval(path):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(path)], env=SMOKE, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.notebook
def test_nbval_finds_the_first_checked_output_unchanged(tmp_path):
    notebook = read(SCRATCH)
    first = notebook.cells.index(tagged(notebook, "nbval-check-output")[0])
    notebook.cells = notebook.cells[: first + 1]
    nbformat.write(notebook, tmp_path / "start.ipynb")
    run_nbval(tmp_path / "start.ipynb")


@pytest.mark.slow
@pytest.mark.notebook
@each_notebook
def test_nbval_finds_all_checked_outputs_unchanged(path):
    run_nbval(path)
