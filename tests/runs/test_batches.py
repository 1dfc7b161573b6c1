"""Pictures of a run: a function of seed and step, guarded, with their classes; in memory or not."""

import io
from dataclasses import replace

import datasets
import pytest
import torch
from PIL import Image

from course_utils import ImageData, draw_butterflies, to_pil
from course_utils.data.rows import Rows
from course_utils.recipes import load_recipe
from course_utils.runs import batches
from course_utils.runs.batches import InMemory

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def open_pictures(recipe, *place):
    """For the recipe's own network."""
    return batches.open_pictures(recipe, recipe.model.num_classes, *place)


def png(number):
    """A picture of one colour, its number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, number, number)).save(file, "PNG")
    return file.getvalue()


def bomb():
    """A picture that claims 200,000 x 200,000 pixels in some bytes."""
    content = bytearray(png(0))
    content[16:24] = (200_000).to_bytes(4, "big") * 2
    return bytes(content)


def postscript():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    return file.getvalue()


BAD = {"bomb": bomb(), "eps": postscript(), "broken": png(1)[:50], "text": b"no picture"}


@pytest.fixture
def hub(monkeypatch):
    """Makes `datasets.load_dataset` give these cells, as a table or as a stream."""

    def serve(cells, labels=None, names=None):
        def load(repo, split, streaming):
            columns = {"image": [{"bytes": cell, "path": None} for cell in cells]}
            kinds = {"image": datasets.Image(decode=False)}
            if labels is not None:
                columns["label"] = labels
                kinds["label"] = (
                    datasets.ClassLabel(names=names) if names else datasets.Value("int64")
                )
            rows = datasets.Dataset.from_dict(columns, datasets.Features(kinds))
            return rows.to_iterable_dataset() if streaming else rows

        monkeypatch.setattr(datasets, "load_dataset", load)

    return serve


def recipe(source="hub", path="me/moths", num_classes=None, batch_size=4, **data):
    made = load_recipe("hub-64")
    data = replace(made.data, source=source, path=str(path), size=8, **data)
    training = replace(made.training, batch_size=batch_size)
    model = replace(made.model, num_classes=num_classes)
    return replace(made, data=data, training=training, model=model)


def numbers(images):
    """Which pictures these are."""
    return images[:, 0, 0, 0].tolist()


def seen(pictures, num_steps, batch_size=4, first=0):
    batches = [
        pictures.batch(step, torch.arange(batch_size))[0] for step in range(num_steps)[first:]
    ]
    return numbers(torch.cat(batches))


# --- guards


@pytest.mark.parametrize("streaming", [False, True], ids=["memory", "stream"])
@pytest.mark.parametrize("bad", BAD)
def test_a_strangers_picture_that_is_not_usable_is_passed_by(hub, bad, streaming, capsys):
    hub([png(1), BAD[bad], png(2), png(3)])
    pictures = open_pictures(recipe(streaming=streaming), 0, 4, 0, 1)
    assert set(seen(pictures, 4)) == {1, 2, 3}
    assert pictures.num_pictures == len(pictures.some()) == 3
    assert streaming or "Skipped 1 of 4 rows, not usable pictures" in capsys.readouterr().out


def test_a_path_in_a_strangers_table_opens_no_file_of_this_machine(hub, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(7))
    hub([png(1)])
    rows = Rows("me/moths", 8)
    assert rows.picture({"image": {"bytes": None, "path": str(secret)}}) is None
    assert rows.picture({"image": None}) is None
    assert rows.skipped == 2


def test_only_the_columns_that_are_needed_are_read(hub):
    hub([png(1)], labels=[0])
    assert Rows("me/moths", 8).rows.column_names == ["image"]
    assert Rows("me/moths", 8, label_column="label").rows.column_names == ["image", "label"]


def test_a_dataset_without_a_usable_picture_says_so(hub):
    hub([BAD["text"]])
    with pytest.raises(ValueError, match="'me/moths' has no usable picture"):
        open_pictures(recipe(), 0, 4, 0, 1)
    with pytest.raises(ValueError, match="'me/moths' has no picture for this process"):
        open_pictures(recipe(streaming=True), 0, 4, 0, 1).batch(0, torch.arange(4))


def test_a_missing_column_is_named_with_those_there_are(hub):
    hub([png(1)])
    with pytest.raises(ValueError, match=r"has the columns image, not 'photo': set data\.column"):
        open_pictures(recipe(column="photo"), 0, 4, 0, 1)


# --- how many


@pytest.mark.parametrize("streaming", [False, True], ids=["memory", "stream"])
def test_num_images_takes_the_first_rows(hub, streaming):
    hub([png(number) for number in range(20)])
    pictures = open_pictures(recipe(num_images=6, streaming=streaming), 0, 4, 0, 1)
    assert sorted(seen(pictures, 3)) == sorted([*range(6)] * 2)
    assert pictures.num_pictures == 6


def test_a_stream_that_is_too_long_to_count_says_that_it_was_not_counted(hub, monkeypatch):
    monkeypatch.setattr("course_utils.runs.batches.SOME", 5)
    hub([png(number) for number in range(20)])
    pictures = open_pictures(recipe(streaming=True), 0, 4, 0, 1)
    assert len(pictures.some()) == 5
    assert pictures.num_pictures is None


# --- a function of seed and step


@pytest.mark.parametrize("streaming", [False, True], ids=["memory", "stream"])
@pytest.mark.parametrize("source", ["hub", "folder"])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(hub, source, streaming, tmp_path):
    hub([png(number) for number in range(10)] + [BAD["text"]])
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    made = recipe(source, tmp_path if source == "folder" else "me/moths", streaming=streaming)
    whole = seen(open_pictures(made, 3, 4, 0, 1), 6)
    assert seen(open_pictures(made, 3, 4, 0, 1), 6, first=4) == whole[16:]
    assert seen(open_pictures(made, 4, 4, 0, 1), 6) != whole
    for epoch in (whole[:10], whole[10:20]):
        assert sorted(epoch) == [*range(10)]
    assert whole[:10] != whole[10:20]


def test_the_processes_share_a_stream(hub):
    hub([png(number) for number in range(12)])
    made = recipe(streaming=True)
    shares = [seen(open_pictures(made, 0, 2, rank, 2), 3, 2) for rank in range(2)]
    assert sorted([*shares[0], *shares[1]]) == [*range(12)]


def test_a_folder_on_disk_gives_the_pictures_of_the_folder_in_memory(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    made = recipe("folder", tmp_path)
    stream = replace(made, data=replace(made.data, streaming=True))
    memory, disk = (open_pictures(each, 5, 4, 0, 1) for each in (made, stream))
    assert seen(memory, 7) == seen(disk, 7)


def test_in_place_of_a_broken_file_stands_the_next_one(tmp_path, capsys):
    for number in (1, 2, 4):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    (tmp_path / "3.png").write_bytes(b"no picture")
    pictures = open_pictures(recipe("folder", tmp_path, streaming=True), 0, 4, 0, 1)
    assert sorted(seen(pictures, 2)) == sorted([1, 2, 4, 4] * 2)
    assert capsys.readouterr().out.count("Skipped 3.png: not a usable picture") == 1


def test_a_folder_without_pictures_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no picture"):
        open_pictures(recipe("folder", tmp_path, streaming=True), 0, 4, 0, 1)
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match="holds no usable picture"):
        open_pictures(recipe("folder", tmp_path, streaming=True), 0, 4, 0, 1)


# --- classes


@pytest.mark.parametrize("streaming", [False, True], ids=["memory", "stream"])
@pytest.mark.parametrize("names", [["ant", "bee"], None], ids=["named", "numbers"])
def test_each_picture_keeps_its_class(hub, streaming, names):
    hub([png(number) for number in range(8)], [n % 2 for n in range(8)], names)
    pictures = open_pictures(recipe(num_classes=2, streaming=streaming), 0, 4, 0, 1)
    assert pictures.classes == (("ant", "bee") if names else ("0", "1"))
    for step in range(4):
        images, labels = pictures.batch(step, torch.arange(4))
        assert labels.tolist() == [number % 2 for number in numbers(images)]
    assert pictures.some().labels.tolist() == [n % 2 for n in numbers(pictures.some().images)]


@pytest.mark.parametrize("streaming", [False, True], ids=["memory", "stream"])
def test_classes_that_are_not_there_are_asked_for_by_name(hub, streaming):
    hub([png(1)])
    with pytest.raises(ValueError, match=r"not 'label': set data\.column and data\.label_column"):
        open_pictures(recipe(num_classes=2, streaming=streaming), 0, 4, 0, 1)


def test_another_number_of_classes_is_refused(hub):
    hub([png(1), png(2)], [0, 1], ["ant", "bee"])
    with pytest.raises(ValueError, match=r"num_classes is 3, and the pictures have 2 classes"):
        open_pictures(recipe(num_classes=3), 0, 4, 0, 1)


def test_labels_are_part_of_what_a_run_begins_with_only_if_it_is_told_them():
    images, labels = draw_butterflies(12, 16)
    data = ImageData(images, labels, tuple("abcdefghijkl"), "offline")
    other = replace(data, labels=labels.roll(1))
    plain = [InMemory(each, 4, 0).fingerprint for each in (data, other)]
    told = [InMemory(each, 4, 0, labelled=True).fingerprint for each in (data, other)]
    assert plain[0] == plain[1]
    assert told[0] != told[1]
    assert InMemory(data, 4, 0).batch(0, torch.arange(4))[1] is None


def test_the_subfolders_of_a_folder_are_classes_on_disk_too(tmp_path):
    for number, image in enumerate(draw_butterflies(6, 16)[0]):
        folder = tmp_path / ("ant", "bee")[number % 2]
        folder.mkdir(exist_ok=True)
        to_pil(image).save(folder / f"{number}.png")
    made = recipe("folder", tmp_path, num_classes=2)
    stream = replace(made, data=replace(made.data, streaming=True))
    memory, disk = (open_pictures(each, 0, 4, 0, 1) for each in (made, stream))
    assert memory.classes == disk.classes == ("ant", "bee")
    for step in range(3):
        ours, theirs = (each.batch(step, torch.arange(4)) for each in (memory, disk))
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
