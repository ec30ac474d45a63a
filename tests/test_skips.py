"""In CI a skipped test fails unless its reason is allowed."""

import pytest

from .skips import ALLOWED, fail_unexpected_skip


def skipped(reason: str) -> pytest.TestReport:
    location = ("tests/test_it.py", 3, f"Skipped: {reason}")
    return pytest.TestReport(
        "tests/test_it.py::test_it", ("tests/test_it.py", 3, "test_it"), {}, "skipped", location, "setup"
    )


@pytest.mark.parametrize(
    ("reason", "environment", "outcome"),
    [
        ("no Chromium is installed here", {"CI": "true"}, "failed"),
        ("could not import 'submitit': No module named 'submitit'", {"CI": "true"}, "failed"),
        ("no Chromium is installed here", {}, "skipped"),
        *((reason, {"CI": "true"}, "skipped") for reason in ALLOWED),
    ],
)
def test_a_skip_fails_in_ci_unless_its_reason_is_allowed(reason, environment, outcome):
    report = skipped(reason)
    fail_unexpected_skip(report, environment)
    assert report.outcome == outcome
    if outcome == "failed":
        assert str(report.longrepr).startswith(f"Skipped: {reason}: may not be skipped where CI=true")


def test_expected_failure_is_not_a_skip():
    report = skipped("expected")
    report.wasxfail = "expected"
    fail_unexpected_skip(report, {"CI": "true"})
    assert report.outcome == "skipped"
