"""The speedrun: how soon, and with how few calls, two processor cores draw like the real thing."""

from course_utils.speedrun.entries import best_recipe, board, check_entry, read_entries
from course_utils.speedrun.racing import race
from course_utils.speedrun.tracks import SEEDS, TRACKS, Track
