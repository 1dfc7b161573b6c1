"""Folders of pictures: everything people really have in them, and everything that is no picture."""

import io
import os
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from course_utils.data import decoding as module
from course_utils.data import load_image_folder
from course_utils.data.decoding import to_square

GREY_RAMP = np.linspace(0, 1, 64)[None].repeat(64, 0)  # black on the left, white on the right


def pixels(path, size=8):
    """The one picture in a folder as (size, size, 3) integers."""
    images = load_image_folder(path, size).images
    assert images.shape == (1, 3, size, size)
    return images[0].permute(1, 2, 0).int()


def colour(path):
    """The one colour of the one picture there."""
    (found,) = pixels(path).flatten(0, 1).unique(dim=0)
    return tuple(found.tolist())


def assert_is_ramp(path):
    """Dark to bright without clipping, the same in each row and channel, from about 0 to 255."""
    found = pixels(path, 16)
    assert (found - found[:1, :, :1]).abs().max() <= 2
    assert torch.allclose(found[0, :, 0].float(), torch.arange(16) * 17.0, atol=12)


# --- what a picture becomes ---


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"),
        ("a.JPEG", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "RGB"),
        ("a.PNG", "L"),
        ("a.png", "P"),
        ("a.png", "LA"),
        ("a.webp", "RGB"),
        ("a.GIF", "P"),
        ("a.bmp", "RGB"),
        ("a.tiff", "RGB"),
        ("a.tif", "CMYK"),
        ("a.TIF", "YCbCr"),
        ("a.tif", "LAB"),
    ],
)
def test_every_format_and_mode(tmp_path, name, mode):
    ramp = Image.fromarray((GREY_RAMP * 255).astype(np.uint8))
    (ramp if mode == "P" else ramp.convert("RGB")).convert(mode).save(tmp_path / name)
    assert_is_ramp(tmp_path)


def test_one_bit(tmp_path):
    Image.fromarray(GREY_RAMP > 0.5).save(tmp_path / "a.png")
    assert pixels(tmp_path, 64)[0, :, 1].tolist() == [0] * 32 + [255] * 32


@pytest.mark.parametrize(
    ("name", "top", "dtype"),
    [
        ("a.png", 65535, "uint16"),
        ("a.tif", 65535, "uint16"),
        ("a.tif", 65535, ">u2"),
        ("a.tif", 65535, "int32"),
        ("a.tif", 255, "int32"),
        ("a.tif", 65535, "float32"),
        ("a.tif", 255, "float32"),
        ("a.tif", 1, "float32"),
    ],
)
def test_many_bits_are_scaled_not_clipped(tmp_path, name, top, dtype):
    Image.fromarray((GREY_RAMP * top).astype(dtype)).save(tmp_path / name)
    assert_is_ramp(tmp_path)


def test_a_dark_16_bit_picture_stays_dark(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / "a.png")
    assert colour(tmp_path) == (1, 1, 1)


def test_float_pixels_that_are_no_numbers_are_black(tmp_path):
    ramp = GREY_RAMP.astype(np.float32)
    ramp[0, 60:] = np.nan, np.inf, -np.inf, np.nan
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    found = pixels(tmp_path, 64)[..., 0]
    assert found[0, 60:].max() == 0
    assert found[1, 63] == 255


def clear(name, mode, **options):
    """Saves a wholly transparent picture that would be red or black otherwise."""

    def save(path):
        if mode in ("RGBA", "LA"):
            picture = Image.new("RGBA", (9, 9), (255, 0, 0, 0)).convert(mode)
        else:
            picture = Image.new(mode, (9, 9), 0)
        picture.save(path / name, **options)

    return pytest.param(save, id=f"{mode} {name} {options}")


@pytest.mark.parametrize(
    "save",
    [
        clear("a.png", "RGBA"),
        clear("a.webp", "RGBA", lossless=True, exact=True),
        clear("a.tif", "RGBA"),
        clear("a.png", "LA"),
        clear("a.png", "P", transparency=0),
        clear("a.png", "P", transparency=bytes([0, 255])),
        clear("a.gif", "P", transparency=0),
        clear("a.png", "L", transparency=0),
        clear("a.png", "1", transparency=0),
        clear("a.png", "RGB", transparency=(0, 0, 0)),
    ],
)
def test_transparent_is_white(tmp_path, save):
    save(tmp_path)
    assert colour(tmp_path) == (255, 255, 255)


def test_half_transparent_is_half_white(tmp_path):
    Image.new("RGBA", (9, 9), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert colour(tmp_path) == (255, 127, 127)


def test_a_palette_with_alpha():
    picture = Image.new("RGBA", (9, 9), (255, 0, 0, 0)).convert("PA")
    assert (to_square(picture, 8) == 255).all()


def quarters():
    """Red, green, blue and white, clockwise from the top left, in a tall picture."""
    picture = Image.new("RGB", (32, 48))
    for box, name in (((0, 0), "red"), ((16, 0), "lime"), ((16, 24), "blue"), ((0, 24), "white")):
        picture.paste(name, (*box, box[0] + 16, box[1] + 24))
    return picture


UNDO = {  # EXIF orientation: how the camera must have stored an upright scene
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", UNDO)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation(tmp_path, orientation, name):
    exif, undo = Image.Exif(), UNDO[orientation]
    exif[0x0112] = orientation
    stored = quarters().transpose(undo) if undo is not None else quarters()
    stored.save(tmp_path / name, exif=exif)
    found = pixels(tmp_path, 16)[[4, 4, 12, 12], [4, 12, 12, 4]]
    wanted = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    assert (found - wanted).abs().max() < 25


def orientation_beside(tag):
    """An EXIF block in which orientation 6 stands beside a tag that PIL cannot write back."""
    upright = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    directory = struct.pack(">H", 2) + struct.pack(">HHII", tag, 5, 1, 38) + upright + bytes(4)
    return b"Exif\0\0MM\0\x2a" + struct.pack(">I", 8) + directory + struct.pack(">II", 3, 2)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x09\x01", b""])
def test_broken_exif_does_not_spoil_the_picture(tmp_path, exif, capfd):
    Image.new("RGB", (9, 9), "white").save(tmp_path / "a.jpg", exif=exif)
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        assert colour(tmp_path) == (255, 255, 255)
    assert noise == []
    assert capfd.readouterr() == ("", "")


def test_orientation_counts_though_another_tag_is_broken(tmp_path):
    stored = quarters().transpose(UNDO[6])
    stored.save(tmp_path / "a.jpg", exif=orientation_beside(0x010A))
    assert pixels(tmp_path, 16)[4, 4].tolist() == pytest.approx([255, 0, 0], abs=25)


@pytest.mark.parametrize("shape", [(90, 30), (30, 90), (91, 30), (3000, 31), (31, 3000)])
def test_the_central_square_is_kept(tmp_path, shape):
    picture = Image.new("RGB", shape, "blue")
    (w, h), side = shape, min(shape)
    left, top = (w - side) // 2, (h - side) // 2
    picture.paste("red", (left, top, left + side, top + side))
    picture.save(tmp_path / "a.png")
    assert colour(tmp_path) == (255, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif"])
def test_tiny_pictures(tmp_path, shape, name):
    Image.new("RGB", shape, "white").save(tmp_path / name)
    assert colour(tmp_path) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_shrinking_averages(tmp_path, name):
    """A board of single black and white pixels is grey from afar, not a pattern."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / name, **({"quality": 100} if name == "a.jpg" else {}))
    assert (pixels(tmp_path) - 127).abs().max() <= 3


def test_big_jpegs_are_decoded_small_and_look_the_same():
    red, green = np.mgrid[0:2000, 0:3000] // 12
    picture = Image.fromarray(np.stack([red, green, red // 2], -1).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    opened = Image.open(file)
    small = to_square(opened, 32)
    assert opened.width <= 3000 // 8 + 1
    assert (small.int() - to_square(picture, 32).int()).abs().max() <= 4


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_counts(tmp_path, name):
    first, *others = (Image.new("RGB", (9, 9), c) for c in ("white", "black", "red"))
    first.save(tmp_path / name, save_all=True, append_images=others)
    assert colour(tmp_path) == (255, 255, 255)


@pytest.mark.parametrize("name", ["photo", "photo.txt", "photo.png"])
def test_the_content_counts_not_the_name(tmp_path, name):
    Image.new("RGB", (9, 9), "white").save(tmp_path / name, "JPEG")
    assert colour(tmp_path) == (255, 255, 255)


# --- what is skipped ---


def png(width, height, *, body=b""):
    """A PNG that claims this size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind, size=(40, 40), **options):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


BROKEN = {
    "empty.jpg": b"",
    "text.txt": b"hello",
    "text.jpg": b"hello",
    "page.pdf": b"%PDF-1.4",
    "drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "cut.png": saved("PNG")[:2000],
    "cut.jpg": saved("JPEG")[:900],
    "cut.gif": saved("GIF")[:1000],
    "cut.bmp": saved("BMP")[:1000],
    "cut.webp": saved("WEBP")[:300],
    "cut.tif": saved("TIFF")[:100],
    "head.png": saved("PNG")[:20],
    "crooked.png": saved("PNG").replace(b"IDAT", b"IDAX"),
    "nothing.png": png(0, 5),
    "hollow.png": png(5, 5),
    "bomb.png": png(50_000, 50_000),
    "large.png": png(10_000, 10_000, body=bytes(10_000 * 30_001)),  # 100 MP, all there
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_skipped_with_one_line(tmp_path, name, capfd):
    (tmp_path / name).write_bytes(BROKEN[name])
    Image.new("RGB", (9, 9), "white").save(tmp_path / "good.png")
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert colour(tmp_path) == (255, 255, 255)
    assert time.perf_counter() - start < 2
    out, err = capfd.readouterr()
    assert out == f"Skipped 1 of 2 files, not usable pictures: {name}\n"
    assert err == ""


def test_postscript_is_not_run(tmp_path, monkeypatch):
    """PIL would hand it to Ghostscript, where that is installed."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: Image.new("RGB", (9, 9)).im)
    (tmp_path / "drawing.eps").write_bytes(BROKEN["drawing.eps"])
    assert Image.open(tmp_path / "drawing.eps").convert("RGB").size == (9, 9)
    with pytest.raises(ValueError, match=r"only 1 files \(1 .eps\)"):
        load_image_folder(tmp_path, 8)


def test_the_line_names_a_few_and_counts_the_rest(tmp_path, capfd):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    (tmp_path / "sub").mkdir()
    for i in range(15):
        (tmp_path / "sub" / f"{i:02}.jpg").write_bytes(b"broken")
    load_image_folder(tmp_path, 8)
    names = "sub/00.jpg, sub/01.jpg, sub/02.jpg and 12 more"
    assert capfd.readouterr().out == f"Skipped 15 of 16 files, not usable pictures: {names}\n"


def test_hidden_files_are_ignored_without_a_word(tmp_path, capfd):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    for hidden in (".DS_Store", "._good.png", "Thumbs.db", "desktop.ini", ".git/a.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(saved("PNG"))
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "good.png").write_bytes(saved("PNG"))
    data = load_image_folder(tmp_path, 8)
    assert (len(data), data.labels) == (1, None)
    assert capfd.readouterr() == ("", "")


def test_pipes_and_dead_links_do_not_hang(tmp_path, capfd):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dead.jpg").symlink_to("nowhere.jpg")
    assert len(load_image_folder(tmp_path, 8)) == 1
    assert "2 of 3 files, not usable pictures: dead.jpg, pipe.jpg" in capfd.readouterr().out


def test_link_loops_end_and_linked_folders_count(tmp_path):
    root, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for path in (root / "cats", elsewhere / "deep"):
        path.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(path / "a.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "outside.png")
    (root / "dogs").symlink_to(elsewhere)
    (root / "up").symlink_to("..")
    (root / "cats" / "self").symlink_to(".")
    (root / "cats" / "top").symlink_to(root)
    (elsewhere / "deep" / "back").symlink_to(elsewhere)
    data = load_image_folder(root, 8)
    assert data.classes == ("cats", "dogs")
    assert data.labels.tolist() == [0, 1]


# --- labels, order, many pictures ---


def fill(root, names):
    """One picture for each name, the i-th all of grey i."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), i).save(root / name)


def test_subfolders_are_classes(tmp_path):
    fill(tmp_path, ["dog/2.png", "cat/b/deep/9.png", "dog/1.png", "cat/z.png", "Ant/x.png"])
    (tmp_path / "empty").mkdir()
    data = load_image_folder(tmp_path, 8)
    assert data.classes == ("Ant", "cat", "dog")
    assert data.labels.dtype == torch.int64
    assert data.labels.tolist() == [0, 1, 1, 2, 2]
    assert data.images[:, 0, 0, 0].tolist() == [4, 3, 1, 2, 0], "not in sorted order"
    assert data.source == str(tmp_path)


@pytest.mark.parametrize("names", [["b.png", "a.png"], ["b.png", "sub/a.png"]])
def test_pictures_outside_of_subfolders_have_no_class(tmp_path, names):
    fill(tmp_path, names)
    data = load_image_folder(str(tmp_path), 8)
    assert (len(data), data.labels, data.classes) == (2, None, ())


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path, ["mine/a.png"])
    assert len(load_image_folder("~/mine", 8)) == 1


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """420 pictures of all sizes, modes and formats in three folders, and broken files."""
    root, rng = tmp_path_factory.mktemp("zoo"), np.random.default_rng(0)
    forms = [
        *((mode, "png", {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *((mode, "jpg", {}) for mode in ("RGB", "L", "CMYK")),
        *((mode, "tif", {}) for mode in ("RGB", "CMYK", "I;16", "F")),
        ("RGB", "bmp", {}),
        ("P", "GIF", {}),
        ("RGBA", "webp", {"method": 0}),
    ]
    for i in range(420):
        mode, ending, options = forms[i % len(forms)]
        h, w = (int(n) for n in 2 ** rng.uniform(0, 9, 2))
        file = root / "abc"[i % 3] / f"{i}.{ending}"
        file.parent.mkdir(exist_ok=True)
        noise = rng.integers(256, size=(h, w, 3), dtype=np.uint8)
        grey = noise[..., 0].astype(np.uint16 if mode == "I;16" else np.float32)
        picture = Image.fromarray(grey if mode in ("I;16", "F") else noise)
        (picture if mode in ("I;16", "F") else picture.convert(mode)).save(file, **options)
    for name, content in BROKEN.items():
        (root / "b" / name).write_bytes(content)
    return root


def test_several_hundred_pictures_load_in_seconds(zoo, capfd):
    handles = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    start = time.perf_counter()
    data = load_image_folder(zoo, 32)
    assert time.perf_counter() - start < 10
    assert data.images.shape == (420, 3, 32, 32)
    assert data.images.dtype == torch.uint8
    assert data.images.is_contiguous()
    assert data.labels.bincount().tolist() == [140] * 3
    if handles:
        assert len(os.listdir("/proc/self/fd")) == handles
    out, err = capfd.readouterr()
    more = len(BROKEN) - 3
    assert out.startswith(f"Skipped {len(BROKEN)} of {420 + len(BROKEN)} files")
    assert out.endswith(f"and {more} more\n")
    assert (out.count("\n"), err) == (1, "")


def test_the_same_folder_gives_the_same_data(zoo):
    first, second = load_image_folder(zoo, 8), load_image_folder(zoo, 8)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)


def test_a_bar_shows_where_somebody_watches_and_there_is_much(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(module, "is_headless", lambda: False)
    fill(tmp_path, [f"{i}.png" for i in range(99)])
    load_image_folder(tmp_path, 8)
    assert capfd.readouterr() == ("", "")
    fill(tmp_path, ["99.png"])
    load_image_folder(tmp_path, 8)
    assert "Reading pictures" in capfd.readouterr().err


# --- bad input ---


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    for name in ("a.txt", "b.TXT", "c.heic", "plain"):
        (tmp_path / name).write_bytes(b"no picture")
    found = r"only 4 files \(2 .txt, 1 .heic, 1 without suffix\): put JPEG, PNG, .* convert others"
    with pytest.raises(ValueError, match=found):
        load_image_folder(tmp_path, 8)


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no usable picture, only 0 files: put JPEG"):
        load_image_folder(tmp_path, 8)


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path '.*nowhere' does not exist: looked from"):
        load_image_folder(tmp_path / "nowhere", 8)
    with pytest.raises(FileNotFoundError, match="path '' does not exist"):
        load_image_folder("", 8)


def test_a_file_in_place_of_a_folder(tmp_path):
    fill(tmp_path, ["a.png"])
    with pytest.raises(NotADirectoryError, match=r"a\.png' is a file: pass the folder that holds"):
        load_image_folder(tmp_path / "a.png", 8)


@pytest.mark.parametrize(
    ("path", "size", "error", "message"),
    [
        (".", 7, ValueError, "size must be from 8 to 1024, got 7"),
        (".", 1025, ValueError, "size must be from 8 to 1024, got 1025"),
        (".", 32.0, TypeError, "size must be an int, got 32.0"),
        (".", True, TypeError, "size must be an int, got True"),
        (".", (32, 32), TypeError, r"size must be an int, got \(32, 32\)"),
        (None, 32, TypeError, "path must be the name of a folder, got None"),
        (b".", 32, TypeError, "path must be the name of a folder, got b'.'"),
    ],
)
def test_bad_arguments(no_shape_checks, path, size, error, message):
    with pytest.raises(error, match=message):
        load_image_folder(path, size)
