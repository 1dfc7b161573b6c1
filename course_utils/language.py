"""The language of what a learner reads: English, or that of a gettext catalogue in `locale/`."""

import gettext
import os
from functools import cache
from pathlib import Path

from course_utils.checks import check_choice

LANGUAGES = ("en", "ko")
LOCALE = Path(__file__).parent / "locale"


def set_language(language: str = "auto") -> str:
    """Choose the language of all that follows, "en" or "ko"; returns it.

    "auto" is the environment variable COURSE_LANGUAGE where it is set, else "en".
    Raises ValueError for any other name.
    """
    origin = "language"
    if language == "auto":
        origin, language = "COURSE_LANGUAGE", os.environ.get("COURSE_LANGUAGE") or "en"
    check_choice(origin, language, LANGUAGES)
    _state["language"] = language
    return language


def _(message: str) -> str:
    """The message in the language in force; in English where it has no translation.

    Texts that are made when a module is imported are translated when they are shown.
    """
    language = _state.get("language") or set_language()
    return _catalogue(language).gettext(message)


def N_(message: str) -> str:
    """The message itself: marks a text of a table for translation; `_` translates it when shown."""
    return message


_state: dict[str, str] = {}


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation("course_utils", LOCALE, [language], fallback=True)
