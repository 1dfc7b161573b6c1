"""Pictures: from the Hub, from offline sources, from a folder of your own; and their batches."""

from course_utils.data.butterflies import SPECIES, draw_butterflies
from course_utils.data.sources import (
    BUTTERFLIES,
    DIGITS,
    ImageData,
    Loader,
    load_butterflies,
    load_digits,
    load_image_folder,
    make_loader,
)

__all__ = [
    "BUTTERFLIES",
    "DIGITS",
    "SPECIES",
    "ImageData",
    "Loader",
    "draw_butterflies",
    "load_butterflies",
    "load_digits",
    "load_image_folder",
    "make_loader",
]
