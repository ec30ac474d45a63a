"""A hand-written evaluation, and a browser that shows its report."""

import pytest

from ..written_evaluation import data, run, write  # noqa: F401
from .browser import CHROMIUM, opened_browser


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here")
    with opened_browser() as opened:
        yield opened
