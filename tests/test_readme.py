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


def table_rows(page):
    rows = [line for line in page.splitlines() if line.startswith("|")]
    return [sorted(re.findall(r"\d[\d.,]*", row)) for row in rows]


def test_both_pages_give_the_same_numbers():
    assert table_rows(ENGLISH) == table_rows(KOREAN)


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


def test_the_korean_page_says_what_diffusion_is_called():
    assert re.search("디퓨전\\(확산\\)|디퓨전 모델\\(확산", KOREAN)


def test_each_page_runs_the_notebook_of_its_language():
    first = r"&& papermill (notebooks/\S+) "
    (english,), (korean,) = (re.findall(first, page) for page in PAGES.values())
    assert korean == english.replace("notebooks/", "notebooks/ko/")
    assert (ROOT / english).exists()
    assert (ROOT / korean).exists()
