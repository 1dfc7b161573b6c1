"""The language of what a learner reads: English, or that of a gettext catalogue in `locale/`."""

import gettext
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from course_utils.checks import check_choice

LANGUAGES = ("en", "ko")
LOCALE = Path(__file__).parent / "locale"


def set_language(language: str = "auto") -> str:
    """Choose the language of all that follows, "en" or "ko"; returns it.

    "auto" is the environment variable COURSE_LANGUAGE where it is set, else "en". Korean also adds
    a font with Hangul to matplotlib's `font.family`. Raises ValueError for any other name.
    """
    origin = "language"
    if language == "auto":
        origin, language = "COURSE_LANGUAGE", _environments()
    check_choice(origin, language, LANGUAGES)
    _state["language"] = language
    for follow in _followers:
        follow(language)
    return language


def _environments():
    return os.environ.get("COURSE_LANGUAGE") or "en"


def on_language(follow: Callable[[str], None]) -> None:
    """Call `follow(language)` whenever a language is chosen, and now, if one has been."""
    _followers.append(follow)
    if "language" in _state:
        follow(_state["language"])


def _(message: str) -> str:
    """The message in the language in force; in English where it has no translation.

    Texts that are made when a module is imported are translated when they are shown.
    """
    return _catalogue(_state.get("language") or _environments()).gettext(message)


def N_(message: str) -> str:
    """The message itself: marks a text that `_` translates later, when it is shown."""
    return message


_state: dict[str, str] = {}
_followers: list[Callable[[str], None]] = []


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    check_choice("COURSE_LANGUAGE", language, LANGUAGES)
    return gettext.translation("course_utils", LOCALE, [language], fallback=True)
