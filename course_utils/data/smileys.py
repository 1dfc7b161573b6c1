"""Smileys: pictures to fine-tune on that are no butterflies, drawn without files and network."""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from course_utils.checks import check_int

FACES = ("#ffd23f", "#ffb454", "#ff8f6b", "#f59bb8", "#bda2ec", "#7fc4f5", "#84d493", "#d8c6a0")
EYES = ("dots", "arcs", "wink", "wide", "sleepy", "glasses")
MOUTHS = ("smile", "smirk", "laugh", "tongue", "surprise", "flat", "sad")
PAPER, INK, WHITE, TONGUE, BLUSH = "#e2ded9", "#33261f", "#ffffff", "#e25f72", "#ef7d72"
FINE = 8  # drawn so many times finer, then averaged: soft edges


def draw_smileys(num_images: int, size: int = 32, *, seed: int = 0) -> UInt8[Tensor, "N 3 S S"]:
    """Faces on pale paper, `size` pixels square: eight colours, six kinds of eyes, seven mouths.

    The same seed gives the same faces, whatever the size and however many follow.
    Raises TypeError unless all are ints, ValueError unless 16 <= size <= 128 and num_images >= 1.
    """
    check_int("num_images", num_images, 1, 10**6)
    check_int("size", size, 16, 128)
    check_int("seed", seed, 0, 2**32 - 1)
    chances = torch.rand(num_images, 9, generator=torch.Generator().manual_seed(seed))
    pictures = [np.array(_face(FINE * size, *row).reduce(FINE)) for row in chances.tolist()]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def _face(side, colour, eyes, mouth, blush, radius, tilt, x, y, look) -> Image.Image:
    """One face from nine random numbers in [0, 1), `side` pixels square."""
    sheet = Image.new("RGB", (side, side), PAPER)
    pen = _Pen(sheet, side * (0.36 + 0.09 * radius))
    face = _one_of(FACES, colour)
    pen.disc(0, 0, 1, 1, _darker(face, 0.72))
    pen.disc(0, 0, 0.91, 0.91, face)
    if blush < 0.4:
        pen.pair(pen.disc, 0.56, 0.22, 0.17, 0.12, BLUSH)
    _eyes(pen, _one_of(EYES, eyes), 0.1 * (2 * look - 1))
    _mouth(pen, _one_of(MOUTHS, mouth), face)
    shift = ((0.5 - x) * 0.08 * side, (0.5 - y) * 0.08 * side)
    turned = {"resample": Image.Resampling.BICUBIC, "translate": shift, "fillcolor": PAPER}
    return sheet.rotate(30 * tilt - 15, **turned)


class _Pen:
    """Draws on a sheet in units of the face: (0, 0) is its middle, 1 its radius, y points down."""

    def __init__(self, sheet: Image.Image, radius: float):
        self.draw, self.middle, self.radius = ImageDraw.Draw(sheet), sheet.width / 2, radius

    def box(self, x, y, width, height) -> list[float]:
        """The pixels of an ellipse around (x, y) with these half axes."""
        corners = (x - width, y - height, x + width, y + height)
        return [self.middle + self.radius * corner for corner in corners]

    def disc(self, x, y, width, height, colour=INK) -> None:
        """A filled ellipse."""
        self.draw.ellipse(self.box(x, y, width, height), fill=colour)

    def arc(self, x, y, width, height, first, last) -> None:
        """A part of an ellipse's outline, from one angle to the other, in degrees, clockwise."""
        line = round(0.13 * self.radius)
        self.draw.arc(self.box(x, y, width, height), first, last, INK, line)

    def half(self, x, y, width, height, colour=INK) -> None:
        """The lower half of an ellipse, filled."""
        self.draw.chord(self.box(x, y, width, height), 0, 180, colour)

    def pair(self, shape, x, *rest) -> None:
        """The same left and right."""
        shape(-x, *rest)
        shape(x, *rest)


def _eyes(pen: _Pen, kind: str, look: float) -> None:
    if kind == "dots":
        pen.pair(pen.disc, 0.34, -0.24, 0.12, 0.17)
    elif kind == "arcs":
        pen.pair(pen.arc, 0.35, -0.14, 0.2, 0.24, 190, 350)
    elif kind == "sleepy":
        pen.pair(pen.arc, 0.35, -0.3, 0.2, 0.16, 10, 170)
    elif kind == "wink":
        pen.disc(-0.34, -0.24, 0.12, 0.17)
        pen.arc(0.35, -0.14, 0.2, 0.2, 190, 350)
    elif kind == "wide":
        pen.pair(pen.disc, 0.34, -0.24, 0.26, 0.3, WHITE)
        for side in (-0.34, 0.34):
            pen.disc(side + look, -0.2, 0.13, 0.16)
    else:
        pen.draw.rectangle(pen.box(0, -0.3, 0.8, 0.06), fill=INK)
        pen.pair(pen.half, 0.38, -0.32, 0.34, 0.42)


def _mouth(pen: _Pen, kind: str, face: str) -> None:
    if kind == "smile":
        pen.arc(0, 0.1, 0.52, 0.5, 20, 160)
    elif kind == "smirk":
        pen.arc(0.1, 0.12, 0.45, 0.4, 10, 100)
    elif kind == "laugh":
        pen.half(0, 0.14, 0.56, 0.6)
        pen.disc(0, 0.58, 0.26, 0.13, TONGUE)
    elif kind == "tongue":
        pen.half(0.18, 0.4, 0.2, 0.46, TONGUE)
        pen.arc(0, 0.0, 0.55, 0.46, 20, 160)
    elif kind == "surprise":
        pen.disc(0, 0.45, 0.2, 0.26)
    elif kind == "flat":
        pen.draw.rectangle(pen.box(0, 0.46, 0.38, 0.065), fill=INK)
    else:
        pen.arc(0, 0.72, 0.46, 0.4, 205, 335)


def _one_of(kinds: tuple[str, ...], chance: float) -> str:
    return kinds[int(chance * len(kinds))]


def _darker(colour: str, share: float) -> str:
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(share * channel):02x}" for channel in channels)
