"""The model card of the Stable Diffusion that ships, for `train_stable_diffusion.py card`."""

import json
from pathlib import Path

import pandas
from safetensors.torch import load_file

from course_utils import load_emoji

CARD = """\
---
library_name: diffusers
pipeline_tag: text-to-image
license: apache-2.0
language:
- en
- ko
tags:
- diffusers
- stable-diffusion
- emoji
---

# A small Stable Diffusion that draws emoji

From a name in English or Korean it draws an emoji, 64 x 64 pixels on white. Its parts are those of
Stable Diffusion, of the same classes, and small enough to be trained on two cores of a CPU. It is
made for learning how such a model works, and for nothing that matters.

## Draw with it

In the folder that holds this one, with diffusers and transformers alone:

```python
{code}
```

A guidance scale of 3 and 12 steps are a good start. In a clone of the course, the command draws
with these settings:

```
python -m course_utils.cli sample --model emoji-stable-diffusion --prompt "red heart" --output 1.png
```

## Its parts

| Part | What it is | Parameters |
|---|---|---|
{parts}

The autoencoder makes 8 x 8 x 8 numbers of a picture. The text encoder was trained first, with a
tower that sees pictures, as a mini-CLIP; then the UNet was told its last hidden states, and in one
case of ten those of an empty text. `tests/bench/train_stable_diffusion.py` of the course trains
each part.

## Data and licence

It was trained on {training:,} emoji of Noto Color Emoji 2.042 (Copyright 2022 Google Inc., Apache
License 2.0), with their English and Korean names from Unicode's CLDR and further English names from
the package `emoji`. {held} people, one or two of a kind or all of a kind and gender, were held out
from the training of every part; the tokenizer counted their names, and the autoencoder, which also
saw mirror images, those of 17 of them, since "… facing right" is the mirror image of the same
without. `course_utils/data/emoji.LICENSE.md` has the sources and their licences in full.
{measured}
## What it cannot do

- **It knows its emoji by heart.** With so few pictures it learns each drawing, and what no emoji
  shows it cannot draw. There is no green cat in its data and no heart above a circle: what such a
  prompt draws is some emoji, a mixture of several, or a blur.
- **It composes where the data do.** Kind, gender and skin tone of people vary independently of each
  other, hardly anything else does. A new combination of these three may succeed where any other
  fails.
- It has only ever read names, and reads 22 tokens at most. What sentences add, "not" or "above", it
  had no chance to learn.
- It draws 64 x 64 pixels, and its autoencoder loses some of the detail.
- There is no safety checker.

## What emoji carry

Whoever draws people with it draws what a standard and one company's artists decided.

- People are yellow unless a tone is named, as if yellow were nobody's colour, and the other tones
  are five steps of one scale.
- The people here whose gender and tone vary are men or women; who is neither is drawn without a
  gender's name, in one artist's idea of how that looks.
- Somebody chose which professions exist, and what tells them. There is a judge, a pilot and an
  office worker, but no cleaner.
- Foods, clothes, buildings, festivals and faiths are those that were proposed and accepted; what is
  missing is not in it either. Flags of countries and regions were left out.
- The Korean names follow the English ones, and some read oddly.
"""
CODE = """\
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("{name}")
image = pipeline("red heart", guidance_scale=3.0, num_inference_steps=12).images[0]
image.resize((256, 256)).save("heart.png")"""
WHAT = {
    "tokenizer": "`CLIPTokenizer`, {tokens:,} tokens of pairs of bytes, so it reads any language",
    "text_encoder": "`CLIPTextModel`, 2 layers, width 128, 24 places",
    "unet": "`UNet2DConditionModel`, widths 96 and 128, reads words at 8 x 8 and in the middle",
    "vae": "`AutoencoderKL`, 64 x 64 x 3 to 8 x 8 x 8 and back",
    "scheduler": "`DDIMScheduler`, cosine schedule, velocity, trailing steps",
}
MEASURED = """
## What it was measured to do

Shares of pictures whose nearest emoji, by their pixels, is the one asked for; guidance 3, \
{steps} steps, the mean over seed {seeds}. The last two columns are what true pictures get that \
went through the autoencoder, and what chance would.

| Asked for | English | Korean | Ceiling | Chance |
|---|---|---|---|---|
{rows}

Of people the nearest one must be right in kind, gender and tone. The autoencoder, the UNet and the
text encoder have never seen these people themselves.
"""
ROWS = (  # part, number, what it is
    ("remembered", "nearest", "{n} emoji that it has learned, the nearest"),
    ("remembered", "among_five", "the same, among the five nearest"),
    ("easy", "all", "{n} people, of a kind of which few were held out"),
    ("hard", "all", "{n} people, of a kind of which one gender was held out"),
)


def write_card(folder: Path, results: Path) -> Path:
    """Write `folder/README.md`, with the numbers of `results` where that file is."""
    emoji = load_emoji(32)
    held = int((emoji.held_out > 0).sum())
    text = CARD.format(
        code=CODE.format(name=folder.name),
        parts="\n".join(part_rows(folder)),
        training=len(emoji) - held,
        held=held,
        measured=measured(results) if results.is_file() else "",
    )
    card = folder / "README.md"
    card.write_text(text, encoding="utf-8")
    return card


def part_rows(folder: Path) -> list[str]:
    """A row of the table for each part, its parameters counted."""
    tokens = len(json.loads((folder / "tokenizer/vocab.json").read_text(encoding="utf-8")))
    rows = []
    for part, what in WHAT.items():
        weights = [w for f in (folder / part).glob("*.safetensors") for w in load_file(f).values()]
        number = f"{sum(w.numel() for w in weights):,}" if weights else ""
        rows.append(f"| {part} | {what.format(tokens=tokens)} | {number} |")
    return rows


def measured(results: Path) -> str:
    """The section with the numbers of tests/bench/composing.py."""
    result = json.loads(results.read_text(encoding="utf-8"))
    table, ceiling = (pandas.DataFrame(result[name]) for name in ("rows", "ceiling"))
    table = table[(table.guidance == 3) & (table.judge == "pixels")]
    ceiling = ceiling[ceiling.judge == "pixels"].set_index("part")
    rows = []
    for part, number, what in ROWS:
        found = table[table.part == part].groupby("language")[number].mean()
        shares = found.en, found.ko, ceiling[number][part]
        cells = [what.format(n=result["samples"][part]), *(f"{share:.0%}" for share in shares)]
        rows.append("| " + " | ".join([*cells, f"{result['chance'][number]:.2%}"]) + " |")
    seeds, steps = ", ".join(map(str, result["seeds"])), int(table.num_steps.iloc[0])
    return MEASURED.format(rows="\n".join(rows), seeds=seeds, steps=steps)
