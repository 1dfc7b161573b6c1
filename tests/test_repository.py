"""The house rules: what lies where, who may import whom, what is pinned, where addresses point."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import badges
import nbformat
import pytest
from course import FOLDERS, read_course
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from papermill.iorw import papermill_io

from course_utils import _moved

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    *("notebooks", "course_utils", "tests", ".ci", ".github"),
    *("README.md", "README_KR.md", "LICENSE", "CONTRIBUTING.md"),
    *("pyproject.toml", "requirements.txt", "environment.yml", ".gitignore", ".gitattributes"),
}
INSTALL = "pip install -r requirements.txt && "
COMMANDS = [
    INSTALL + "papermill notebooks/01_introduction_to_diffusers.ipynb runs/01.ipynb",
    INSTALL + "pytest",
]

# Who imports whom: each room only from those above it, and no arrow more than there are.
IMPORTS = {
    "_moved": set(),
    "checks": set(),
    "images": set(),
    "runtime": {"checks"},
    "language": {"checks"},
    "schedule": {"checks"},
    "models": {"checks", "runtime", "schedule"},
    "data": {"checks", "images", "language", "runtime"},
    "sampling": {"checks", "models", "schedule"},
    "training": {"checks", "language", "models", "schedule"},
    "text_to_image": {"checks", "data", "images", "models", "runtime", "training"},
    "trained": {"checks", "models", "runtime", "sampling", "schedule", "text_to_image"},
    "evaluation": {"checks", "data", "images", "language", "runtime"},
    "plotting": {"checks", "images", "language", "schedule"},
    "widgets": {
        *("checks", "images", "language", "plotting", "runtime", "sampling", "schedule"),
    },
    "recipes": {"data", "models", "runtime", "sampling", "schedule", "trained", "training"},
    "sharing": {"data", "models"},
    "runs": {
        *("data", "evaluation", "images", "models", "recipes", "runtime", "schedule", "sharing"),
        *("text_to_image", "trained", "training"),
    },
    "speedrun": {
        *("evaluation", "images", "language", "models", "recipes", "runs", "runtime", "trained"),
    },
    "cli": {"checks", "images", "recipes", "runs", "runtime", "sharing", "speedrun", "trained"},
    "__init__": {
        *("_moved", "data", "evaluation", "images", "language", "models", "plotting", "runtime"),
        *("sampling", "schedule", "sharing", "trained", "training"),
    },
    "exercises": {"__init__", "language", "plotting", "runtime", "schedule"},  # with `cu.…`
}
COMMAND = ("cli", "runs/trainer", "runs/folder", "runs/checkpoints", "runs/log", "runs/outputs")
LIGHT = ("runtime", "images", "schedule", "models", "training", "sampling", "data", "trained")
HEAVY = {"matplotlib", "ipywidgets", "datasets", "diffusers", "accelerate", "pandas", "sklearn"}
HEAVY |= {"peft", "transformers"}

MODULES = sorted((ROOT / "course_utils").rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def room(path: Path) -> str:
    """The name that a module, or the package it lies in, is imported by from course_utils."""
    return path.relative_to(ROOT / "course_utils").with_suffix("").parts[0]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def course_files() -> list[Path]:
    """What git tracks; in a copy without git, all that .gitignore does not name."""
    names = []
    with suppress(OSError):  # no git on this machine
        git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        names = git.stdout.decode().split("\0")[:-1]
    return [Path(name) for name in names or unignored_files() if (ROOT / name).is_file()]


def unignored_files() -> Iterator[str]:
    """`/place/` in .gitignore is a place seen from the top, `name/` a name anywhere."""
    patterns = [".git", *(line.rstrip("/") for line in read(ROOT / ".gitignore").split())]
    for folder, folders, names in os.walk(ROOT):
        here = "/" + os.path.relpath(folder, ROOT).removeprefix(".")
        places = {name: os.path.join(here, name) for name in folders + names}
        kept = {n for n, place in places.items() if not any(_fits(n, place, p) for p in patterns)}
        folders[:] = kept & set(folders)
        yield from (os.path.relpath(Path(folder, n), ROOT) for n in kept & set(names))


def _fits(name: str, place: str, pattern: str) -> bool:
    """`**/` stands for any folders, or for none."""
    if not pattern.startswith("/"):
        return fnmatch(name, pattern)
    return fnmatch(place, pattern) or fnmatch(place, pattern.replace("**/", ""))


def test_nothing_else_lies_at_the_top():
    top = {path.parts[0] for path in course_files()}
    assert {"course_utils", "pyproject.toml"} <= top
    assert top <= TOP_LEVEL


def test_without_git_the_same_files_are_found():
    assert set(course_files()) <= {Path(name) for name in unignored_files()}


def test_no_text_names_a_place_on_one_persons_machine():
    elsewhere = re.compile(r"(?<![\w.-])/(?:work|root)/|\.\./shared")
    found = []
    for path in course_files():
        try:
            text = read(ROOT / path)
        except UnicodeDecodeError:  # a picture
            continue
        found += [f"{path}: {text[m.start() :][:60]!r}" for m in elsewhere.finditer(text)]
    assert not found


def imported_from_us(tree: ast.AST) -> set[str]:
    """The rooms that a module imports, at its top or inside a function; `import course_utils`
    itself is the room __init__."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "course_utils." + (node.module or "") if node.level else node.module
            whole = module.rstrip(".") == "course_utils"
            names |= {f"course_utils.{a.name}" for a in node.names} if whole else {module}
    ours = {name for name in names if f"{name}.".startswith("course_utils.")}
    return {f"{name}.__init__".split(".")[1] for name in ours}


def test_imports_only_run_downwards():
    found: dict[str, set[str]] = {}
    for path in MODULES:
        found.setdefault(room(path), set()).update(imported_from_us(ast.parse(read(path))))
    assert {name: rooms - {name} for name, rooms in found.items()} == IMPORTS
    above: set[str] = set()
    for name, rooms in IMPORTS.items():
        assert rooms <= above, f"{name} stands above a room that it imports"
        above.add(name)


@pytest.mark.parametrize(
    ("line", "rooms"),
    [
        ("import course_utils.schedule", {"schedule"}),
        ("import course_utils.schedule as n", {"schedule"}),
        ("from course_utils import schedule", {"schedule"}),
        ("from course_utils.schedule import corrupt", {"schedule"}),
        ("from . import schedule", {"schedule"}),
        ("from .schedule import corrupt", {"schedule"}),
        ("def f():\n    from course_utils.schedule import corrupt", {"schedule"}),
        ("from course_utils.data.hub import fetch", {"data"}),
        ("import course_utils", {"__init__"}),
        ("import course_utils as cu", {"__init__"}),
        ("import course_utils_of_others", set()),
    ],
)
def test_no_way_to_import_goes_unseen(line, rooms):
    assert imported_from_us(ast.parse(line)) == rooms


OLD_NAMES = {
    "course_utils.recipes.parts": "load_trained",  # in cards on the Hub
    "course_utils.measured": "sampler_distances",  # in notebooks
    "course_utils.loss": "logit_normal",
    "course_utils.noise": "call_model",
    "course_utils.engine": "train_recipe",
    "course_utils.exercises.exercise": "Prediction",
}


def test_a_module_that_moved_is_found_by_its_old_name_and_says_where_it_is():
    """In a fresh process: a name that is known already is not looked for."""
    lines = ["import warnings", "warnings.simplefilter('always')"]
    for module, name in OLD_NAMES.items():
        lines += [f"from {module} import {name}", f"assert callable({name})"]
    lines += ["import course_utils.noise as m", "m.nonsense"]
    run = [sys.executable, "-c", "\n".join(lines)]
    said = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    for module in OLD_NAMES:
        assert f"DeprecationWarning: {module} is course_utils." in said
    assert said.strip().endswith("module 'course_utils.noise' has no attribute 'nonsense'")


def test_every_old_name_leads_to_a_module_that_is_there():
    for places in _moved.MOVED.values():
        for place in places:
            assert importlib.util.find_spec(f"course_utils.{place}"), place


def test_importing_the_course_loads_nothing_heavier_than_torch():
    modules = ", ".join(["course_utils", *(f"course_utils.{name}" for name in LIGHT)])
    code = f"import sys, {modules}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert "torch" in loaded
    assert not loaded & HEAVY


@each_module
def test_what_is_public_says_what_it_is(path):
    tree = ast.parse(read(path))
    things = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = [node for node in things if not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@each_module
def test_modules_and_functions_are_short(path):
    lines = len(read(path).splitlines())
    assert lines <= 240
    functions = [n for n in ast.walk(ast.parse(read(path))) if isinstance(n, ast.FunctionDef)]
    assert {f.name for f in functions if f.end_lineno - f.lineno + 1 > 45} == set()


def test_the_command_can_be_read_in_one_sitting():
    lines = {name: read(ROOT / "course_utils" / f"{name}.py").count("\n") for name in COMMAND}
    assert sum(lines.values()) <= 800, lines


def needs() -> list[Requirement]:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in sum(extras, project["dependencies"])]


def pins(python: str) -> dict[str, Requirement]:
    lines = read(ROOT / "requirements.txt").splitlines()
    pinned = [Requirement(line) for line in lines if line[0] not in "#-"]
    here = [p for p in pinned if not p.marker or p.marker.evaluate({"python_version": python})]
    assert len({canonicalize_name(p.name) for p in here}) == len(here), "pinned twice"
    return {canonicalize_name(p.name): p for p in here}


def test_the_package_asks_for_lower_bounds_only():
    for need in needs():
        assert {bound.operator for bound in need.specifier} <= {">="}, need


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_a_fresh_machine_gets_exact_versions_of_everything(python):
    pinned = pins(python)
    for pin in pinned.values():
        assert re.fullmatch(r"==\d[\w.]*", str(pin.specifier)), pin
    here = [n for n in needs() if not n.marker or n.marker.evaluate({"python_version": python})]
    for need in here:
        pin = pinned[canonicalize_name(need.name)]
        assert need.specifier.contains(str(pin.specifier)[2:]), f"{pin} does not satisfy {need}"


def test_requirements_install_the_course_and_conda_reads_them():
    assert read(ROOT / "requirements.txt").splitlines()[-1] == "-e ."
    conda = read(ROOT / "environment.yml")
    assert re.search(r"^ +- pip:\n +- -r requirements\.txt$", conda, re.MULTILINE)
    assert re.search(r"^ +- python=3\.1\d$", conda, re.MULTILINE)
    assert "==" not in conda


def test_the_readme_has_the_two_commands():
    lines = read(ROOT / "README.md").splitlines()
    assert [line for line in lines if line.startswith(INSTALL)] == COMMANDS


def test_papermill_makes_the_folder_it_writes_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill_io.write("x", "runs/a/b.ipynb")
    assert read(tmp_path / "runs" / "a" / "b.ipynb") == "x"


CATALOGUE = FOLDERS["en"] / "course.toml"


def copy_pages(root: Path) -> None:
    """The catalogue, and every page that has badges."""
    for path in (ROOT / CATALOGUE, *badges.pages(ROOT)):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def fork(root: Path, repo: str) -> str:
    """Give the copy of pyproject.toml below `root` another address; returns the one it had."""
    text = read(ROOT / "pyproject.toml")
    old = badges.ADDRESS.search(text)[1]
    (root / "pyproject.toml").write_text(text.replace(old, repo), encoding="utf-8")
    return old


def test_badges_point_here(capsys):
    for path in badges.pages(ROOT):
        assert badges.BLOCK.search(read(path)), f"{path.name} has no badges:start and badges:end"
    exit_code = badges.main(["--check"])
    assert capsys.readouterr().out == "", "run: python .ci/badges.py"
    assert exit_code == 0


def test_a_fork_changes_one_line(tmp_path):
    copy_pages(tmp_path)
    old = fork(tmp_path, "some.one/else-where")
    assert badges.main(["--check"], root=tmp_path) == 1
    for path in badges.pages(tmp_path):
        assert path.read_bytes() == (ROOT / path.relative_to(tmp_path)).read_bytes()
    assert badges.main([], root=tmp_path) == 0
    before = [path.read_bytes() for path in badges.pages(tmp_path)]
    for path in badges.pages(tmp_path):
        text = read(path)
        assert text != read(ROOT / path.relative_to(tmp_path))
        assert not re.search(rf"[/:]{re.escape(old)}(?![\w-])", text)
        installed = re.findall(r"github\.com/([\w.-]+/[\w.-]+)/archive/", text)
        assert set(installed) <= {"some.one/else-where"}
    assert badges.main([], root=tmp_path) == 0
    assert [path.read_bytes() for path in badges.pages(tmp_path)] == before


def test_one_more_notebook_is_one_more_entry(tmp_path):
    copy_pages(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    entry = """
        [[notebook]]
        name = "99_one_more"
        unit = 9
        title = {en = "One More", ko = "하나 더"}
        about = {en = "of what there is", ko = "있는 것의"}
    """
    with (tmp_path / CATALOGUE).open("a", encoding="utf-8") as file:
        file.write(entry)
    cells = [nbformat.v4.new_markdown_cell(EMPTY)]
    one_more = read_course(tmp_path)[-1].path()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / one_more)
    assert badges.main([], root=tmp_path) == 0
    assert read(tmp_path / one_more).count("[![Open in ") == 4
    for readme, title in {"README.md": "One More", "README_KR.md": "하나 더"}.items():
        assert f"| [{title}]({one_more.as_posix()})<br>" in read(tmp_path / readme)
        assert read(tmp_path / readme).count("99_one_more.ipynb)") == 5


EMPTY = "# 제목\n<!-- badges:start --><!-- badges:end -->\nBy huggingface/diffusers-x."
URLS = (
    "https://github.com/{0}.git https://github.com/{0}/archive/refs/heads/main.zip github.com/{0}-2"
)


def test_badges_are_made_from_nothing_and_addresses_follow_them(tmp_path):
    notebook = tmp_path / "notebooks" / "ko" / "02_diffusion_models_from_scratch.ipynb"
    notebook.parent.mkdir(parents=True)
    shutil.copy(ROOT / CATALOGUE, tmp_path / CATALOGUE)
    cells = [nbformat.v4.new_markdown_cell(EMPTY), nbformat.v4.new_code_cell(URLS.format("a/b"))]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    readme = tmp_path / "README_KR.md"
    readme.write_text(EMPTY + URLS.format("a/b"), encoding="utf-8")

    fork(tmp_path, "a/b")
    badges.main([], root=tmp_path)
    fork(tmp_path, "c/d")
    badges.main([], root=tmp_path)

    link = "https://colab.research.google.com/github/c/d/blob/main/notebooks/"
    translated = "ko/02_diffusion_models_from_scratch.ipynb)"
    for text in (read(readme), read(notebook)):
        assert f"({link}{translated}" in text
        assert URLS.format("c/d").replace("c/d-2", "a/b-2") in text
        assert "By huggingface/diffusers-x." in text
    assert f"({link}01_introduction_to_diffusers.ipynb)" in read(readme)
    assert read(readme).count("[![Open in ") == 4 * len(read_course())
    assert read(notebook).count("[![Open in ") == 4
    assert read(notebook) == nbformat.writes(nbformat.read(notebook, as_version=4)) + "\n"
