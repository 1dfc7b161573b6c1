"""What the widgets' tests share."""

import pytest

from course_utils.widgets import noising, painting, racing, stored, training, trajectories


@pytest.fixture
def live(monkeypatch):
    """As in a notebook that a person has open."""
    for module in (noising, painting, racing, stored, trajectories, training):
        monkeypatch.setattr(module, "is_live", lambda: True)
    monkeypatch.setattr(training, "is_headless", lambda: False)
