"""Pictures: from the Hub, from offline sources, from a folder of your own; and their batches."""

from course_utils.data.butterflies import SPECIES, draw_butterflies
from course_utils.data.emoji import GENDERS, PARTS, TONES, EmojiData, load_emoji
from course_utils.data.loader import Batch, ImageData, Loader, make_loader
from course_utils.data.sources import (
    BUTTERFLIES,
    DIGITS,
    SOURCES,
    Source,
    load_butterflies,
    load_digits,
    load_image_folder,
)
