"""Procedural butterflies: a tray of pinned specimens drawn by tensor code, no files and no network.

A species is two lines of the field guide below, an individual a row of random numbers, a wing a
list of marks. Points are complex numbers, so a turn is a product; the left half mirrors the right.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from course_utils.checks import check_int

# Twelve points (x y) around a wing, in percent of the half-span, seen from its root: root, leading
# edge (2), apex, outer edge (5), rear corner, trailing edge (2).
_OUTLINES = """
sail    0 3  30 36  62 64  90 80  98 74  94 56  86 38  82 20  80  4  70 -8  45 -5  15 -5
blade   0 3  30 28  64 50  94 60 102 50  95 36  82 22  68 10  56  0  44 -7  30 -6  12 -4
hook    0 3  28 40  56 66  82 76 100 82  91 60  88 40  85 22  80  5  70 -7  45 -6  15 -5
disc    0 3  26 36  54 62  80 72  93 64  97 48  95 30  89 14  81  0  68 -9  45 -7  15 -5
torn    0 3  28 40  56 68  80 82  93 79  86 62  95 48  82 28  86 12  70 -7  45 -5  15 -5
fan     0 4  30 10  58  8  78 -4  84 -22 82 -42 73 -60 58 -73 40 -80 24 -77 12 -58  4 -28
oval    0 4  28  9  54  7  71 -4  79 -20 77 -37 68 -52 55 -63 40 -68 26 -65 13 -50  4 -24
tail    0 4  30 10  58  8  74 -5  77 -24 72 -46 61 -62 56 -99 45 -72 28 -74 14 -58  4 -28
claw    0 4  30 10  56  8  76 -3  77 -20 84 -37 70 -49 67 -76 48 -66 28 -74 14 -58  4 -28
leaf    0 4  30 10  58  8  77 -5  83 -22 80 -38 78 -62 60 -71 42 -77 26 -74 12 -58  4 -28
""".strip().splitlines()
# One line per wing: its outline, seven colours (#rgb), and its traits in percent: sizes, 0 where
# absent, and places, from 0 at the root to 100 at the outer edge (x y: of the eye, from the root).
_Traits = namedtuple("_Traits", "margin dots row veins band at slant bars spots tip eye x y gloss")
_GUIDE = """
monarch     sail  b41 e71 f93 110 fed fff fff  12 26 94  80  0  0   0  0  0 30  0  0   0  0
monarch     fan   b41 e82 f93 110 fed fff fff  13 22 94  80  0  0   0  0  0  0  0  0   0  0
swallowtail sail  ed8 fe8 fe9 112 fe9 fff fff  13 22 94  30  0  0   0 90  0  8  0  0   0  0
swallowtail tail  ed8 fe8 fe9 112 fe9 47c d42  26 18 94  30  9 83   0  0  0  0 17 24 -62  0
morpho      sail  025 04b 19e 012 cef fff fff  13 14 94  15  0  0   0  0  0 34  0  0   0 70
morpho      leaf  025 04b 19e 012 cef fff fff  11 14 95  15  0  0   0  0  0  0  0  0   0 70
peacock     hook  511 a22 b43 321 fd8 fff 57c   8  0  0  15  0  0   0  0  0  0 34 66  50  0
peacock     claw  532 922 833 432 ddb fff 46b  14  0  0  15  0  0   0  0  0  0 36 58 -26  0
brimstone   hook  dc4 ed5 ee6 b93 ee7 fff f71   0  0  0  10  0  0   0  0  0  0 11 42  32 20
brimstone   leaf  dc5 ed6 ee7 b93 ee7 fff f71   0  0  0  10  0  0   0  0  0  0 13 44 -28 20
apollo      disc  998 eee ffe 444 fff fff 333  10  0  0  30  0  0   0 35  0  0 12 36  16  0
apollo      fan   998 eee ffe 333 fff fff c22   8  0  0  30  0  0   0  0  0  0 24 50 -36  0
birdwing    blade 121 131 242 111 4c6 3b5 fff  10  0  0  30 26 66  10  0  0  0  0  0   0 20
birdwing    leaf  3a3 5b4 9c4 121 ec4 fff fff  18 24 80  50  0  0   0  0  0  0  0  0   0 40
admiral     torn  321 322 322 211 fff e52 fff   0 30 84  10 18 56  20  0  0  0  0  0   0  0
admiral     fan   321 322 322 211 e52 e52 fff   0  0  0  10 16 90   0  0  0  0  0  0   0  0
emperor     hook  213 316 43a 112 fff eef fff  13 16 80  15  9 58  10  0  0  0  0  0   0 50
emperor     fan   213 42a 64b 112 fff eef d62  12  0  0  15 12 52   0  0  0  0 14 58 -52 60
postman     blade 112 112 223 111 fff e23 fff   0  0  0  15 24 60  10  0  0  0  0  0   0 20
postman     oval  112 112 223 111 fff fd5 fff   0  0  0  15 14 42   0  0  0  0  0  0   0 20
argus       disc  421 632 632 211 fff e93 fff   0 30 78  10 16 78   0  0  0  0  0  0   0  0
argus       oval  421 632 632 211 fff e93 fff   0 30 80  10 16 80   0  0  0  0  0  0   0  0
comma       torn  a41 d72 e93 521 fd8 fff fff  10  0  0  10  0  0   0 35 60  0  0  0   0  0
comma       claw  a41 d72 e93 521 fd8 fff fff  12 16 90  10  0  0   0  0 60  0  0  0   0  0
"""

_Marks = Iterable[tuple]  # a colour, the distance from its middle, half its width, its softness
_PARTS = 5, 3, 4, 28  # an individual's numbers: pose, tint, shape, wiggle
_ROWS = [line.split() for line in _GUIDE.strip().splitlines()]
_NUMBERS = torch.tensor([[int(v) / 100 for v in row[9:]] for row in _ROWS]).view(-1, 2, 14, 1, 1)
_COLOURS = torch.tensor([[int(c, 16) / 15 for c in "".join(row[2:9])] for row in _ROWS])
_POINTS = {name: [int(v) / 100 for v in xy] for name, *xy in map(str.split, _OUTLINES)}
_KNOTS = torch.view_as_complex(torch.tensor([_POINTS[row[1]] for row in _ROWS]).view(-1, 2, 12, 2))
_ROOTS = torch.tensor([0.035 + 0.06j, 0.035 + 0j])  # where fore- and hindwing join the body
_CELLS = torch.tensor([0.2 + 0.14j, 0.17 - 0.15j])  # the cell whose rim sends out the veins
_MIDDLES, _REACH = torch.tensor([0.5 + 0.35j, 0.42 - 0.42j]), 0.7  # of the distance maps
SPECIES: tuple[str, ...] = tuple(row[0] for row in _ROWS[::2])


@cache
def _maps() -> Float[Tensor, "species 2 2 grid grid"]:
    """For each wing: distance to its outline, positive inside, and to its outer edge."""
    axis = torch.linspace(-_REACH, _REACH, 72)
    frame = (axis + 1j * axis[:, None]).view(-1, 1)
    closed = pad(torch.view_as_real(_KNOTS).flatten(0, 1).mT, (2, 2), mode="circular")[:, :, None]
    curves = interpolate(closed, size=(1, 192), mode="bicubic")[:, :, 0, 24:-24].mT.contiguous()
    maps = []
    for wing, corner in enumerate(torch.view_as_complex(curves)):
        side = corner.roll(-1) - corner
        q = (frame + _MIDDLES[wing % 2] - corner) / side  # the side runs from 0 to 1
        away = (q - q.real.clamp(0, 1)).abs() * side.abs()
        turns = ((q - 1) / q).angle().sum(-1) / (2 * torch.pi)  # of the outline around here
        maps += [away.amin(-1) * (turns.abs().round() * 2 - 1), away[:, 42:113].amin(-1)]
    return torch.stack(maps).view(-1, 2, 2, 72, 72)


def _paint(canvas: Tensor, marks: _Marks) -> None:
    """Lay each colour where `away` < `half`; whatever is thinner than `soft` fades instead."""
    for colour, away, half, soft in marks:
        cover = (half / soft + 0.5 - away / soft).clamp(0, 1)
        cover *= torch.as_tensor(2 * half / soft).clamp(max=1)
        canvas.lerp_(colour.expand_as(canvas), cover[:, None])


def _wing(z: Tensor, w: int, maps: Tensor, colours: Tensor, t: _Traits, pixel: Tensor) -> _Marks:
    """The marks of wing `w` at its points `z`, from the bottom up."""
    (edge, outer), (base, rim, dark, pale, lure, iris) = maps.unbind(1), colours[:, 1:].unbind(1)
    s = z.abs() / (z.abs() + outer)  # 0 at the root, 1 at the outer edge
    ray = z / _CELLS[w] - 1
    cell, lead = torch.hypot(ray.real, 2 * ray.imag), ray.imag * (1 - 2 * w)
    turn = ray.angle() * 9 / torch.pi  # 18 veins in a full circle
    off, gap = (turn - turn.round()).abs(), ray.abs() * 0.08
    wave = (2 * torch.pi * off).cos()  # 1 midway between two veins, -1 on a vein
    yield base, 1 - s, 0.68, 0.55
    yield rim, 1 - s, 0.28, 0.55
    yield pale, (s - 0.68).abs(), t.gloss * 0.1, 0.4
    yield dark, (13 * z.real + z.imag).cos().abs(), t.bars * (lead + 0.9).clamp(0) / 4, pixel * 13
    spot = torch.hypot(((s - 0.73).abs() - 0.1) * (z.abs() + outer), off * gap)
    yield dark, spot, t.spots * (cell - 1.4).clamp(0, 1) * 0.08, pixel
    yield dark, 1.2 - z.real * 0.6 - z.imag * 0.8 - wave * 0.03, t.tip, pixel + 0.03
    yield dark, 1 - s, t.margin * (1 + 0.15 * wave), pixel + 0.02
    yield lure, (s - t.at + wave * 0.01 + t.slant * lead).abs(), t.band / 2, pixel + 0.02
    yield dark, (0.5 - off) * gap + (0.1 - cell * 0.1).clamp(0), t.veins * 0.014, pixel
    yield dark, (cell - 1).abs() * 0.14, t.veins * 0.01, pixel
    dot = torch.hypot((s - t.row) * (z.abs() + outer), off * gap)
    yield dark, dot, t.dots * 0.2, pixel
    yield pale, dot, t.dots * 0.12, pixel
    eye = torch.hypot(z.real - t.x, z.imag - t.y)
    for colour, size in ((pale, 0.5), (dark, 0.42), (iris, 0.3), (pale, 0.1)):
        yield colour, eye, t.eye * size, pixel
    yield base * 0.4, edge, 0.012, pixel + 0.02


def _antennae(z: Tensor, tone: Tensor, pixel: Tensor) -> _Marks:
    """Two threads with their clubs."""
    u, v = z.real, z.imag
    t = ((v - 0.2) / 0.42).clamp(0, 1)
    thread = torch.hypot(u - 0.02 - 0.2 * t**1.6, v - 0.2 - 0.42 * t)
    yield tone * 0.3, thread, 0.009, pixel
    yield tone * 0.3, torch.hypot(u - 0.215, v * 0.7 - 0.427), 0.02, pixel


def _body(z: Tensor, tone: Tensor, pixel: Tensor) -> _Marks:
    """The marks of abdomen, head and thorax."""
    u, v = z.real, z.imag
    for y, wide, tall in ((-0.22, 0.054, 0.28), (0.19, 0.045, 0.048), (0.04, 0.07, 0.14)):
        away = torch.hypot(u, (v - y) * (wide / tall))
        yield tone * 0.5, away, wide, pixel
        yield tone * 1.2, away, wide * 0.4, wide


def _place(labels: Tensor, pose: Tensor, gain: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Points of the butterfly's right half under each pixel, and the width of a pixel there."""
    turn = torch.exp(0.09j * pose[:, 0])
    right = (_ROOTS[:, None] + gain[..., 0] * _KNOTS[labels]).flatten(1)[:, None]
    outline = torch.view_as_real(torch.cat([right, -right.conj()], -1) * turn)
    scale = (0.885 + 0.035 * pose[:, 1]) / outline.abs().amax((2, 3))[..., None]
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    z = (axis - 1j * axis[:, None] - 0.025 * torch.complex(pose[:, 2], pose[:, 3])) / (scale * turn)
    return torch.complex(z.real.abs(), z.imag), 2 / size / scale


def _wings(labels: Tensor, z: Tensor, gain: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each wing, its points under the pixels, and their distances to its outline and outer edge."""
    for w in (1, 0):  # the forewing lies on top
        here = (z - _ROOTS[w]) / gain[:, w]
        grid = torch.view_as_real((here - _MIDDLES[w]) / _REACH)
        maps = grid_sample(_maps()[labels, w], grid, padding_mode="border", align_corners=True)
        yield w, here, maps


def _gains(shape: Tensor) -> Tensor:
    """How much an individual's fore- and hindwing are stretched and turned."""
    return (1 + 0.06 * shape[:, :2]) * torch.exp(0.08j * shape[:, 2:])


def _render(labels: Int64[Tensor, "B"], draws: Tensor, size: int) -> UInt8[Tensor, "B 3 H W"]:
    """Individuals from random numbers in [-1, 1]; all 0 is the species as the guide has it."""
    pose, tint, shape, wiggle = draws.split(_PARTS, 1)
    numbers = _NUMBERS[labels] * (1 + 0.1 * wiggle.unflatten(1, (2, 14)))
    colours = _COLOURS.view(-1, 2, 7, 3, 1, 1)[labels] ** (0.25 * tint[:, None, None]).exp()
    gain = _gains(shape)
    z, pixel = _place(labels, pose, gain, size)
    paper, warm = torch.tensor([[0.965, 0.95, 0.925], [0.01, 0.005, -0.02]]).view(2, 3, 1, 1)
    canvas = (paper + warm * pose[:, 4:]) * (1 - 0.03 * z.abs()[:, None] ** 2)
    for w, here, maps in _wings(labels, z, gain):
        wing = colours[:, w, 0].expand_as(canvas).clone()
        _paint(wing, _wing(here, w, maps, colours[:, w], _Traits(*numbers[:, w].unbind(1)), pixel))
        away = 1 - maps[:, 0]
        _paint(canvas, [(canvas * 0.65, away + 0.05 * z.imag, 1, 0.1), (wing, away, 1, pixel)])
    tone = colours[:, 0, 3] * 0.4 + colours[:, 1, 0] * 0.4
    _paint(canvas, chain(_antennae(z, tone, pixel), _body(z, tone, pixel)))
    return (canvas.clamp(0, 1) * 255).round().to(torch.uint8)


def _mask(labels: Int64[Tensor, "B"], draws: Tensor, size: int) -> UInt8[Tensor, "B 1 H W"]:
    """255 where wings and body of the same individuals cover half a pixel or more."""
    pose, _, shape, _ = draws.split(_PARTS, 1)
    gain, ink = _gains(shape), torch.ones(1, 1, 1, 1)
    z, pixel = _place(labels, pose, gain, size)
    canvas = torch.zeros(len(labels), 1, size, size)
    _paint(canvas, ((ink, 1 - maps[:, 0], 1, pixel) for _, _, maps in _wings(labels, z, gain)))
    _paint(canvas, ((ink, *place) for _, *place in _body(z, ink, pixel)))
    return (canvas >= 0.5).to(torch.uint8) * 255


def draw_butterflies(
    num_images: int, size: int = 32, *, seed: int = 0
) -> tuple[UInt8[Tensor, "N 3 H W"], Int64[Tensor, "N"]]:
    """Pinned butterflies on pale paper, `size` pixels square, and their labels into `SPECIES`.

    The same seed gives the same individuals, whatever the size and however many follow.
    Raises TypeError unless all are ints, ValueError unless 16 <= size <= 128 and num_images >= 1.
    """
    return _drawn(_render, num_images, size, seed)


def draw_silhouettes(num_images: int, size: int = 32, *, seed: int = 0) -> UInt8[Tensor, "N 1 H W"]:
    """What the wings and bodies of `draw_butterflies`' individuals cover: 255 inside, 0 outside.

    The same arguments give the same individuals, and raise the same errors. Shadows and antennae
    are not part of it.
    """
    return _drawn(_mask, num_images, size, seed)[0]


def _drawn(render: Callable, num_images: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Individuals by `render`, in chunks, and their labels."""
    check_int("num_images", num_images, 1, 10**6)
    check_int("size", size, 16, 128)
    check_int("seed", seed, 0, 2**32 - 1)
    chunk = len(SPECIES) * max(1, 10_000 // size**2)  # whole chunks: the rest is cut off
    total = -(-num_images // chunk) * chunk
    draws = torch.rand(total, 41, 1, 1, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    labels = draws[:, 0].view(-1, len(SPECIES)).argsort(1).flatten()  # all species, then again
    parts = zip(labels.split(chunk), draws[:, 1:].split(chunk), strict=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the steps are small: a second thread would mostly wait
    try:
        images = torch.cat([render(*part, size) for part in parts])
    finally:
        torch.set_num_threads(threads)
    return images[:num_images], labels[:num_images]
