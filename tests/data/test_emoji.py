"""Emoji: what the file holds, that no held-out picture or name is trained on, what is found."""

import re
import runpy
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import course_utils as cu
from course_utils.data import GENDERS, PARTS, SOURCES, TONES
from course_utils.data import emoji as module

SCRIPT = Path(__file__).parents[1] / "bench" / "render_emoji.py"
JOINED_BY_NAME = {"merman": "man", "mermaid": "woman", "men": "man", "women": "woman"}


@pytest.fixture(scope="module")
def data():
    """All emoji in the size of the file."""
    return cu.load_emoji(64)


@pytest.fixture(scope="module")
def parts(data):
    return [data.part(name) for name in PARTS]


def hashes(images):
    """Each picture as one hashable thing."""
    return [image.numpy().tobytes() for image in images]


# --- what the file holds ---


def test_pictures_and_names_are_there_for_each(data):
    assert data.images.shape == (2387, 3, 64, 64)
    assert (data.labels, data.classes, data.source) == (None, (), "offline")
    assert set(data.captions) == {"en", "ko"}
    for texts in (data.characters, *data.captions.values()):
        assert len(set(texts)) == 2387
        assert all(text and text == text.strip() for text in texts)
    assert all(max(text) >= "가" for text in data.captions["ko"][-900:]), "no Hangul"
    assert repr(data).startswith("EmojiData(2,387 images 3x64x64")


def test_no_picture_is_blank_and_all_stand_on_white(data):
    assert data.images.amin((1, 2, 3)).max() < 250
    corners = data.images[..., [0, 0, -1, -1], [0, -1, 0, -1]].float().mean((1, 2))
    assert (corners > 254).float().mean() > 0.9
    used = np.flatnonzero(np.bincount(data.images.numpy().ravel()))
    assert np.array_equal(used, np.round(np.arange(64) * 255 / 63))


def test_no_flag_of_a_region_is_there(data):
    letters = "".join(data.characters)
    assert not any(0x1F1E6 <= ord(c) <= 0x1F1FF or ord(c) >= 0xE0000 for c in letters)


def test_only_families_look_alike(data):
    """The font draws some of them as the same silhouettes."""
    alike = defaultdict(list)
    for name, picture in zip(data.captions["en"], hashes(data.images), strict=True):
        alike[picture].append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    assert sorted(map(len, groups)) == [2, 2, 2, 3]
    assert all(name.startswith("family") for names in groups for name in names)


def test_every_person_exists_in_each_gender_and_tone(data):
    people = data.people[data.people[:, 0] >= 0]
    assert (data.people[data.people[:, 0] < 0] == -1).all()
    cells = Counter(map(tuple, people.tolist()))
    assert len(data.kinds) == len(set(data.kinds)) == 75
    assert cells == Counter((k, g, t) for k in range(75) for g in range(2) for t in range(6))


def test_factors_are_those_that_the_names_tell(data):
    """Told by the words, whereas the data's were read from the characters."""
    for name, (kind, gender, tone) in zip(data.captions["en"], data.people.tolist(), strict=True):
        if kind < 0:
            continue
        words = [JOINED_BY_NAME.get(word, word) for word in name.split()]
        assert [g for g in GENDERS if g in words] == [GENDERS[gender]], name
        toned = re.search(r"(\S+) skin tone", name)
        assert TONES[tone] == (toned[1] if toned else "yellow"), name
        rest = set(re.sub(r"\S+ skin tone", "", name).split()) - {"men", "women", *GENDERS}
        assert rest <= {*data.kinds[kind].split(), "merman", "mermaid"}, name


def test_korean_names_tell_the_tone(data):
    tones = {}
    for name, (kind, _, tone) in zip(data.captions["ko"], data.people.tolist(), strict=True):
        if kind >= 0:
            found = re.findall(
                r"하얀 피부|연한 갈색 피부|진한 갈색 피부|갈색 피부|검은색 피부", name
            )
            tones.setdefault(tone, set()).add(tuple(found))
    assert all(len(found) == 1 for found in tones.values())
    assert len(set(map(frozenset, tones.values()))) == len(TONES)


# --- the parts ---


def test_the_easy_part_is_of_people_whose_every_factor_was_seen_with_their_kind(parts):
    training, easy, _ = parts
    assert list(map(len, parts)) == [2219, 114, 54]
    seen = set(map(tuple, training.people.tolist()))
    for kind, gender, tone in easy.people.tolist():
        assert (kind, gender, tone) not in seen
        assert {g for k, g, _ in seen if k == kind} == {0, 1}
        assert {t for k, _, t in seen if k == kind} == set(range(6))
        assert any((other, gender, tone) in seen for other in range(75))
    assert easy.people[:, 0].unique().numel() == 75 - 9


def test_the_hard_part_is_of_kinds_that_lack_one_gender(parts):
    training, easy, hard = parts
    assert hard.people[:, 0].unique().numel() == 9
    for kind in hard.people[:, 0].unique().tolist():
        rows = [part.people[part.people[:, 0] == kind] for part in (training, easy, hard)]
        genders = [set(part_rows[:, 1].tolist()) for part_rows in rows]
        assert [len(part_rows) for part_rows in rows] == [6, 0, 6]
        assert genders[0] | genders[2] == {0, 1}
        assert genders[1] == set()
    assert hard.people[::6].shape == (9, 3)
    assert set(hard.people[:, 1].tolist()) == {0, 1}, "of both genders"


def test_no_held_out_picture_or_name_is_trained_on(data, parts):
    held = data.subset(data.held_out > 0)
    assert not set(hashes(parts[0].images)) & set(hashes(held.images))
    for name in ("en", "ko"):
        told = {text.casefold() for text in parts[0].captions[name]}
        assert not told & {text.casefold() for text in held.captions[name]}
    told = {text.casefold() for aliases in parts[0].aliases for text in aliases}
    assert not told & {text.casefold() for text in held.captions["en"]}


def test_mirrored_seventeen_held_out_people_were_seen(data, parts):
    held = data.subset(data.held_out > 0)
    mirrored, seen = (x.float().flatten(1) for x in (held.images.flip(-1), parts[0].images))
    nearest = (torch.cdist(mirrored, seen) / seen.shape[1] ** 0.5).min(1)
    twins = nearest.values < 2  # of 255, in root mean square
    assert twins.sum() == 17
    assert (nearest.values[~twins] > 5).all()
    for row in twins.nonzero()[:, 0].tolist():
        pair = {held.captions["en"][row], parts[0].captions["en"][nearest.indices[row]]}
        short, long = sorted(pair, key=len)
        assert long.replace(" facing right", "") == short


# --- how it is made ---


def test_the_script_finds_the_same_people_and_parts(data):
    """Numbered in another order, in which the characters are here."""
    script = runpy.run_path(str(SCRIPT))
    people = script["find_people"](data.characters)
    names = {c: {"en": name} for c, name in zip(data.characters, data.captions["en"], strict=True)}
    kinds = script["kind_names"](names, people)
    found = {
        character: (data.kinds.index(kind), *cell)
        for kind, cells in zip(kinds, people.values(), strict=True)
        for cell, character in cells.items()
    }
    rows = zip(data.characters, data.people.tolist(), data.held_out.tolist(), strict=True)
    for character, factors, held_out in rows:
        assert found.get(character, (-1, -1, -1)) == tuple(factors)
        assert held_out == (script["part_of"](*factors) if character in found else 0)


def test_what_the_script_writes_is_what_is_read(tmp_path, monkeypatch):
    script = runpy.run_path(str(SCRIPT))
    pictures = np.random.default_rng(0).integers(256, size=(60, 64, 64, 3), dtype=np.uint8)
    pictures = script["fewer_colours"](pictures)
    script["to_sheet"](pictures).save(tmp_path / "sheet.webp", lossless=True)
    rows = [
        {"character": chr(0x1F600 + i), "en": f"face {i}", "ko": f"얼굴 {i}"} for i in range(60)
    ]
    rows[3] |= {"aliases": ["third"], "people": (0, 1, 2), "held_out": 1}
    (tmp_path / "names.json").write_text(script["as_lines"](["face"], rows), encoding="utf-8")
    monkeypatch.setattr(module, "SHEET", tmp_path / "sheet.webp")
    monkeypatch.setattr(module, "NAMES", tmp_path / "names.json")
    monkeypatch.setattr(module, "_sheet", module._sheet.__wrapped__)
    data = cu.load_emoji(64)
    assert torch.equal(data.images, torch.from_numpy(pictures).permute(0, 3, 1, 2))
    assert data.captions["ko"][-1] == "얼굴 59"
    assert data.part("easy").characters == ("😃",)
    assert data.aliases[2:4] == ((), ("third",))
    assert data.people[2:4].tolist() == [[-1, -1, -1], [0, 1, 2]]


# --- loading, choosing, finding ---


@pytest.mark.parametrize("size", [8, 31, 32])
def test_smaller_pictures_are_the_same_ones(data, size):
    small = cu.load_emoji(size)
    assert small.images.shape == (2387, 3, size, size)
    assert small.images.is_contiguous()
    with Image.fromarray(data.images[1000].permute(1, 2, 0).numpy()) as picture:
        wanted = picture.resize((size, size), Image.Resampling.LANCZOS)
    assert np.array_equal(small.images[1000].permute(1, 2, 0), wanted)


def test_loading_is_quick_and_what_is_changed_stays_ones_own():
    first = cu.load_emoji(64)
    first.images.zero_()
    start = time.process_time()
    again = cu.load_emoji(32)
    assert time.process_time() - start < 2
    assert cu.load_emoji(64).images.float().mean() > 150
    assert again.images.float().mean() > 150


def test_loading_needs_no_package_of_emoji_and_says_nothing(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "emoji", None)  # to import it would fail
    fresh = runpy.run_path(module.__file__)
    assert len(fresh["load_emoji"](8, "offline")) == 2387
    assert capfd.readouterr() == ("", "")


def test_a_subset_takes_everything_along(data):
    chosen = [2386, 5, *(data.held_out.tolist().index(part) for part in (2, 1))]
    some = data.subset(chosen)
    mask = torch.zeros(2387, dtype=torch.bool)
    mask[[5, 2386]] = True
    assert torch.equal(some.images, data.images[chosen])
    assert torch.equal(some.people, data.people[chosen])
    assert some.held_out.tolist() == [0, 0, 2, 1]
    for name in ("en", "ko"):
        assert some.captions[name] == tuple(data.captions[name][i] for i in chosen)
    assert some.aliases == tuple(data.aliases[i] for i in chosen)
    assert some.kinds == data.kinds
    for same in (mask, mask.numpy(), mask.tolist(), np.array([5, 2386])):
        assert data.subset(same).characters == (data.characters[5], data.characters[2386])
    assert len(data.subset([])) == len(data.subset(~(mask | ~mask))) == 0
    assert data.first(3).characters == data.characters[:3]
    assert data.first(None).characters == data.characters


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("🦋", "butterfly"),
        ("Red Heart", "red heart"),
        (":red_heart:", "red heart"),
        ("❤", "red heart"),
        ("❤️", "red heart"),
        ("나비", "butterfly"),
        (
            unicodedata.normalize("NFD", "나비"),
            "butterfly",
        ),  # the same in letters, as some keyboards write it
        ("여자 소방관 갈색 피부", "woman firefighter medium skin tone"),
        ("cat", "cat"),  # also an alias of the cat's face
        ("policewoman", "woman police officer"),
    ],
)
def test_an_emoji_is_found_by_what_it_is_called(data, text, name):
    assert data.captions["en"][data.find(text)] == name


def test_every_character_and_name_finds_its_own(data):
    chosen = data.subset(range(0, 2387, 97))
    for texts in (chosen.characters, *chosen.captions.values()):
        assert [chosen.find(text) for text in texts] == list(range(len(chosen)))


def test_what_is_not_found_is_answered_with_what_is_near(data, no_shape_checks):
    with pytest.raises(ValueError, match="got 'butterflyy': near to it are 'butterfly'"):
        data.find("butterflyy")
    with pytest.raises(ValueError, match="got 'qqqqqqqqq': captions lists the names"):
        data.find("qqqqqqqqq")
    with pytest.raises(TypeError, match="text must be an emoji or a name, got 3"):
        data.find(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: cu.load_emoji(65), ValueError, "at most 64, which the file holds, got 65"),
        (lambda _: cu.load_emoji(7), ValueError, "size must be at least 8, got 7"),
        (lambda _: cu.load_emoji(32.0), TypeError, "size must be an int, got 32.0"),
        (lambda _: cu.load_emoji(8, "hub"), ValueError, "emoji come with the course, got 'hub'"),
        (lambda _: cu.load_emoji(8, "net"), ValueError, "source must be .*; got 'net'"),
        (lambda data: data.part("test"), ValueError, "training, easy, hard; got 'test'"),
        (lambda data: data.subset([2387]), ValueError, "indices from 0 to 2386, got .*2387"),
        (lambda data: data.subset([-1]), ValueError, "indices from 0 to 2386, got .*-1"),
        (lambda data: data.subset(3), ValueError, r"indices from 0 to 2386, got shape \(\)"),
        (lambda data: data.subset([True]), ValueError, r"shape \(2387,\), got \(1,\)"),
        (lambda data: data.subset([0.5]), TypeError, "indices or a mask, got torch.float32"),
        (
            lambda data: cu.EmojiData(**{**vars(data), "characters": ("a",)}),
            ValueError,
            "characters must hold one row for each of 2387, got 1",
        ),
    ],
)
def test_bad_input_is_named(data, no_shape_checks, call, error, message):
    with pytest.raises(error, match=message):
        call(data)


def test_recipes_train_on_one_part_and_are_measured_on_the_others(data):
    source = SOURCES["emoji"]
    training, held = source.load(16, None, "offline"), source.held_out(16, "offline")
    assert training.images.shape == (2219, 3, 16, 16)
    assert held.images.shape == (168, 3, 16, 16)
    assert not set(training.characters) & set(held.characters)
    assert len(source.load(16, 5, "auto")) == 5
