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
MEASURED = "tests/bench/README.md"
DISCUSSIONS = "../../discussions"  # as GitHub resolves it, of this repository or of a fork
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def table_rows(page):
    rows = [line for line in page.splitlines() if line.startswith("|")]
    return [sorted(re.findall(r"\d[\d.,]*", row)) for row in rows]


def test_both_pages_give_the_same_numbers():
    assert table_rows(ENGLISH) == table_rows(KOREAN)


def anchors_of(page):
    titles = [re.sub(r"[^\w\s-]", "", t.lower()).strip() for t in re.findall(r"(?m)^#+ (.*)", page)]
    return {title.replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", [*PAGES, MEASURED])
def test_local_links_lead_somewhere(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    local = re.findall(r"\]\((?!http|#)([^)]+)\)", page)
    local += re.findall(r'src="(?!http)([^"]+)"', page)
    assert local
    for link in set(local) - {DISCUSSIONS}:
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target.read_text(encoding="utf-8")), link
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors_of(page)


@each_page
def test_what_was_measured_is_one_link_away(page):
    assert f"]({MEASURED})" in page
    rows = table_rows((ROOT / MEASURED).read_text(encoding="utf-8"))
    assert len([row for row in rows if row]) >= 5


@each_page
def test_each_picture_says_what_it_shows_and_is_small(page):
    pictures = re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]+)"', page)
    assert len(pictures) == page.count("<img ") >= 4
    for source, alt in pictures:
        assert (ROOT / source).stat().st_size <= 200_000, source
        assert len(alt) > 15, source


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
        "https://arxiv.org/abs/2006.11239",  # DDPM
        "https://arxiv.org/abs/2010.02502",  # DDIM
        "https://arxiv.org/abs/2011.13456",  # score-based models and SDEs
        "https://arxiv.org/abs/2206.00364",  # EDM
        "https://arxiv.org/abs/2210.02747",  # flow matching
        "https://arxiv.org/abs/2305.08891",  # zero terminal SNR
        "https://kellerjordan.github.io/posts/muon/",
        "https://arxiv.org/abs/1706.08500",  # FID
        "https://arxiv.org/abs/1801.01401",  # KID
        "https://github.com/huggingface/diffusion-models-class",
        "https://hf.co/join/discord",
        f"]({DISCUSSIONS})",
        "https://github.com/huggingface/diffusers/tree/main/examples/unconditional_image_generation",
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
