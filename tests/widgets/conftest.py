"""What the widgets' tests share."""

import pytest

from course_utils.widgets import (
    noising,
    painting,
    prompting,
    racing,
    searching,
    stored,
    training,
    trajectories,
)

MODULES = (noising, painting, prompting, racing, searching, stored, trajectories, training)


@pytest.fixture
def live(monkeypatch):
    """As in a notebook that a person has open."""
    for module in MODULES:
        monkeypatch.setattr(module, "is_live", lambda: True)
    monkeypatch.setattr(training, "is_headless", lambda: False)
