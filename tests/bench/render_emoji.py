"""Makes the emoji that ship, `python tests/bench/render_emoji.py [FONT] [--folder FOLDER]`.

FONT is Noto Color Emoji (Debian's package fonts-noto-color-emoji, version 2.042) or any other; the
names come from the package `emoji`, and joined characters need Pillow with Raqm. Writes a sheet of
pictures, emoji.webp, and what is known of each, emoji.json, a line an emoji.
"""

import argparse
import json
from pathlib import Path

import emoji
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from course_utils.data.emoji import COLUMNS, GENDERS, NAMES, PIXELS, TONES

NOTO = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
POINTS, CANVAS = 109, 136  # the only size of Noto's pictures, and their width in pixels
LEVELS = 64  # of each channel: a quarter of the colours is a third of the file
JOINER, VARIATION = "\u200d", "\ufe0f"
SIGNS, PERSONS = "♂♀", "👨👩"  # in the order of GENDERS
MODIFIERS = dict(zip("🏻🏼🏽🏾🏿", range(1, len(TONES)), strict=True))
REGIONS, TAGS = range(0x1F1E6, 0x1F200), range(0xE0000, 0xE0080)  # what flags are written in


def is_flag(character: str) -> bool:
    """Whether it is the flag of a country or region."""
    return any(ord(c) in REGIONS or ord(c) in TAGS for c in character)


def known_to(font: ImageFont.FreeTypeFont) -> dict[str, dict]:
    """The complete emoji, without flags, that the font draws as one picture, and their names."""
    emoji.config.load_language("ko")
    width, complete = font.getlength("😀"), emoji.STATUS["fully_qualified"]
    return {
        character: names
        for character, names in emoji.EMOJI_DATA.items()
        if names["status"] == complete
        and not is_flag(character)
        and abs(font.getlength(character) - width) < 2
    }


def factors(character: str) -> tuple[str, int | None, tuple[int, ...]]:
    """An emoji without gender and skin tone, its gender if it has one, its tones."""
    tones = tuple(MODIFIERS[c] for c in character if c in MODIFIERS)
    plain = "".join(c for c in character if c not in MODIFIERS and c != VARIATION)
    for gender in range(len(GENDERS)):
        if plain.endswith(JOINER + SIGNS[gender]):
            return plain[:-2], gender, tones
        if plain.startswith(PERSONS[gender] + JOINER):
            return plain[1:], gender, tones
    return plain, None, tones


def find_people(characters) -> dict[str, dict[tuple[int, int], str]]:
    """The kinds that exist in every gender and tone: a character for each (gender, tone)."""
    kinds: dict[str, dict] = {}
    for character in characters:
        kind, gender, tones = factors(character)
        cells = kinds.setdefault(kind, {})
        if len(tones) <= 1:
            cells[gender, sum(tones)] = character
    whole = [(gender, tone) for gender in range(len(GENDERS)) for tone in range(len(TONES))]
    return {
        kind: {cell: cells[cell] for cell in whole}
        for kind, cells in kinds.items()
        if all(cell in cells for cell in whole)
    }


def part_of(kind: int, gender: int, tone: int) -> int:
    """0 for the training part; 2 for one gender of every eighth kind; 1 for one or two cells of
    each other kind, along diagonals, so that every gender and tone of it stays in training."""
    if kind % 8 == 3:
        return 2 if gender == kind // 8 % 2 else 0
    return int((len(TONES) * gender + tone + 3 * kind) % 7 == 0)


def describe(names: dict[str, dict], people: dict) -> list[dict]:
    """What is known of each: first all without a skin tone, then people by kind and gender."""
    of_people = {
        character: (number, gender, tone)
        for number, cells in enumerate(people.values())
        for (gender, tone), character in cells.items()
    }
    toneless = [character for character in names if not set(character) & set(MODIFIERS)]
    rows = []
    for character in dict.fromkeys([*toneless, *of_people]):
        row = {"character": character} | {k: plain(names[character][k]) for k in ("en", "ko")}
        if names[character].get("alias"):
            row["aliases"] = [plain(alias) for alias in names[character]["alias"]]
        if character in of_people:
            row["people"] = of_people[character]
            row["held_out"] = part_of(*of_people[character])
        rows.append(row)
    return rows


def plain(name: str) -> str:
    """A name as the package spells it, `:red_heart:`, in words."""
    return name.strip(":").replace("_", " ")


def kind_names(names: dict[str, dict], people: dict) -> list[str]:
    """Of each kind, the English name of the emoji without a gender."""
    neutral = {character.replace(VARIATION, ""): names[character]["en"] for character in names}
    return [plain(neutral["🧑" + k if k.startswith(JOINER) else k]) for k in people]


def render(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """One picture on white, uint8 (64, 64, 3)."""
    canvas = Image.new("RGBA", (CANVAS, CANVAS), "white")
    middle = (CANVAS / 2, CANVAS / 2)
    pen = ImageDraw.Draw(canvas)
    pen.text(middle, character, "black", font, embedded_color=True, anchor="mm")
    small = canvas.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(small)


def fewer_colours(pictures: np.ndarray) -> np.ndarray:
    """Each channel rounded to one of 64 levels, uint8."""
    steps = np.round(pictures / 255 * (LEVELS - 1))
    return np.round(steps * 255 / (LEVELS - 1)).astype(np.uint8)


def to_sheet(pictures: np.ndarray) -> Image.Image:
    """All pictures in rows of 49, the rest of the last row white."""
    rows = -(-len(pictures) // COLUMNS)
    cells = np.full((rows * COLUMNS, PIXELS, PIXELS, 3), 255, np.uint8)
    cells[: len(pictures)] = pictures
    cells = cells.reshape(rows, COLUMNS, PIXELS, PIXELS, 3).swapaxes(1, 2)
    return Image.fromarray(cells.reshape(rows * PIXELS, COLUMNS * PIXELS, 3))


def as_lines(kinds: list[str], rows: list[dict]) -> str:
    """JSON, a line an emoji."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"kinds": {json.dumps(kinds)},\n"emoji": [\n{lines}\n]}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", nargs="?", default=NOTO)
    parser.add_argument("--folder", type=Path, default=NAMES.parent)
    args = parser.parse_args()
    if not features.check("raqm"):
        print("without Raqm joined characters, such as most people, are left out")
    font = ImageFont.truetype(args.font, POINTS, layout_engine=ImageFont.Layout.RAQM)
    names = known_to(font)
    people = find_people(names)
    rows = describe(names, people)
    pictures = np.stack([render(row["character"], font) for row in rows])
    drawn = pictures.min((1, 2, 3)) < 250  # what the font lacks is blank
    rows = [row for row, there in zip(rows, drawn, strict=True) if there]
    args.folder.mkdir(parents=True, exist_ok=True)
    sheet = to_sheet(fewer_colours(pictures[drawn]))
    sheet.save(args.folder / "emoji.webp", lossless=True, quality=100, method=6)
    text = as_lines(kind_names(names, people), rows)
    (args.folder / "emoji.json").write_text(text, encoding="utf-8")
    size = (args.folder / "emoji.webp").stat().st_size / 1e6
    print(f"{len(rows):,} emoji, {len(people)} kinds of people, {size:.1f} MB")


if __name__ == "__main__":
    main()
