"""The local Hub."""

from .hub_server import hub  # noqa: F401
