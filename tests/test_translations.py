"""English and Korean say the same thing: what parts them is named, with its place."""

import re
import shutil

import badges
import nbformat
import pieces
import pytest
import translations
from catalogues import read_catalog, write_catalog
from course import ROOT

from course_utils import language
from course_utils.language import _, set_language

PAGES = translations.all_pages(ROOT)
FIRST = PAGES[0]
PACKAGE = ROOT / translations.PACKAGE
HANGUL = re.compile(r"[가-힣]")
FORBIDDEN = ("하한", "잡음", "훈련", "당신")  # the glossary has other words for these
PROPER = {  # Latin words that stay Latin in Korean, also three in a row
    *("Fréchet", "Hugging", "Face", "Run", "all", "SageMaker", "Studio", "Lab", "Intel", "AMD"),
    *("Denoising", "Diffusion", "Probabilistic", "Models"),
}


def all_messages():
    for path in (*(ROOT / page.catalogue for page in PAGES), PACKAGE):
        yield from (message for message in read_catalog(path) if message.id)


def test_nothing_is_left_to_translate():
    found = list(translations.problems())
    assert not found, "\n\n".join(found)


# --- each way of drifting apart is named


@pytest.fixture
def copy(tmp_path):
    """What the command looks at, to be spoiled."""
    for name in ("notebooks", "course_utils"):
        ignore = shutil.ignore_patterns("*.safetensors", "__pycache__", "results")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("README.md", "README_KR.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{text.count(old)} times in {path.name}: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def edit(path, message_id, **changes):
    """Change a message of a catalogue."""
    catalog = read_catalog(path)
    (message,) = (m for m in catalog if message_id in m.id)
    for name, value in changes.items():
        setattr(message, name, value)
    write_catalog(catalog, path)


def only_problem(root):
    (found,) = translations.problems(root)
    return found


ENGLISH_DRIFTS = [
    ("**skip connections** hand", "**skip connections** do hand", "#model-text"),
    ("# 4. measure", "# 4. compare", "#training"),
    ("drawn by hand, in 25 steps", "drawn by hand, in few steps", "#by-hand"),
]


@pytest.mark.parametrize(("old", "new", "place"), ENGLISH_DRIFTS)
def test_changed_english_is_stale_and_shown_beside_what_it_was(copy, old, new, place):
    change(copy / FIRST.english, old, new)
    found = only_problem(copy)
    assert found.startswith(f"stale: {FIRST.english.name}{place}\n- ")
    assert re.search(rf"(?m)^- .*{re.escape(old.lstrip('# '))}", found)
    assert re.search(rf"(?m)^\+ .*{re.escape(new.lstrip('# '))}", found)


def test_a_changed_readme_is_stale(copy):
    change(copy / "README.md", "small steps forgive errors", "BIG steps")
    assert only_problem(copy).startswith("stale: README.md#what-are-diffusion-models\n")


def test_a_changed_message_of_the_package_is_stale(copy):
    name = "course_utils/plotting/curves.py"
    change(copy / name, '_("running average")', '_("a running average")')
    assert only_problem(copy).startswith(f"stale: {name}\n- running average\n+ a running average")


def test_new_english_is_missing_and_what_it_replaced_is_unused(copy):
    name = "course_utils/plotting/curves.py"
    change(copy / name, '_("running average")', '_("blurred by a window")')
    assert list(translations.problems(copy)) == [
        f"missing: {name}\n  blurred by a window",
        "unused: running average",
    ]


def test_a_cleared_translation_is_missing(copy):
    edit(copy / FIRST.catalogue, "**skip connections**", string="")
    assert only_problem(copy).startswith(f"missing: {FIRST.english.name}#model-text\n")


def test_a_doubtful_translation_is_stale(copy):
    edit(copy / FIRST.catalogue, "**skip connections**", flags={"fuzzy"})
    assert only_problem(copy).startswith(f"stale: {FIRST.english.name}#model-text\n")


LOST = [
    (PACKAGE, " and {count} more", "{count}", "3", "other fields"),
    (ROOT / FIRST.catalogue, "step {step}", "{step}", "{steps}", "other fields"),
    (ROOT / FIRST.catalogue, "drawn from noise", "나비", '나비", x="', "would end the string"),
    (ROOT / FIRST.catalogue, "Now write `add_noise`", "`add_noise`", "`add_nose`", "`"),
    (ROOT / FIRST.catalogue, "Now write `add_noise`", r"\bar\alpha_t", r"\alpha_t", "formulas"),
    (ROOT / FIRST.catalogue, "**Next:**", "(02_", "(03_", "](02_"),
    (ROOT / FIRST.catalogue, "## 3. The model", "## ", "", "other markup"),
    (ROOT / FIRST.catalogue, "1. take some pictures;", "\n2. ", " ", "other lines"),
    (ROOT / PAGES[-1].catalogue, "[The Annotated", "blog/", "", "](https://huggingface.co/blog"),
]


@pytest.mark.parametrize(("path", "message_id", "old", "new", "said"), LOST)
def test_what_a_translation_loses_is_wrong(copy, path, message_id, old, new, said):
    (message,) = (m for m in read_catalog(path) if message_id in m.id)
    assert old in message.string
    edit(copy / path.relative_to(ROOT), message_id, string=message.string.replace(old, new))
    found = [line for line in translations.problems(copy) if line.startswith("wrong: ")]
    assert any(said in line and message_id in line for line in found)


def test_an_edited_notebook_is_named_with_its_cell(copy):
    change(copy / FIRST.korean, "# 4. 측정하기", "# 4. 재기")
    found = only_problem(copy)
    assert found.startswith("notebooks/ko/01_introduction_to_diffusers.ipynb: not as it is made")
    assert re.search(r"(?m)^-#training: .*# 4. 재기$", found)
    assert re.search(r"(?m)^\+#training: .*# 4. 측정하기$", found)


def test_an_edited_readme_is_named_with_its_line(copy):
    change(copy / "README_KR.md", "## 시작하기", "## 시작")
    assert only_problem(copy).splitlines()[-2:] == ["-## 시작", "+## 시작하기"]


def test_changed_code_is_named_until_the_korean_notebook_is_made_again(copy):
    change(copy / FIRST.english, "loss.backward()", "loss.backwards()")
    assert re.search(r"(?m)^\+#training:     loss\.backwards\(\)$", only_problem(copy))
    translations.update(copy)
    assert list(translations.problems(copy)) == []
    assert "loss.backwards()" in (copy / FIRST.korean).read_text(encoding="utf-8")


def test_a_translation_that_is_not_compiled_is_named(copy):
    edit(copy / translations.PACKAGE, "running average", string="평균")
    assert only_problem(copy) == "course_utils.po is not compiled: run with --update"


def test_a_fork_has_nothing_to_translate(copy):
    change(copy / "pyproject.toml", 'diffusion-course/diffusion-course"', 'c/d"')
    badges.main([], root=copy)
    assert list(translations.problems(copy)) == []


# --- and mended


def test_a_stale_text_is_shown_in_english_until_it_is_translated(copy):
    change(copy / FIRST.english, "**skip connections** hand", "**skip connections** do hand")
    for _again in range(2):
        translations.update(copy)
        assert "do hand" in (copy / FIRST.korean).read_text(encoding="utf-8")
        lines = (copy / FIRST.catalogue).read_text(encoding="utf-8").splitlines()
        (at,) = (i for i, line in enumerate(lines) if line.startswith("#| msgid"))
        assert lines[at - 1] == "#, fuzzy"
        assert "**skip connections** hand" in lines[at]
        assert lines[at + 1].startswith('msgid "The network gets')
        assert re.search(r"(?m)^- .*connections\*\* hand", only_problem(copy))
    edit(copy / FIRST.catalogue, "**skip connections**", flags=set())
    translations.update(copy)
    assert list(translations.problems(copy)) == []
    assert "**스킵 연결**" in (copy / FIRST.korean).read_text(encoding="utf-8")


def test_a_notebook_made_again_keeps_its_outputs_and_its_signature(copy):
    before = nbformat.read(copy / FIRST.korean, 4)
    edit(copy / FIRST.catalogue, "## 3. The model", string="## 3. 네트워크")
    translations.update(copy)
    after = nbformat.read(copy / FIRST.korean, 4)
    assert after.metadata == before.metadata
    for old, new in zip(before.cells, after.cells, strict=True):
        old.source = new.source = old.source.replace("## 3. 모델", "## 3. 네트워크")
        assert old == new


def test_one_more_notebook_begins_with_what_is_translated_already(copy):
    with (copy / "notebooks" / "course.toml").open("a", encoding="utf-8") as file:
        file.write('[[notebook]]\nname="99_more"\nunit=9\ntitle={ko="또"}\nabout={ko="하나"}\n')
    notebook = nbformat.read(copy / FIRST.english, 4)
    kept = [c for c in notebook.cells if c.id in ("setup-text", "setup", "parameters", "model")]
    kept[0].source = "## A heading of its own\n\n" + kept[0].source.partition("\n\n")[2]
    more = nbformat.v4.new_code_cell('pick("smoke")  # the "cosine" schedule', id="of-its-own")
    notebook.cells = [*kept, more]
    nbformat.write(notebook, copy / "notebooks" / "99_more.ipynb")
    translations.update(copy)
    assert only_problem(copy) == "missing: 99_more.ipynb#setup-text\n  ## A heading of its own"
    made = nbformat.read(copy / "notebooks" / "ko" / "99_more.ipynb", 4)
    stored = {cell.id: cell.source for cell in nbformat.read(copy / FIRST.korean, 4).cells}
    assert [c.source for c in made.cells[1:-1]] == [stored[c.id] for c in made.cells[1:-1]]
    assert made.cells[-1].source == 'pick("smoke")  # "코사인" 스케줄'
    assert "executed" not in made.metadata
    catalogue = (copy / "notebooks" / "ko" / "99_more.po").read_text(encoding="utf-8")
    assert catalogue.startswith("# 99_more in Korean.\n")


# --- what is translated


CODE = '''
# noise for eight
# ex.first.hint()
x = "two words"  # (B, C)
if x:
    %pip install -q {x} "no string"
    print(f"step {x['key word']}: {x:.1f} s", "cpu-32", 'a_name')
def f():
    """A docstring."""
'''


def test_comments_and_strings_with_words_are_translated():
    found = list(pieces.in_code(CODE, "cell"))
    assert [(piece.text, piece.context) for piece in found] == [
        ("noise for eight", None),
        ("two words", "cell"),
        ("step {x['key word']}: {x:.1f} s", "cell"),
        ("A docstring.", "cell"),
    ]
    assert pieces.replaced(CODE, found, lambda piece: piece.text) == CODE
    assert pieces.replaced(CODE, found, lambda _: "말") == (
        CODE.replace("noise for eight", "말")
        .replace("two words", "말")
        .replace("step {x['key word']}: {x:.1f} s", "말")
        .replace("A docstring.", "말")
    )


PROSE = """# Title

One line
and one more.

<!-- badges:start -->

[![Open in Colab](x)](y)

<!-- badges:end -->

```
a command

and another
```

$$x_t = \\mathrm{noise}$$
- a list
"""


def test_paragraphs_are_translated_but_badges_commands_and_formulas():
    found = [piece.text for piece in pieces.in_prose(PROSE)]
    assert found == ["# Title", "One line\nand one more.", "- a list"]


def without_words(cell):
    source = cell.source.replace('language = "auto"', 'language = "ko"')
    for start, end in reversed(list(pieces.literals(source))):
        source = source[:start] + source[end:]
    return source


@pytest.mark.parametrize("page", PAGES[:-1], ids=lambda page: page.english.stem)
def test_the_code_is_the_same_but_for_comments_and_strings(page):
    cells = [nbformat.read(ROOT / path, 4).cells for path in page[:2]]
    for english, korean in zip(*cells, strict=True):
        assert (english.id, english.cell_type) == (korean.id, korean.cell_type)
        assert english.metadata == korean.metadata
        if english.cell_type == "code":
            assert without_words(english) == without_words(korean)


# --- good Korean


def words_only(text):
    """Without code, formulas, links, tags, addresses, italics and what stands in quotes."""
    text = re.sub(r"`[^`]*`|\$[^$]*\$", " ¶ ", text)
    text = re.sub(r"!?\[[^\]]*\]\([^)]*\)|<[^>]*>|https?://\S+", " ¶ ", text)
    return re.sub(r'\*[^*\n]*\*|"[^"\n]*"', " ¶ ", text)


def test_no_english_sentence_is_left_in_korean_prose():
    found = []
    for message in all_messages():
        run = r"(?:[A-Za-z][A-Za-z'-]+ +){2,}[A-Za-z][A-Za-z'-]+"
        for words in re.findall(run, words_only(message.string)):
            if not message.context and not set(re.findall(r"[A-Za-z'-]+", words)) <= PROPER:
                found.append(f"{message.locations[0][0]}: {words!r}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", FORBIDDEN)
def test_the_glossary_is_kept(word):
    texts = [message.string.replace("신호 대 잡음비", "") for message in all_messages()]  # SNR
    assert not [text for text in texts if word in text]


def test_back_propagation_is_not_the_reverse_process():
    said = [message for message in all_messages() if "역전파" in message.string]
    assert all("backward" in message.id for message in said)


def test_one_politeness_throughout():
    casual = re.compile(r"(?:해요|이에요|예요|네요)[.!?]")
    assert not [message.string for message in all_messages() if casual.search(message.string)]


def test_hangul_stands_in_no_mathtext():
    """matplotlib draws no Hangul in a text with a formula."""
    for message in all_messages():
        if message.context or message.locations[0][0].endswith(".py"):
            assert not ("$" in message.string and HANGUL.search(message.string)), message.id


@pytest.fixture
def korean():
    set_language("ko")
    yield
    language._state.clear()


def test_the_package_speaks_korean(korean):
    assert HANGUL.search(_("running average"))


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
