"""README.md and README_KR.md: the same page in two languages, with nothing dead in it."""

import re
from pathlib import Path

import pytest

from course_utils.recipes import load_recipe

ROOT = Path(__file__).parent.parent
ENGLISH, KOREAN = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_KR.md")
)
PAGES = {"README.md": ENGLISH, "README_KR.md": KOREAN}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
FORBIDDEN = ("역전파", "잡음", "훈련", "당신")  # the glossary has other words for these


def headings(page):
    return re.findall(r"(?m)^(#+) ", page)


def code_blocks(page):
    return re.findall(r"```\n(.*?)```", page, re.S)


def links(page):
    """Every address, with the Korean edition of a page counted as the page itself."""
    badges = re.compile(r"<!-- badges:start -->.*<!-- badges:end -->", re.S)
    found = re.findall(r"\]\(([^)]+)\)", badges.sub("", page))
    found = [link for link in found if not link.startswith(("#", "README"))]
    return [link.replace("/docs/diffusers/ko/", "/docs/diffusers/") for link in found]


def table_rows(page):
    rows = [line for line in page.splitlines() if line.startswith("|")]
    return [sorted(re.findall(r"\d[\d.,]*", row)) for row in rows]


def test_both_pages_have_the_same_sections():
    assert headings(ENGLISH) == headings(KOREAN)
    assert len(headings(ENGLISH)) >= 8


def test_both_pages_give_the_same_commands_links_and_numbers():
    assert code_blocks(ENGLISH) == code_blocks(KOREAN)
    assert links(ENGLISH) == links(KOREAN)
    assert table_rows(ENGLISH) == table_rows(KOREAN)


def test_lists_and_paragraphs_match_section_by_section():
    for english, korean in zip(ENGLISH.split("\n## "), KOREAN.split("\n## "), strict=True):
        title = english.splitlines()[0]
        for mark in ("- ", "1. ", "2. ", "3. ", "4. ", "5. ", "| ", "<img"):
            count = [len(re.findall(rf"(?m)^ *{re.escape(mark)}", s)) for s in (english, korean)]
            assert count[0] == count[1], f"section {title!r}: lines beginning with {mark!r}"
        paragraphs = [len(re.split(r"\n\s*\n", part.strip())) for part in (english, korean)]
        assert paragraphs[0] == paragraphs[1], f"section {title!r}: paragraphs"


@each_page
def test_local_links_lead_somewhere(page):
    local = re.findall(r"\]\((?!http|#)([^)]+)\)", page)
    local += re.findall(r'src="(?!http)([^"]+)"', page)
    assert local
    for link in local:
        assert (ROOT / link).exists(), link
    anchors = re.findall(r"\]\(#([^)]+)\)", page)
    titles = [re.sub(r"[^\w\s-]", "", t.lower()).strip() for t in re.findall(r"(?m)^#+ (.*)", page)]
    assert all(anchor in [t.replace(" ", "-") for t in titles] for anchor in anchors)


@each_page
def test_the_commands_that_launch_training_are_understood(page):
    from accelerate.commands.launch import launch_command_parser

    launches = re.findall(r"accelerate launch (.*?) -m course_utils\.cli (.*)", page)
    assert len(launches) == 2
    for launcher, words in launches:
        args = launch_command_parser().parse_args([*launcher.split(), "-m", "course_utils.cli"])
        assert args.multi_gpu
        assert args.num_processes == 4 * (args.num_machines or 1)
        assert load_recipe(words.split()[2]).training.batch_size % args.num_processes == 0


@each_page
def test_the_resources_are_all_there(page):
    for address in (
        "https://huggingface.co/blog/annotated-diffusion",
        "training/unconditional_training",
        "training/create_dataset",
        "https://arxiv.org/abs/2006.11239",
        "https://www.youtube.com/watch?v=344w5h24-h8",
        "https://www.youtube.com/watch?v=W-O7AZNzbzQ",
        "https://www.youtube.com/watch?v=09o5cv6u76c",
    ):
        assert address in page


def test_the_korean_page_is_korean_and_keeps_the_glossary():
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]*>|https?://\S+", " ", KOREAN, flags=re.S)
    assert not [word for word in FORBIDDEN if word in prose]
    assert re.search("디퓨전\\(확산\\)|디퓨전 모델\\(확산", prose)
    assert not re.findall(r"(?:해요|이에요|예요|네요)[.!?]", prose)
