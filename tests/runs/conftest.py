"""Fixtures of runs."""

from ..model_hub import models  # noqa: F401
