"""A hand-written evaluation."""

from ..written_evaluation import data, run, write  # noqa: F401
