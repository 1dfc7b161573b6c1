"""English and Korean say the same thing: what changes in one language turns red here, by name."""

import json
import re
import shutil
from pathlib import Path

import pytest
import translations as tool
from course import read_course

from course_utils import language
from course_utils.language import _, set_language

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = read_course()[0].path().name
FORBIDDEN = ("역전파", "잡음", "훈련", "당신")  # the glossary has other words for these
NAMES = {  # Latin words that stay Latin in Korean, also three in a row
    *("Fréchet", "Hugging", "Face", "Run", "all", "SageMaker", "Studio", "Lab", "Intel", "AMD"),
}


@pytest.fixture
def copy(tmp_path):
    """What the tool looks at, to be spoiled."""
    for name in ("notebooks", "course_utils"):
        ignore = shutil.ignore_patterns("*.safetensors", "__pycache__", "results")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("README.md", "README_KR.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def korean_prose():
    for notebook in read_course():
        for cell in tool.read_notebook(ROOT / notebook.path("ko")).cells:
            if cell.cell_type == "markdown":
                yield f"ko/{notebook.name}#{cell.id}", cell.source
    yield "README_KR.md", (ROOT / "README_KR.md").read_text(encoding="utf-8")


def test_nothing_is_left_to_translate():
    found = tool.problems()
    assert not found, "\n\n".join(found)


def change_cell(root, cell_type, pick, change):
    """Change the first such English cell for which `pick` holds; its id."""
    path = root / "notebooks" / NOTEBOOK
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == cell_type and pick(text):
            cell["source"] = change(text)
            path.write_text(json.dumps(notebook), encoding="utf-8")
            return cell["id"]
    raise AssertionError("no such cell")


def test_one_changed_sentence_is_named_and_shown(copy):
    place = change_cell(
        copy, "markdown", lambda t: "skip connections" in t, lambda t: t + " And more."
    )
    (found,) = tool.problems(copy)
    assert found.startswith(f"{NOTEBOOK}#{place}\n")
    assert re.search(r"(?m)^\+.*And more\.$", found)


def test_one_changed_formula_is_named_and_shown(copy):
    place = change_cell(
        copy, "markdown", lambda t: r"\sqrt{\bar" in t, lambda t: t.replace(r"\sqrt", "", 1)
    )
    (found,) = tool.problems(copy)
    assert f"#{place}\n" in found
    assert "-$$x_t" in found


def test_one_changed_line_of_code_is_named(copy):
    place = change_cell(
        copy, "code", lambda t: "loss.backward()" in t, lambda t: t.replace("backward", "backwards")
    )
    (found,) = tool.problems(copy)
    assert f"#{place}: the code differs" in found


def test_one_more_cell_is_named(copy):
    path = copy / "notebooks" / NOTEBOOK
    notebook = json.loads(path.read_text(encoding="utf-8"))
    more = {"cell_type": "code", "id": "one-more", "metadata": {}, "source": "1"}
    notebook["cells"].insert(5, {**more, "outputs": [], "execution_count": None})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    (found,) = tool.problems(copy)
    assert "-one-more" in found


def test_one_changed_readme_line_is_named_and_shown(copy):
    path = copy / "README.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("small steps forgive errors", "BIG steps"), encoding="utf-8")
    (found,) = tool.problems(copy)
    assert found.startswith("README.md#What are diffusion models?\n")
    assert "+Their" in found or "BIG steps" in found


def test_one_changed_message_is_named(copy):
    path = copy / "course_utils" / "plotting" / "schedules.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('_("running average")', '_("mean")'), encoding="utf-8")
    missing, unused = tool.problems(copy)
    assert missing == "course_utils/plotting/schedules.py: no translation of 'mean'"
    assert unused == "no longer used: 'running average'"


def test_a_lost_field_of_a_message_is_named(copy):
    path = copy / tool.LOCALE / "course_utils.po"
    text = path.read_text(encoding="utf-8")
    head, message = text.split('msgid " and {count} more"', 1)
    message = message.replace("{count}", "3", 1)
    path.write_text(f'{head}msgid " and {{count}} more"{message}', encoding="utf-8")
    found = tool.problems(copy)
    assert any("other fields in the translation of ' and {count} more'" in line for line in found)
    assert any("the compiled catalogue is not that" in line for line in found)


def test_what_is_accepted_is_no_longer_named(copy, monkeypatch):
    place = change_cell(copy, "markdown", lambda t: "skip connections" in t, lambda t: t + " More.")
    (copy / "README.md").write_text(
        (copy / "README.md").read_text(encoding="utf-8").replace("small steps", "BIG"),
        encoding="utf-8",
    )
    assert len(tool.problems(copy)) == 2
    tool.accept(copy, [f"{NOTEBOOK}#{place}"])
    assert len(tool.problems(copy)) == 1
    tool.accept(copy, ["all"])
    assert tool.problems(copy) == []
    with pytest.raises(SystemExit, match="no such place: nowhere"):
        tool.accept(copy, ["nowhere"])


SAME = [
    ("x = 1  # one", "x = 1  # 하나"),
    ('show(x, title="noise")', 'show(x, title="노이즈")'),
    ('print(f"{a} of {b:.2f}")', 'print(f"{b:.2f} 중 {a}")'),
    ('language = "auto"', 'language = "ko"'),
    ("    %pip install x", "    %pip install x"),
]
DIFFERENT = [
    ("x = 1", "x = 2"),
    ('f("cpu")', 'f("gpu")'),
    ('f("cpu")', "f(1)"),
    ('print(f"{a} of {b}")', 'print(f"{a} 중 {a}")'),
    ('print(f"{a:.2f} is")', 'print(f"{a:.3f} 입니다")'),
    ("x = 1", "x = 1\n"[:-1] + "\ny = 2"),
    ('f(3, "noise")', 'f(4, "노이즈")'),
    ("f(noise)", 'f("노이즈")'),
]


@pytest.mark.parametrize(("english", "korean"), SAME)
def test_words_for_people_may_differ(english, korean):
    source = "if x:\n" if english.startswith(" ") else ""
    assert tool.same_code(source + english, source + korean)


@pytest.mark.parametrize(("english", "korean"), DIFFERENT)
def test_nothing_else_may_differ(english, korean):
    assert not tool.same_code(english, korean)


def words_only(text):
    """Without code, formulas, links, tags, addresses and what stands in quotation marks."""
    text = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", " ¶ ", text, flags=re.S)
    text = re.sub(r"!?\[[^\]]*\]\([^)]*\)|<[^>]*>|https?://\S+", " ¶ ", text)
    text = re.sub(r"<!-- badges:start -->.*?<!-- badges:end -->", "", text, flags=re.S)
    return re.sub(r"\*[^*\n]*\*", " ¶ ", text)


def test_no_english_sentence_is_left_in_korean_prose():
    found = []
    for place, text in korean_prose():
        for run in re.findall(
            r"(?:[A-Za-z][A-Za-z'-]+ +){2,}[A-Za-z][A-Za-z'-]+", words_only(text)
        ):
            if not set(re.findall(r"[A-Za-z'-]+", run)) <= NAMES | PROPER:
                found.append(f"{place}: {run!r}")
    assert not found, "\n".join(found)


PROPER = {"Denoising", "Diffusion", "Probabilistic", "Models"}


@pytest.mark.parametrize("word", FORBIDDEN)
def test_the_glossary_is_kept(word):
    found = [place for place, text in korean_prose() if word in text]
    held = tool.read_catalog(ROOT)
    found += [message.id for message in held if message.id and word in message.string]
    assert not found


def test_hangul_stands_in_no_mathtext():
    """matplotlib draws no Hangul in a text with a formula."""
    for message in tool.read_catalog(ROOT):
        assert not ("$" in message.string and tool.HANGUL.search(message.string)), message.id


@pytest.fixture
def korean():
    set_language("ko")
    yield
    language._state.clear()


def test_the_package_speaks_korean(korean):
    assert tool.HANGUL.search(_("running average"))


def test_every_figure_has_hangul(tmp_path, korean):
    """A syllable is drawn as itself, not as the box for what a font lacks."""
    import matplotlib.pyplot as plt

    from course_utils.plotting.style import find_hangul

    assert find_hangul()
    figure, ax = plt.subplots(figsize=(2, 1))
    drawn = []
    for text in ("가", "힣"):
        ax.clear()
        ax.set_title(text)
        figure.canvas.draw()
        drawn.append(figure.canvas.buffer_rgba().tobytes())
    plt.close(figure)
    assert drawn[0] != drawn[1]
