"""The language of what a learner reads."""

import pytest

from course_utils import language
from course_utils.language import _, set_language


@pytest.fixture(autouse=True)
def _english_afterwards():
    yield
    language._state.clear()


def test_english_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv("COURSE_LANGUAGE", raising=False)
    assert set_language() == "en"
    assert _("noise") == "noise"


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("COURSE_LANGUAGE", "ko")
    assert set_language() == "ko"
    assert set_language("en") == "en"


def test_an_unknown_language_is_named_with_its_origin(monkeypatch):
    with pytest.raises(ValueError, match="language must be one of en, ko; got 'fr'"):
        set_language("fr")
    monkeypatch.setenv("COURSE_LANGUAGE", "fr")
    with pytest.raises(ValueError, match="COURSE_LANGUAGE must be one of en, ko; got 'fr'"):
        set_language()


def test_what_has_no_translation_stays_english():
    set_language("ko")
    assert _("a message that nobody translated") == "a message that nobody translated"
